"""Every benchmark runs in its short form, from the first line to its table, which is whole."""

import subprocess
import sys

import pytest

from tests.limits import HANG_S

TOLD = {
    "loader.py": ["alignmlm: verify, invert, transliterate, mask", "numpy: gather", "floor"],
    "checkpoint_matrix.py": ["| 2 x 3 |", "16 cells, 0 do not hold"],
    "flipped_bits.py": ["| checkpoint folder | 10 | 10 |", "| tokenizer | 10 | 10 |"],
    "null_comparisons.py": ["112 rows: 28 without a p-value"],
    "attention.py": ["products, ms", "bf16"],
    "throughput.py": ["authors", "tokens/s", "vocabulary 800"],
    "speedrun.py": ["trainer modernbert", "alignmlm before", "until 5.9 nats"],
    "first_batch.py": ["first_batch_ms", "late_batch_ms", "grown_mib"],
}


@pytest.mark.parametrize("name", TOLD)
def test_a_benchmark_runs_in_its_short_form(name, tmp_path):
    command = [sys.executable, f"benchmarks/{name}", "--smoke"]
    folder = ["--folder", str(tmp_path)] if name == "loader.py" else []
    done = subprocess.run([*command, *folder], capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert all(line in told for line in TOLD[name])
