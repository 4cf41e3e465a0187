"""No group of a run waits longer than run.collective_timeout_s, DeepSpeed's own included."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alignmlm.errors import ConfigError
from alignmlm.pretraining.recipe import RunConfig
from alignmlm.ranks.network import free_port
from tests.limits import HANG_S
from tests.pretraining.late_rank import LIMIT_S


@pytest.mark.dist
@pytest.mark.slow
def test_no_group_waits_longer_than_the_limit():
    torchrun = [str(Path(sys.executable).parent / "torchrun"), "--nproc-per-node=2"]
    places = [str(Path.cwd()), str(Path("kernels").absolute()), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [*torchrun, f"--master-port={free_port()}", "-m", "tests.pretraining.late_rank"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    waited = dict(line.split() for line in done.stdout.splitlines())
    assert waited.keys() == {"deepspeed", "torch"}, done.stderr[-3000:]
    for seconds in waited.values():
        assert LIMIT_S - 1 < float(seconds) < LIMIT_S + 5


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e9])
def test_a_limit_that_makes_no_sense_is_refused(seconds):
    with pytest.raises(ConfigError, match=r"run\.collective_timeout_s"):
        RunConfig(collective_timeout_s=seconds)
