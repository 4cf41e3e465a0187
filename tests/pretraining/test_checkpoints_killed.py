"""kill -9 at every moment of a save: what was announced is there, and the next save works."""

import os
import random
import signal
import sys
from pathlib import Path
from time import perf_counter, sleep

import pytest
import torch

from alignmlm.pretraining.checkpoints import (
    LATEST,
    Progress,
    Rotation,
    load_state,
    newest_checkpoint,
    save_checkpoint,
    saved_steps,
)
from alignmlm.pretraining.saving import Saver

FILE_EVENTS = ("open", "os.", "shutil.")  # of sys.addaudithook


def state_of(step: int, numbers: int = 100) -> dict[str, torch.Tensor]:
    return {"parameter/w": torch.full((numbers,), float(step))}


def save_step(folder: Path, step: int) -> None:
    save_checkpoint(folder, state_of(step), Progress(step, 0, 0.0, "abc", 0, {}), Rotation(2))


def in_child(work) -> int:
    """The signal that ended a forked child that did the work, or 0."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def kill_at(event_number: int) -> None:
    """From now on this process dies at the n-th thing that it does to a file."""
    seen = [0]

    def hook(event: str, _: tuple) -> None:
        if event.startswith(FILE_EVENTS):
            seen[0] += 1
            if seen[0] == event_number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def check_newest(folder: Path, least: int) -> int:
    """The step of the newest whole checkpoint, which holds what was saved at that step."""
    path, progress = newest_checkpoint(folder)
    assert torch.unique(load_state(path)["parameter/w"]).tolist() == [float(progress.step)]
    assert progress.step >= max(least, int((folder / LATEST).read_text().removeprefix("step-")))
    return progress.step


@pytest.mark.parametrize("again", [False, True], ids=["a new step", "the newest step again"])
def test_a_save_that_is_killed_at_any_of_its_file_operations_loses_nothing(tmp_path, again):
    for step in (1, 2):
        save_step(tmp_path, step)
    number, newest, killed = 0, 2, signal.SIGKILL
    while killed:
        number += 1
        step = newest if again else newest + 1

        def work(number: int = number, step: int = step) -> None:
            kill_at(number)
            save_step(tmp_path, step)

        killed = in_child(work)
        newest = check_newest(tmp_path, newest)
        save_step(tmp_path, newest := newest + 1)  # and the next save works
        assert saved_steps(tmp_path) == [newest - 1, newest]
        assert len(list(tmp_path.iterdir())) == 3
    assert number > 15  # operations of one save


def test_saving_in_the_background_loses_nothing_when_killed_at_random_moments(tmp_path):
    moments = random.Random(0)
    save_step(tmp_path, 1)
    newest, started = 1, perf_counter()
    save_step(tmp_path, 1)
    whole_s = perf_counter() - started
    for _ in range(20):

        def work(first: int = newest + 1) -> None:
            saver = Saver(tmp_path, Rotation(2))
            for step in range(first, first + 100):
                progress = Progress(step, 0, 0.0, "abc", 0, {})
                saver.start(state_of(step, 300_000), progress, background=True)
                saver.settle()

        child = os.fork()
        if child == 0:
            work()
            os._exit(0)
        sleep(moments.uniform(0, 10 * whole_s))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        newest = check_newest(tmp_path, newest)
    save_step(tmp_path, newest + 1)
    assert check_newest(tmp_path, newest + 1) == newest + 1
