"""The kernel benchmarks in their short form, and what their numbers rest on."""

import json
import math
import subprocess
import sys
from pathlib import Path

import alignment
import gpu
import masked_softmax
import numpy as np
import pytest
import roofline
import torch
import torch.nn.functional as F  # noqa: N812
from cases import IGNORED, make_case, parsed_shape
from compare import compared, relative_error, works_of
from dictionaries import exact_alignment, make_dictionary, parsed_size, summed_distance
from exact import exact_of
from peak_memory import peak
from peers import LIGER, OURS, PEERS, Implementation, Setting, absence, plain
from records import kept_rows
from timing import alternating_ms, bandwidth_bytes_per_s, peak_bytes, quantiles

from tests.limits import HANG_S

CPU = torch.device("cpu")
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def softmax_rows(tmp_path_factory) -> list[dict]:
    path = tmp_path_factory.mktemp("softmax") / "rows.jsonl"
    masked_softmax.main(["--device", "cpu", "--smoke", "--dtype", "float32", "--keep", str(path)])
    return kept_rows(path)


def by_name(rows: list[dict], name: str, mode: str = "both") -> dict:
    (row,) = [row for row in rows if (row["impl"], row["mode"]) == (name, mode)]
    return row


def test_every_known_implementation_has_times_or_a_reason(softmax_rows):
    for made in (*OURS, *PEERS):
        row = by_name(softmax_rows, made.name)
        assert ("p50_ms" in row) != ("skipped" in row)


def test_a_row_tells_device_versions_and_commit(softmax_rows):
    row = by_name(softmax_rows, "torch: plain")
    assert row["torch"] == torch.__version__
    assert row["commit"].isalnum()
    assert {"device", "triton", "dirty", "threads", "run", "clock"} <= set(row)
    assert row["p20_ms"] <= row["p50_ms"] <= row["p80_ms"]


def test_float32_is_close_to_float64_and_repeats_its_bits(softmax_rows):
    for name in ("alignmlm: auto", "torch: plain"):
        row = by_name(softmax_rows, name)
        assert set(row["errors"]) == {"loss", "hidden", "weight", "bias", "largest_nats"}
        assert max(row["errors"].values()) < 1e-4
        assert row["repeatable"]


def test_the_matrix_products_and_a_copy_are_measured_in_the_same_run(softmax_rows):
    assert by_name(softmax_rows, masked_softmax.GEMMS, "forward")["p50_ms"] > 0
    assert by_name(softmax_rows, "floor: copy")["bytes_per_s"] > 1e8


def test_exact_gradients_are_those_of_autograd_with_ignored_positions():
    case = make_case(parsed_shape("13:5x31x8", bias=True), torch.float64, CPU, "trained", 0)
    loss = F.cross_entropy(F.linear(case.hidden, case.weight, case.bias), case.labels)
    exact = exact_of(case)
    assert (case.labels != IGNORED).sum() == 5
    assert exact.nats.sum() / 5 == pytest.approx(loss.item(), rel=1e-12)
    for found, right in zip(exact.gradients, torch.autograd.grad(loss, case.leaves()), strict=True):
        assert relative_error(found, right) < 1e-12


def test_every_second_position_is_confident_in_trained_logits():
    case = make_case(parsed_shape("40x2003x64", bias=True), torch.float32, CPU, "trained", 0)
    chances = (-plain(case, "none")).exp()
    assert chances[::2].min() > 0.9
    assert chances[1::2].max() < 0.1


def test_inputs_of_two_turns_differ_and_of_one_turn_are_equal():
    shape = parsed_shape("5x7x3", bias=False)
    first, again, other = (
        make_case(shape, torch.float32, CPU, "random", turn) for turn in (0, 0, 1)
    )
    assert torch.equal(first.hidden, again.hidden)
    assert not torch.equal(first.hidden, other.hidden)
    assert first.bias is None


def test_a_wrong_gradient_and_a_changing_one_are_seen():
    shape = parsed_shape("9x31x8", bias=True)
    inputs = masked_softmax.make_inputs(shape, torch.float32, CPU, "random")
    calls = []

    def wrong(case, reduction):
        calls.append(1)
        return plain(case, reduction) * (1 + 0.01 * len(calls))

    made = Implementation(name="wrong", opened=lambda: wrong)
    rows = compared([made], lambda _: None, inputs, 1, CPU)
    (row,) = [row for row in rows if (row.impl, row.mode) == ("wrong", "both")]
    assert row.errors["weight"] == pytest.approx(0.01, rel=1e-3)
    assert row.repeatable is False


def test_an_implementation_that_raises_is_reported_with_its_reason():
    shape = parsed_shape("3x5x2", bias=True)
    inputs = masked_softmax.make_inputs(shape, torch.float32, CPU, "random")

    def broken():
        raise OSError("no such kernel\nmore")

    rows = compared([Implementation(name="broken", opened=broken)], lambda _: None, inputs, 1, CPU)
    assert rows[0].skipped == "OSError: no such kernel"


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (Implementation(name="a", opened=lambda: plain, package="no_such_package"), "not install"),
        (Implementation(name="b", opened=lambda: plain, cuda_only=True), "needs CUDA"),
        (Implementation(name="c", opened=lambda: plain, triton=True), "--interpreter"),
        (Implementation(name="d", opened=lambda: plain, bias=False), "no bias"),
        (Implementation(name="e", opened=lambda: plain, most_cpu_logits=10), "minutes"),
        (Implementation(name="f", opened=lambda: plain, rows_multiple=8), "multiple of 8"),
    ],
)
def test_who_cannot_take_part_is_told_why(made, found):
    shape = parsed_shape("9x31x8", bias=True)
    assert found in absence(made, shape, Setting(device=CPU))


def test_all_take_turns_and_another_one_is_first_in_each_round():
    order: list[str] = []
    works = {name: lambda _, name=name: order.append(name) for name in "abc"}
    spent = alternating_ms(works, 3, CPU)
    assert "".join(order) == "abcbcacab"
    assert [len(values) for values in spent.values()] == [3, 3, 3]


def test_quantiles_are_ordered_and_bound_the_middle():
    found = quantiles([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (found.p20_ms, found.p50_ms, found.p80_ms) == pytest.approx((1.8, 3.0, 4.2))


def test_the_peak_counts_what_is_held_at_once_and_not_what_is_freed():
    def work(_):
        for _ in range(3):
            torch.ones(250_000)  # freed before the next
        kept = torch.ones(500_000)
        return kept + 1, np.empty(1_000_000, np.uint8)

    assert peak_bytes(work, CPU) == pytest.approx(5e6, rel=0.02)


def test_memory_that_ours_keeps_for_the_next_call_counts_in_its_peak():
    case = make_case(parsed_shape("200x5003x16", bias=True), torch.float32, CPU, "random", 0)
    slab = next(made for made in OURS if made.name == "alignmlm: slab")
    work = works_of(slab.opened(), [case])["both"]
    work(0)
    slab.forget()
    assert peak_bytes(work, CPU) > 4 * 200 * 5003


def test_a_copy_moves_bytes():
    assert 1e8 < bandwidth_bytes_per_s(CPU, rounds=3) < 1e13


@pytest.mark.parametrize("words", ["tokens", "words"])
def test_the_exact_alignment_is_the_mean_over_all_pairs(words, monkeypatch):
    case = make_dictionary(parsed_size("50x40x6"), torch.float64, CPU, words, 0)
    whole = summed_distance(case.embedding, case.source, case.target) / 50
    (gradient,) = torch.autograd.grad(whole, case.leaves())
    monkeypatch.setattr("dictionaries.EXACT_CHUNK_PAIRS", 7)
    exact = exact_alignment(case)
    assert exact.nats.sum() == pytest.approx(whole.item(), rel=1e-12)
    assert relative_error(exact.gradients[0], gradient) < 1e-12


def test_the_alignment_benchmark_runs_in_its_short_form(tmp_path):
    path = tmp_path / "rows.jsonl"
    alignment.main(["--device", "cpu", "--smoke", "--keep", str(path)])
    rows = [row for row in kept_rows(path) if row["impl"] == "alignmlm: auto"]
    assert {row["inputs"] for row in rows} == {"tokens", "words"}
    assert all(max(row["errors"].values()) < 1e-5 for row in rows)
    roofline.main([str(path)])
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_roofline_takes_its_floors_from_the_measured_rates(softmax_rows):
    (panel,) = roofline.panels_of(softmax_rows, "both", None, None)
    products = by_name(softmax_rows, masked_softmax.GEMMS)
    copied = by_name(softmax_rows, "floor: copy")
    assert panel.floor.products_ms == pytest.approx(products["p50_ms"])
    assert panel.floor.bytes_ms == pytest.approx(
        1e3 * copied["least_bytes"] / copied["bytes_per_s"]
    )
    assert [row["p50_ms"] for row in panel.rows] == sorted(row["p50_ms"] for row in panel.rows)


def test_given_peaks_replace_the_measured_rates(softmax_rows):
    (panel,) = roofline.panels_of(softmax_rows, "both", 1e12, 1e12)
    row = panel.rows[0]
    assert panel.floor.products_ms == pytest.approx(row["least_flops"] / 1e9)
    assert panel.floor.bytes_ms == pytest.approx(row["least_bytes"] / 1e9)


def test_a_floor_without_matrix_products_is_that_of_its_bytes():
    floor = roofline.Floor(products_ms=math.nan, bytes_ms=2.0)
    assert floor.larger_ms == 2.0


def test_only_the_last_run_of_an_operation_is_drawn():
    rows = [{"op": op, "run": run} for op, run in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")]]
    assert roofline.last_run(rows, "a") == [rows[2]]
    assert roofline.last_run(rows, None) == [rows[3]]


def test_rows_without_measurements_hold_no_empty_fields(tmp_path, softmax_rows):
    row = next(row for row in softmax_rows if "skipped" in row)
    assert "p50_ms" not in row and "errors" not in row
    assert json.loads(json.dumps(row)) == row


def interpreted(script: str, *arguments: str) -> str:
    command = [sys.executable, str(HERE / script), "--interpreter", "--smoke", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_triton_peers_agree_with_float64_in_the_interpreter(tmp_path):
    pytest.importorskip("liger_kernel")
    path = tmp_path / "rows.jsonl"
    told = interpreted("masked_softmax.py", "--only", LIGER[0].name, "--keep", str(path))
    assert "times mean nothing" in told
    row = by_name(kept_rows(path), LIGER[0].name)
    assert row["clock"] == "interpreter"
    assert max(row["errors"].values()) < 1e-5


def test_the_gpu_session_prints_its_plan_and_stops_without_a_gpu(tmp_path):
    command = [sys.executable, str(HERE / "gpu.py"), "--folder", str(tmp_path / "out")]
    plan = subprocess.run([*command, "--plan"], capture_output=True, text=True, timeout=HANG_S)
    assert plan.returncode == 0
    assert all(name in plan.stdout for name in ("correctness", "head", "alignment.py", "pytest"))
    if torch.cuda.is_available():
        pytest.skip("the session itself would run here")
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert (done.returncode, (tmp_path / "out").exists()) == (2, False)
    assert "no CUDA device" in done.stdout


@pytest.mark.slow
def test_the_gpu_session_is_rehearsed_on_a_cpu(tmp_path):
    command = [sys.executable, str(HERE / "gpu.py"), "--rehearse", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, (tmp_path / "log.txt").read_text()[-3000:]
    outcomes = json.loads((tmp_path / "summary.json").read_text())
    assert len(outcomes) == len(gpu.stages(tmp_path, None, True))
    assert {row["side"] for row in kept_rows(tmp_path / "throughput.jsonl")} > {"alignmlm"}


@pytest.mark.bench
@pytest.mark.parametrize("script", ["masked_softmax.py", "alignment.py", "training_step.py"])
def test_a_benchmark_at_its_real_size(script):
    done = subprocess.run([sys.executable, str(HERE / script)], timeout=3600)
    assert done.returncode == 0


@pytest.mark.parametrize("impl", ["slab", "lean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sizes", [(300, 60_000, 32), (3_000, 4_000, 256)], ids=str)
def test_a_pass_holds_what_the_formula_says(sizes, dtype, impl):
    found = peak(*sizes, dtype, impl)
    assert found.measured_bytes == pytest.approx(found.promised_bytes, rel=0.04)
