"""What the assembler says about every Triton kernel, for three generations of GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

SCRIPT = Path(__file__).parents[2] / "kernels" / "compile_all.py"


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> dict[tuple[str, str], dict]:
    table = tmp_path_factory.mktemp("compiled") / "kernels.json"
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # the script starts clean
    command = [sys.executable, str(SCRIPT), "--json", str(table)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return {(row["kernel"], row["target"]): row for row in json.loads(table.read_text())}


def test_every_kernel_is_compiled_for_every_target(kernels):
    names = {name for name, _ in kernels}
    assert {(name, f"sm_{target}") for name in names for target in (80, 90, 100)} == set(kernels)
    starts = ["fused_exponentials bf16", "fused_row_sums bf16", "fused_chunk bf16"]
    starts += ["fused_combine", "fused_repair", "label_logits", "add_label_rows"]
    starts += ["row_exponentials bf16", "column_sums bf16"]
    for start in starts:
        assert any(name.startswith(start) for name in names), start


def test_no_kernel_spills_registers(kernels):
    assert {key for key, row in kernels.items() if row["spill_bytes"]} == set()


def test_every_kernel_fits_a_multiprocessor(kernels):
    shared_bytes = {"sm_80": 166_912, "sm_90": 232_448, "sm_100": 232_448}
    for row in kernels.values():
        assert 0 < row["registers"] <= 255
        assert row["registers"] * row["warps"] * 32 <= 65_536
        assert row["shared_bytes"] <= shared_bytes[row["target"]]


def test_products_use_each_generations_tensor_cores(kernels):
    instruction = {"sm_80": "mma.sync", "sm_90": "wgmma.mma_async", "sm_100": "tcgen05.mma"}
    products = [row for (name, _), row in kernels.items() if "fused_" in name and "bf16" in name]
    products = [row for row in products if "repair" not in row["kernel"]]
    assert products
    for row in products:
        assert row["tensor_cores"] == [instruction[row["target"]]], row["kernel"]


def test_wide_rows_leave_room_for_a_whole_block_of_threads(kernels):
    for (name, _), row in kernels.items():
        if name.startswith("row_exponentials") and row["warps"] == 32:
            assert row["registers"] <= 64
