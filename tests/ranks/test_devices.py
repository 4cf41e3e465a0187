import os
import subprocess
import sys

import pytest
import torch

from alignmlm.ranks.devices import share_cores
from tests.limits import HANG_S

OPENMP = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("launcher", ["LOCAL_WORLD_SIZE", "LOCAL_SIZE"])
def test_ranks_of_a_node_share_its_cores(monkeypatch, launcher):
    for name in ("LOCAL_WORLD_SIZE", "LOCAL_SIZE"):
        monkeypatch.delenv(name, raising=False)
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setenv(launcher, str(cores))
    share_cores()
    assert torch.get_num_threads() == 1


def test_a_number_of_threads_that_was_set_is_left_as_it_is(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    share_cores()
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("chosen", "spins"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_threads_that_wait_give_their_core_away_soon(chosen, spins):
    program = (
        "import sys; from alignmlm import cli; sys.argv = ['alignmlm', '--version']\n"
        "try: cli.main()\n"
        "except SystemExit: import torch"
    )
    unset = {name: value for name, value in os.environ.items() if name not in OPENMP}
    done = subprocess.run(
        [sys.executable, "-c", program], env=unset | chosen | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True, text=True, timeout=HANG_S, check=True,
    )  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
