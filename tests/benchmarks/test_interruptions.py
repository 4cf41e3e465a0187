"""kill -9 in the middle of training and of exporting: the same command then ends with the same."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.limits import HANG_S

EVERY = 67  # operations from one kill to the next; the benchmark kills at each of them
KILLS = {"train": 3, "export": 1}  # at least


@pytest.mark.skipif(shutil.which("cc") is None, reason="the harness is compiled")
def test_killed_commands_end_with_the_same_numbers_when_they_are_started_again(tmp_path):
    rows = tmp_path / "rows.jsonl"
    line = [sys.executable, "benchmarks/interruptions.py", "--commands", *KILLS, "--ranks", "1"]
    line += ["--every", str(EVERY), "--output", str(rows)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {row["command"]: row for row in map(json.loads, rows.read_text("utf-8").splitlines())}
    assert found.keys() == KILLS.keys()
    for name, row in found.items():
        assert row["kills"] >= KILLS[name], row
        assert row["equal"] == row["finished"] == row["kills"], row["failures"]
