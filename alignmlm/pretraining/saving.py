"""Saving during a run: in the background if asked, and surviving disk failures."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from time import perf_counter, sleep
from typing import Any

import torch
from torch import Tensor

from alignmlm.errors import CheckpointError
from alignmlm.pretraining.checkpoints import Progress, Rotation, save_checkpoint
from alignmlm.pretraining.metrics import Metrics
from alignmlm.pretraining.recipe import RunConfig

log = logging.getLogger(__name__)

PAUSE_S = 5.0  # between two attempts of the last save


@dataclass(slots=True)
class Writing:
    """One checkpoint being written."""

    progress: Progress
    error: BaseException | None = None
    seconds: float = 0.0
    thread: Thread | None = None

    def run(self, write: Callable[[], object]) -> None:
        """Write the checkpoint, and keep any error for the loop."""
        started = perf_counter()
        try:
            write()
        except BaseException as error:  # every kind must reach the loop
            self.error = error
            log.error("saving step %d failed: %s", self.progress.step, error)  # counted later
        self.seconds = perf_counter() - started


@dataclass(frozen=True, slots=True)
class SaveStatus:
    """The status of saving, equal on all ranks."""

    saved: int | None  # the newest step that this process saved
    fault: str | None = None  # error of the last save
    busy: bool = False  # the last save is still being written
    bug: str | None = None  # an error that is not the disk's


@dataclass(slots=True)
class Saver:
    """Writes the checkpoints of a run; only rank 0, where the files are, has a saver.

    A save that fails leaves older checkpoints untouched, is counted, and is reported in the log
    and in metrics.jsonl; the run continues.
    """

    folder: Path
    rotation: Rotation
    patience_s: float = 300.0  # longest wait for the previous save
    failed: int = 0  # failed saves so far
    failed_now: int = 0  # failed saves in a row
    saved: int | None = None  # the newest step that this process saved
    writing: Writing | None = None
    news: Metrics = field(default_factory=dict)

    def start(self, state: dict[str, Tensor], progress: Progress, background: bool) -> None:
        """Save, in a thread or synchronously; does nothing while the previous save is running."""
        if self.writing is not None:
            return
        writing = self.writing = Writing(progress)

        def work() -> None:
            writing.run(lambda: save_checkpoint(self.folder, state, progress, self.rotation))

        if background:
            # a daemon: a hanging file system must not keep the process from exiting
            writing.thread = Thread(target=work, name="checkpoint", daemon=True)
            writing.thread.start()
        else:
            work()

    def settle(self) -> SaveStatus:
        """Wait for the running save, and count its outcome."""
        writing, started = self.writing, perf_counter()
        if writing is None:
            return SaveStatus(self.saved)
        if writing.thread is not None:
            writing.thread.join(self.patience_s)
            if writing.thread.is_alive():
                waited = f"it is still being written after {perf_counter() - started:.0f} s"
                return SaveStatus(self.saved, self.failure(writing, waited), busy=True)
        self.writing = None
        if writing.error is None:
            self.saved, self.failed_now = writing.progress.step, 0
            self.news["checkpoint/write_s"] = round(writing.seconds, 4)
            return SaveStatus(self.saved)
        fault = self.failure(writing, str(writing.error))
        if isinstance(writing.error, OSError):
            return SaveStatus(self.saved, fault)
        log.error("this is a bug, not a fault of the disk", exc_info=writing.error)
        return SaveStatus(self.saved, fault, bug=repr(writing.error))

    def failure(self, writing: Writing, why: str) -> str:
        """Count and log a failed save; returns the message."""
        self.failed += 1
        self.failed_now += 1
        self.news["checkpoint/failed_saves"] = self.failed
        newest = "nothing" if self.saved is None else f"step {self.saved}"
        message = (
            f"CHECKPOINT NOT SAVED: step {writing.progress.step} in {self.folder}: {why}; "
            f"{self.failed_now} in a row; this process has saved {newest} so far"
        )
        log.error("%s", message)
        return message

    def take_news(self) -> Metrics:
        """Metrics of the saves that ended since the last call."""
        news, self.news = self.news, {}
        return news


def make_saver(config: RunConfig, folder: Path) -> Saver:
    """The saver of a run; its folder must exist, and is not recreated if deleted."""
    rotation = Rotation(config.keep_checkpoints, config.keep_best, config.keep_every_hours)
    return Saver(folder, rotation, patience_s=config.collective_timeout_s / 2)


def settled(saver: Saver | None, group: Any) -> SaveStatus:
    """The outcome of rank 0's running save; every rank calls it.

    Raises:
        CheckpointError: a bug in the saving thread; raised on every rank.
    """
    statuses = [SaveStatus(None) if saver is None else saver.settle()]
    torch.distributed.broadcast_object_list(statuses, src=0, group=group)
    outcome = statuses[0]
    if outcome.bug is not None:
        raise CheckpointError(f"saving failed: {outcome.bug}; rank 0 has logged where")
    return outcome


def save(
    saver: Saver | None,
    collect: Callable[[], dict[str, Tensor]],
    progress: Progress,
    group: Any,
    background: bool,
) -> SaveStatus:
    """Save during the run; every rank calls it. A failed save is counted and raises nothing.

    With `background`, the outcome is that of the previous save. `group` is a CPU process group.

    Raises:
        CheckpointError: a bug in the thread.
    """
    started = perf_counter()
    outcome = settled(saver, group)
    if outcome.busy:
        return outcome
    state = collect()
    if saver is not None:
        saver.start(state, progress, background)
    if not background:
        outcome = settled(saver, group)
    if saver is not None:
        saver.news["checkpoint/blocked_s"] = round(perf_counter() - started, 4)
    return outcome


def save_last(
    saver: Saver | None,
    collect: Callable[[], dict[str, Tensor]],
    progress: Progress,
    group: Any,
    attempts: int,
    pause_s: float = PAUSE_S,
) -> None:
    """Save at the end of a run, and wait for it; every rank calls it.

    A save that is still running is waited for once more, without counting that as an attempt.

    Raises:
        CheckpointError: saving failed `attempts` times in a row; raised on every rank.
    """
    if settled(saver, group).busy:
        settled(saver, group)
    state = collect()
    for attempt in range(attempts):
        sleep(pause_s if attempt else 0)
        if saver is not None:
            saver.start(state, progress, background=False)
        outcome = settled(saver, group)
        if outcome.saved == progress.step:
            return
    raise CheckpointError(
        f"the last checkpoint could not be saved in {attempts} attempts; fix the disk and run "
        f"the same command again: it resumes from the newest intact checkpoint\n{outcome.fault}"
    )
