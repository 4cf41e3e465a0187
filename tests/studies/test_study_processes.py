"""A study that is killed at random moments and started again ends as one that was left alone."""

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from alignmlm.artifacts.names import STUDY
from tests.limits import HANG_S
from tests.small_study import write_small_study

pytestmark = pytest.mark.slow
MORE = {"train.steps": 12, "run.checkpoint_steps": 3}
KILLS = 3


def started(study: Path) -> subprocess.Popen:
    """A process that runs a study, in a group of its own with those that it starts."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    line = [sys.executable, "-m", "alignmlm.cli", "study", "run", str(study)]
    return subprocess.Popen(
        line, cwd=study.parent, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def finished(study: Path) -> tuple[str, float]:
    """What a study that comes to its end says, and the seconds that it took."""
    began, process = monotonic(), started(study)
    try:
        told, _ = process.communicate(timeout=HANG_S)
    finally:
        kill(process)
    assert process.returncode == 0, told
    return told, monotonic() - began


def kill(process: subprocess.Popen) -> None:
    """End a process and all that it started, at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def killed_after(study: Path, seconds: float) -> bool:
    """Whether a process that runs a study was still there to be killed after some seconds."""
    process = started(study)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    finally:
        kill(process)
    return False


def table(study: Path) -> str:
    """The rows of a study, with its checksum."""
    return (study.parent / "study" / STUDY).read_text("utf-8")


def times(study: Path) -> dict[str, int]:
    """When each file of a study was last written; a lock is written by whoever takes it."""
    files = [path for path in (study.parent / "study").rglob("*") if path.is_file()]
    return {str(path): path.stat().st_mtime_ns for path in files if path.suffix != ".lock"}


def test_a_study_killed_at_random_moments_ends_with_the_table_of_one_left_alone(
    small_store, tmp_path
):
    for name in ("alone", "killed"):
        (tmp_path / name).mkdir()
    alone, hit = (
        write_small_study(tmp_path / name, small_store, "mlm", "align_mlm", **MORE)
        for name in ("alone", "killed")
    )
    _, whole_s = finished(alone)
    moments, kills = random.Random(20), 0
    while kills < KILLS and killed_after(hit, moments.uniform(0.2, 0.8) * whole_s):
        kills += 1
    finished(hit)
    assert kills
    assert table(hit) == table(alone)
    before = times(hit)
    told, _ = finished(hit)
    assert "all is done" in told
    assert times(hit) == before
