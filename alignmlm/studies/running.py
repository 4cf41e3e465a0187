"""Running a study: each run pre-trained and measured; finished work is reused."""

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

from alignmlm.artifacts.names import STUDY
from alignmlm.corpus.sources import expand_path
from alignmlm.data.store import MANIFEST, Store
from alignmlm.errors import ERROR_FILE, AlignMLMError, ConfigError, DataError, ExitCode
from alignmlm.evaluation.evaluate import evaluate
from alignmlm.evaluation.scores.results import result_rows, retrieval_rows
from alignmlm.evaluation.scores.study_file import study_document, study_text
from alignmlm.languages.language import parse_language
from alignmlm.pretraining.contents import differences, numbers_of
from alignmlm.pretraining.run_folder import as_recorded, recorded_data, recorded_numbers
from alignmlm.pretraining.run_records import read_summary
from alignmlm.ranks.cores import usable_cores
from alignmlm.ranks.signals import SIGNALS, SavedAndStoppedError
from alignmlm.storage.atomic import replace_text, set_aside
from alignmlm.storage.locks import LockHeldError, held_or_refused, locked
from alignmlm.studies.cells import (
    COMMAND,
    LOGS,
    CellRecord,
    Row,
    StudyOutcome,
    inputs_of,
    measured_cell,
    missing_runs,
    outcome_of,
    read_cell,
    record_of,
    study_lock,
    write_cell,
)
from alignmlm.studies.speed import train_command
from alignmlm.studies.study import PlannedRun, StudyConfig, planned_runs, recipe_of, settings_of
from alignmlm.tasks.task import check_task_files

log = logging.getLogger(__name__)


def as_argument(value: object) -> str:
    """A setting's value as it stands on a command line."""
    return value if isinstance(value, str) else json.dumps(value)


def command(study: StudyConfig, run: PlannedRun) -> list[str]:
    """The command that pre-trains one run."""
    recipe = [f"--config={study.recipe}"] if study.recipe else []
    settings = settings_of(study, run)
    return train_command(
        [*recipe, *(f"--{key}={as_argument(value)}" for key, value in settings.items())]
    )


def check_unmixed(study: StudyConfig, run: PlannedRun) -> None:
    """Raise unless a run's folder is new, or holds a run of this recipe and, if done, of its data.

    Raises:
        ConfigError: it holds another one; the message names the settings that differ, or the data.
        DataError: the store's manifest is damaged.
    """
    known, recipe = recorded_numbers(run.folder), recipe_of(study, run)
    now = as_recorded(numbers_of(recipe))
    if known is not None and (changed := differences(known, now)):
        requirement = "hold a run of this recipe; it differs in\n  " + "\n  ".join(changed)
        raise ConfigError("study.folder", str(run.folder), requirement)
    store = expand_path(recipe.data.store)
    trained = recorded_data(run.folder) if run.done and (store / MANIFEST).is_file() else None
    if trained and trained["data_id"] != (data_id := Store(store).manifest.data_id):
        requirement = f"hold a run of the data {data_id} of {store}, not of {trained['data_id']}"
        raise ConfigError("study.folder", str(run.folder), requirement)


def needs_work(study: StudyConfig, run: PlannedRun) -> bool:
    """Whether a run has work left to do, or has to be refused."""
    try:
        check_unmixed(study, run)
    except AlignMLMError:
        return True
    return measured_cell(study, run) is None


@contextmanager
def signals_handed_to(
    processes: Sequence[subprocess.Popen], stopped: threading.Event | None = None
) -> Iterator[None]:
    """A context in which signals to save and stop are forwarded to processes that are running.

    Only the main thread of a process receives signals; in another one it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hand_on(number: int, frame: FrameType | None) -> None:
        if stopped is not None:
            stopped.set()
        for process in processes:
            process.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """A context that SIGTERM and SIGUSR1 end; tasks measured by then are kept.

    Raises:
        SavedAndStoppedError: one of them came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SavedAndStoppedError

    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def pretrain(study: StudyConfig, run: PlannedRun) -> None:
    """Pre-train one run in a process of its own, its output on this one's terminal.

    Raises:
        AlignMLMError: it failed, or left no model.
        SavedAndStoppedError: a signal asked it to save and end.
        KeyboardInterrupt: a second Ctrl-C stopped it at once.
    """
    if run.done:
        log.info("%s: pre-trained before", run.folder)
        return
    line, error_file = command(study, run), record_of(study, run).with_suffix(".error")
    error_file.parent.mkdir(parents=True, exist_ok=True)
    error_file.unlink(missing_ok=True)
    own = {"WANDB_RUN_GROUP": study.name} | os.environ | {ERROR_FILE: str(error_file)}
    with subprocess.Popen(line, env=own) as process, signals_handed_to([process]):
        code = process.wait()
    if code == ExitCode.REQUEUE:
        raise SavedAndStoppedError
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code or not run.done:
        error = (
            error_file.read_text("utf-8") if error_file.is_file() else "left no summary and export"
        )
        what = f"{error}{COMMAND}{code}; the command was: {shlex.join(line)})"
        raise AlignMLMError(f"pre-training {run.folder}: {what}")


def run_rows(run: PlannedRun, results: dict[str, Any], tasks: list[str]) -> list[Row]:
    """A run's rows of the study: one per task and target or language pair, units as in UNITS."""
    summary = read_summary(run.folder)
    alignment = summary["alignment_percent"]
    whole = {
        "seed": run.seed,
        "steps": summary["steps"],
        "validation_loss_nats": summary["validation_loss_nats"],
        "alignment_in_dictionary_percent": alignment["in_dictionary"],
        "alignment_held_out_percent": alignment["held_out"],
    }
    own = {"objective": run.name, **whole}
    rows = [*result_rows(results), *retrieval_rows(results)]
    return [{**row, **own} for row in rows if row["task"] in tasks]


def checked_tasks(study: StudyConfig) -> list[str]:
    """The names of the tasks of a study, those of its groups included.

    Raises:
        ConfigError: there is no such task.
        DataError: a file of a task in a language of a run does not exist.
    """
    ids = {name for run in planned_runs(study) for name in recipe_of(study, run).languages.ids}
    bases = {parse_language(name).base for name in ids}
    sample = Path(study.evaluation.sample_folder)
    return [task.name for task in check_task_files(study.tasks, bases, sample)]


def run_cell(study: StudyConfig, run: PlannedRun) -> CellRecord:
    """Pre-train and measure one run, and record what came of it.

    Raises:
        AlignMLMError: it failed, which is recorded too.
    """
    names, new, began = checked_tasks(study), not run.folder.exists(), perf_counter()
    try:
        check_unmixed(study, run)
        pretrain(study, run)
        training_s = perf_counter() - began if new else read_cell(study, run).training_s
        cell = CellRecord(inputs_of(study, run)) if not names else measured(study, run, names)
        cell = replace(cell, training_s=training_s)
    except AlignMLMError as error:
        write_cell(study, run, CellRecord(error=str(error)))
        raise
    write_cell(study, run, cell)
    return cell


def measured(study: StudyConfig, run: PlannedRun, names: list[str]) -> CellRecord:
    """Measure a pre-trained run; returns its record."""
    with ended_by_signals():
        results, skipped = evaluate(run.folder, study.tasks, study.evaluation)
    try:
        inputs = inputs_of(study, run)
    except AlignMLMError:
        if not skipped:
            raise
        inputs = ""
    return CellRecord(inputs, run_rows(run, results, names), skipped)


def run_one(study: StudyConfig, number: int) -> CellRecord:
    """Pre-train and measure one run of the study, counted from 1; study.json is left as it is.

    Raises:
        ConfigError: there is no such run, or as for run_study().
        AlignMLMError: the run failed.
    """
    runs = planned_runs(study)
    if not 1 <= number <= len(runs):
        raise ConfigError("--only", number, f"lie in [1, {len(runs)}], the runs of the study")
    return run_cell(study, runs[number - 1])


def run_study(study: StudyConfig, workers: int = 1, path: Path | None = None) -> StudyOutcome:
    """Run a study; returns the outcome. <folder>/study.json has the rows, and grows with each run.

    Finished runs are not trained again, measured tasks not measured again, an unfinished run
    resumes from its newest checkpoint, and one that fails stops no other. With several workers,
    runs are processes that read the study's file at `path`.

    Raises:
        ConfigError: another process runs the study, or a task does not exist.
        DataError: a file of a task does not exist.
        AlignMLMError: every run failed; the message is that of the first one.
    """
    began, runs = perf_counter(), planned_runs(study)
    checked_tasks(study)
    try:
        with held_or_refused(study_lock(study)):
            if workers > 1 and path is not None:
                run_side_by_side(study, path, workers)
            else:
                run_in_turn(study)
            outcome = outcome_of(study)
            write_study(study, outcome.rows)
    except LockHeldError as error:
        requirement = (
            f"be free: another process runs the study ({error}); see `alignmlm study status`"
        )
        raise ConfigError("study.folder", study.folder, requirement) from error
    if len(outcome.failed) == len(runs):
        raise AlignMLMError(next(iter(outcome.failed.values())))
    log.info("study %s: %d runs in %.0f s", study.name, len(runs), perf_counter() - began)
    return outcome


def run_in_turn(study: StudyConfig) -> None:
    """Carry out each run that is not done yet, one after the other."""
    runs = planned_runs(study)
    for number, run in enumerate(runs, start=1):
        if not needs_work(study, run):
            continue
        log.info("run %d of %d: %s, seed %d", number, len(runs), run.name, run.seed)
        try:
            run_cell(study, run)
        except AlignMLMError as error:
            log.error("run %d of %d failed: %s", number, len(runs), error)
        write_study(study, outcome_of(study).rows)


def run_side_by_side(study: StudyConfig, path: Path, workers: int) -> None:
    """Carry out the runs that are not done yet, `workers` at a time, each in its own process.

    Raises:
        SavedAndStoppedError: a signal ended them.
    """
    runs, processes, stopped = planned_runs(study), list[subprocess.Popen](), threading.Event()
    logs = Path(study.folder) / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    threads = max(1, usable_cores() // workers)
    own = {"OMP_NUM_THREADS": str(threads)} | os.environ

    def make(number: int) -> None:
        run = runs[number - 1]
        if stopped.is_set() or not needs_work(study, run):
            return
        output = logs / f"{run.folder.name}.log"
        log.info("run %d of %d: %s, seed %d; see %s", number, len(runs), run.name, run.seed, output)
        line = [sys.executable, "-m", "alignmlm.cli", "study", "run", str(path), f"--only={number}"]
        with output.open("ab") as file:
            process = subprocess.Popen(line, env=own, stdout=file, stderr=subprocess.STDOUT)
        processes.append(process)
        code = process.wait()
        if code and not stopped.is_set():
            if not read_cell(study, run).error:
                write_cell(
                    study, run, CellRecord(error=f"ended with exit code {code}; see {output}")
                )
            log.error("run %d of %d failed: %s", number, len(runs), read_cell(study, run).error)
        write_study(study, outcome_of(study).rows)

    with signals_handed_to(processes, stopped), ThreadPoolExecutor(workers) as pool:
        list(pool.map(make, range(1, len(runs) + 1)))
    if stopped.is_set():
        raise SavedAndStoppedError


def write_study(study: StudyConfig, rows: list[Row]) -> None:
    """Write study.json with these rows, keeping those that it has of the study's other runs.

    So nothing is lost if several processes run the same study. A damaged file is reported and set
    aside: once the study has run to its end, the rows of all its runs are there again.
    """
    path = Path(study.folder) / STUDY
    with locked(path):
        try:
            known = study_document(path)["rows"] if path.exists() else []
        except DataError as error:
            log.warning("%s; set aside as %s, made again", error, set_aside(path).name)
            known = []
        rows = in_order(study, [*rows, *other_rows(study, known, rows)])
        there = {(row["objective"], row["seed"]) for row in rows}
        missing = [
            each for each in missing_runs(study) if (each["objective"], each["seed"]) not in there
        ]
        replace_text(path, study_text(study.name, rows, missing))


def other_rows(study: StudyConfig, known: list[Row], rows: list[Row]) -> list[Row]:
    """The known rows of the study's planned runs that neither `rows` nor a record covers."""
    runs = (run for run in planned_runs(study) if not record_of(study, run).is_file())
    wanted = {(run.name, run.seed) for run in runs}
    wanted -= {(row["objective"], row["seed"]) for row in rows}
    return [row for row in known if (row.get("objective"), row.get("seed")) in wanted]


def in_order(study: StudyConfig, rows: list[Row]) -> list[Row]:
    """The rows in the order of the study's runs."""
    place = {(run.name, run.seed): number for number, run in enumerate(planned_runs(study))}
    return sorted(rows, key=lambda row: place[row["objective"], row["seed"]])
