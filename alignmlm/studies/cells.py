"""The outcome of each run of a study, recorded in <folder>/cells, and its progress."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from alignmlm.artifacts.names import DESCRIPTION, EXPORT, LOCK, STUDY
from alignmlm.errors import AlignMLMError, DataError
from alignmlm.evaluation.scores.study_file import study_text
from alignmlm.evaluation.selection import possible_sources
from alignmlm.languages.language import base_of
from alignmlm.pretraining.contents import numbers_of
from alignmlm.pretraining.run_records import METRICS, metric_rows
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.checksums import CHECKSUM, verified, with_checksum
from alignmlm.storage.locks import LockHeldError, held_or_refused, holder, lock_of
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import record
from alignmlm.studies.study import PlannedRun, StudyConfig, planned_runs, recipe_of
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.task import RequestedTasks, Task, local_files, requested_tasks, split_files

CELLS, LOGS = "cells", "logs"
COMMAND = " (exit code "  # after an error of pre-training: its exit code and command
OUTDATED = "its scores were measured with other settings or files; run the study again"
NOT_MEASURED = "trained, but not measured yet; run the study again"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CellRecord:
    """The outcome of the last attempt at a run."""

    inputs: str = ""  # the hash of what its rows depend on; empty if it failed, or a file is gone
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # tasks, and why
    error: str = ""
    training_s: float | None = None  # from start to end; None for a run that was resumed


def record_of(study: StudyConfig, run: PlannedRun) -> Path:
    """The path of a run's record, outside its folder, which must be empty when the run starts."""
    return Path(study.folder) / CELLS / f"{run.folder.name}.json"


def write_cell(study: StudyConfig, run: PlannedRun, cell: CellRecord) -> None:
    """Write the record of a run."""
    path = record_of(study, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = with_checksum(asdict(cell))
    replace_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def read_cell(study: StudyConfig, run: PlannedRun) -> CellRecord:
    """The record of a run; an empty one where there is none that can be used."""
    path = record_of(study, run)
    try:
        document = read_json(path, nan=True)
        if CHECKSUM in document:  # not in older records
            document = verified(document, path, DataError)
        return record(CellRecord, document, path)
    except AlignMLMError:
        return CellRecord()


def source_tasks(study: StudyConfig, run: PlannedRun, requested: RequestedTasks) -> list[Task]:
    """The other tasks that a run may be fine-tuned on, to be tested on those of the study.

    Raises:
        ConfigError: a named one does not exist.
    """
    settings, tested = study.evaluation, requested.all()
    languages = settings.languages or recipe_of(study, run).languages.ids
    base = base_of(settings.source or languages[0])
    sources: list[Task] = []
    for task in (task for task in tested if KINDS[task.kind].model):
        name = settings.source_task_of(task.name, task.group)
        sources += possible_sources(task, base, name, requested.own)
    return [task for task in sources if task not in tested]


def task_state(task: Task, sample: Path) -> list[Any]:
    """The settings of a task, and the size and time of each of its files.

    Raises:
        DataError: a file does not exist.
    """
    states = (path.stat() for path in local_files(split_files(task, sample)).values())
    return [task.settings(), [(one.st_size, one.st_mtime_ns) for one in states]]


def inputs_of(study: StudyConfig, run: PlannedRun) -> str:
    """The hash of what the rows of a run depend on: recipe, model, tasks and their files.

    Raises:
        AlignMLMError: a task or one of its files does not exist.
    """
    sample = Path(study.evaluation.sample_folder)
    parts: list[Any] = [numbers_of(recipe_of(study, run)), asdict(study.evaluation)]
    requested = requested_tasks(study.tasks)
    parts += [task_state(task, sample) for task in requested.all()]
    for task in source_tasks(study, run, requested):
        with suppress(DataError):  # a task without its files is not fine-tuned on
            parts.append(task_state(task, sample))
    parts.append((run.folder / EXPORT / DESCRIPTION).read_text("utf-8"))
    return xxhash.xxh3_64_hexdigest(json.dumps(parts, sort_keys=True).encode())


def current_cell(study: StudyConfig, run: PlannedRun) -> CellRecord:
    """The record of a run; an error takes the place of scores that are missing or outdated."""
    cell = read_cell(study, run)
    if cell.error:
        return cell
    if not run.done:
        return CellRecord(error="not pre-trained")
    if cell == CellRecord():
        return CellRecord(error=NOT_MEASURED)
    try:
        same = not cell.inputs or cell.inputs == inputs_of(study, run)
    except AlignMLMError as error:
        return CellRecord(error=str(error))
    return cell if same else CellRecord(error=OUTDATED)


def measured_cell(study: StudyConfig, run: PlannedRun) -> CellRecord | None:
    """The record of a run with nothing left to do; None where something is left."""
    cell = current_cell(study, run)
    return None if cell.error or cell.skipped or not cell.inputs else cell


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """The outcome of a study."""

    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # by run and task, and why
    failed: dict[str, str] = field(default_factory=dict)  # by run, and why it has no scores


def outcome_of(study: StudyConfig) -> StudyOutcome:
    """The outcome of a study, from the records of all runs."""
    outcome = StudyOutcome()
    for run in planned_runs(study):
        cell = current_cell(study, run)
        outcome.rows.extend(cell.rows)
        outcome.skipped.update({f"{run.folder.name}: {k}": why for k, why in cell.skipped.items()})
        if cell.error:
            outcome.failed[run.folder.name] = cell.error
    return outcome


def missing_runs(study: StudyConfig) -> list[Row]:
    """The runs that have no scores of the study as it is: objective, seed and reason."""
    failed = outcome_of(study).failed
    return [
        {"objective": run.name, "seed": run.seed, "reason": reason.partition(COMMAND)[0]}
        for run in planned_runs(study)
        if (reason := failed.get(run.folder.name))
    ]


def is_complete(study: StudyConfig, page: Path) -> bool:
    """Whether all runs are measured, study.json has just their rows, and the page is no older."""
    path = Path(study.folder) / STUDY
    if not (path.is_file() and page.is_file()):
        return False
    runs = planned_runs(study)
    cells = [cell for run in runs if (cell := measured_cell(study, run))]
    whole = study_text(study.name, [row for cell in cells for row in cell.rows])
    if len(cells) < len(runs) or path.read_bytes() != whole.encode():
        return False
    written = [path, *(record_of(study, run) for run in runs)]
    return all(one.stat().st_mtime_ns <= page.stat().st_mtime_ns for one in written)


def study_lock(study: StudyConfig) -> Path:
    """The lock that a process holds while it runs the study."""
    return lock_of(Path(study.folder) / "study")


def is_running(study: StudyConfig) -> bool:
    """Whether a process runs the study."""
    try:
        with held_or_refused(study_lock(study)):
            return False
    except LockHeldError:
        return True


def living_holder(lock: Path) -> int | None:
    """The id of the process on this machine that last took a lock, if it is still running."""
    words = holder(lock).split() if lock.is_file() else []
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdecimal():
        return None
    try:
        os.kill(int(words[1]), 0)
    except OSError:
        return None
    return int(words[1])


@dataclass(frozen=True, slots=True)
class Status:
    """The progress of a run."""

    run: str
    state: str  # waiting, training, stopped, trained, done or failed
    step: int
    steps: int
    tokens_per_s: float | None = None
    left_s: float | None = None  # of training
    loss_nats: float | None = None
    error: str = ""


def status_of(study: StudyConfig, run: PlannedRun) -> Status:
    """The progress of a run."""
    name, steps = run.folder.name, recipe_of(study, run).train.steps
    path = run.folder / METRICS
    rows = (
        [row for row in metric_rows(path) if "train/tokens_per_s" in row] if path.is_file() else []
    )
    last = rows[-1] if rows else {}
    step, speed = last.get("step", 0), last.get("train/tokens_per_s")
    loss = last.get("train/loss_nats")
    cell = read_cell(study, run)
    if measured_cell(study, run):
        return Status(name, "done", step, steps, speed, None, loss)
    if living_holder(run.folder / LOCK) and not run.done:
        left = (steps - step) * last["tokens"] / step / speed if step and speed else None
        return Status(name, "training", step, steps, speed, left, loss)
    if cell.error or cell.skipped:
        why_not = cell.error or "; ".join(f"{task}: {why}" for task, why in cell.skipped.items())
        return Status(name, "failed", step, steps, speed, None, loss, why_not)
    state = "trained" if run.done else "stopped" if step else "waiting"
    return Status(name, state, step, steps, speed, None, loss)


def statuses(study: StudyConfig) -> Iterator[Status]:
    """The progress of each run."""
    return (status_of(study, run) for run in planned_runs(study))
