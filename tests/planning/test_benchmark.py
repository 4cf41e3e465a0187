"""The benchmark of the planner runs from its namespaces to its table."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.limits import HANG_S


@pytest.mark.cluster
@pytest.mark.slow
def test_the_benchmark_runs_in_its_short_form():
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "tc"))):
        pytest.skip("NO NODES: namespaces need root and iproute2")
    command = [sys.executable, "benchmarks/planner.py", "--smoke"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = " ".join(done.stdout.split())
    assert "predicted and measured on limited links" in told
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert "alignmlm-hub" not in left.stdout
