"""A study: objectives times seeds, each pre-trained and evaluated; finished work is reused."""

import json
import logging
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import alignmlm
from alignmlm.artifacts.names import CURVES, DESCRIPTION, EXPORT, STUDY, STUDY_SETTINGS, SUMMARY
from alignmlm.errors import AlignMLMError, ConfigError, DataError, ExitCode, nearest
from alignmlm.evaluation.evaluate import evaluate, skipped_of
from alignmlm.evaluation.scores.results import read_results, result_rows, retrieval_rows
from alignmlm.evaluation.scores.study_file import study_document, study_text
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.objectives.settings import NAMES
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_records import read_summary
from alignmlm.ranks.signals import (
    SIGNALS,
    SavedAndStoppedError,
)
from alignmlm.shipped import shipped_file
from alignmlm.storage.atomic import replace_text, set_aside
from alignmlm.storage.locks import locked
from alignmlm.storage.plain_data import read_layered_yaml, read_yaml
from alignmlm.storage.typed_settings import FolderPath, build, check, nested, setting_hints
from alignmlm.tasks.task import load_tasks

log = logging.getLogger(__name__)

OWN = ("objective.name", "model.seed", "train.seed", "run.name", "run.dir")  # set by the study
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """A matrix of runs and how each is measured."""

    name: str
    """Name of the study, also in the names of its runs."""
    folder: FolderPath
    """Folder of the runs and of study.json."""
    objectives: list[str] = field(default_factory=list)
    """Objectives, each with the recipe's settings."""
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Named sets of dotted settings, each with an objective.name."""
    recipe: FolderPath | None = None
    """Recipe of all runs (YAML); null: the sample recipe."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of pre-training, each for weights and data order."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Dotted settings of all runs: {train.steps: 300}."""
    tasks: list[str] = field(default_factory=lambda: ["sample_pos"])
    """Tasks to measure each run on: names, groups or YAML files."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        for key in ("objectives", "seeds", "tasks"):
            values = getattr(self, key)
            missing = not values and not (key == "objectives" and self.variants)
            if missing or len(set(values)) < len(values):
                raise ConfigError(f"study.{key}", values, "name at least one, each once")
        for objective in self.objectives:
            if objective not in NAMES:
                requirement = f"be one of {sorted(NAMES)}{nearest(objective, NAMES)}"
                raise ConfigError("study.objectives", objective, requirement)
        check_overrides("study.overrides", self.overrides, OWN)
        for name, settings in self.variants.items():
            place = f"study.variants.{name}"
            if name in self.objectives or "objective.name" not in settings:
                requirement = "have a name of its own and an objective.name"
                raise ConfigError(place, settings, requirement)
            check_overrides(place, settings, OWN[1:])


def check_overrides(place: str, overrides: dict[str, Any], own: Sequence[str]) -> None:
    """Raise unless overrides are dotted settings, of their types, that the study does not set.

    Raises:
        ConfigError: they are not.
    """
    hints = dict(setting_hints(Recipe))
    for key, value in overrides.items():
        if key not in hints:
            requirement = f"name dotted settings, as in 'train.steps: 300'{nearest(key, hints)}"
            raise ConfigError(place, key, requirement)
        if key in own:
            raise ConfigError(place, key, "not be a setting that the study sets")
        check(hints[key], value, key, place)


def load_study(path: Path) -> StudyConfig:
    """The study of a YAML file.

    Raises:
        ConfigError: no such file, not YAML, an unknown, missing or wrong setting, or one of its
            runs is no recipe.
    """
    study = build(StudyConfig, (str(path), read_yaml(path)))
    if study.recipe:
        study = replace(study, recipe=str(shipped_file("recipe", study.recipe)))
    layers = read_layered_yaml(Path(study.recipe)) if study.recipe else []
    for run in planned_runs(study)[: len(study.objectives) + len(study.variants)]:
        settings = nested({**study.overrides, **run.overrides})
        build(Recipe, *layers, (f"{path}: {run.name}", settings))
    return study


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One cell of a study."""

    name: str  # of the objective or the variant
    seed: int
    folder: Path
    overrides: dict[str, Any] = field(default_factory=dict)  # of the variant

    @property
    def done(self) -> bool:
        """Whether the run has finished and left a model and its curves."""
        left = (SUMMARY, CURVES, f"{EXPORT}/{DESCRIPTION}")
        return all((self.folder / name).is_file() for name in left)


def planned_runs(study: StudyConfig) -> list[PlannedRun]:
    """The runs of a study, every objective and variant of the first seed first."""
    objectives = {name: {"objective.name": name} for name in study.objectives}
    cells = product(study.seeds, {**objectives, **study.variants}.items())
    return [
        PlannedRun(name, seed, Path(study.folder) / f"{name}-seed{seed}", overrides)
        for seed, (name, overrides) in cells
    ]


def as_argument(value: object) -> str:
    """A setting's value as it stands on a command line."""
    return value if isinstance(value, str) else json.dumps(value)


def command(study: StudyConfig, run: PlannedRun) -> list[str]:
    """The command that pre-trains one run: the checkout's train.py, or the installed package."""
    script = Path(alignmlm.__file__).parents[1] / "train.py"
    start = [str(script)] if script.is_file() else ["-m", "alignmlm.cli", "train"]
    recipe = [f"--config={study.recipe}"] if study.recipe else []
    name = f"{study.name}-{run.folder.name}"
    own = (run.seed, run.seed, name, str(run.folder))
    settings = {**study.overrides, **run.overrides, **dict(zip(OWN[1:], own, strict=True))}
    overrides = [f"--{key}={as_argument(value)}" for key, value in settings.items()]
    return [sys.executable, *start, *recipe, *overrides]


def check_folder(study: StudyConfig) -> None:
    """Record the recipe and overrides beside the runs, so that runs of others cannot mix with them.

    Raises:
        ConfigError: the folder holds runs of another recipe or other overrides, or there is no
            such recipe.
    """
    if study.recipe and not Path(study.recipe).is_file():
        raise ConfigError("study.recipe", study.recipe, "be an existing file")
    recipe = Path(study.recipe).read_text(encoding="utf-8") if study.recipe else None
    inputs = {"recipe": recipe, "overrides": study.overrides}
    settings = json.dumps(
        inputs | ({"variants": study.variants} if study.variants else {}), indent=1
    )
    path = Path(study.folder) / STUDY_SETTINGS
    with locked(path):
        if path.is_file() and path.read_text(encoding="utf-8") != settings:
            requirement = f"be new, or hold runs of this recipe and these overrides; see {path}"
            raise ConfigError("study.folder", study.folder, requirement)
        replace_text(path, settings)


@contextmanager
def signals_handed_to(process: subprocess.Popen) -> Iterator[None]:
    """A context in which signals to save and stop are forwarded to the run.

    Only the main thread of a process receives signals; in another one it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda found, frame: process.send_signal(found))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
    line = command(study, run)
    with subprocess.Popen(line) as process, signals_handed_to(process):
        code = process.wait()
    if code == ExitCode.REQUEUE:
        raise SavedAndStoppedError
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code or not run.done:
        what = f"ended with exit code {code}" if code else "left no summary and export"
        raise AlignMLMError(
            f"pre-training {run.folder} {what}; the command was: {shlex.join(line)}"
        )


def run_rows(run: PlannedRun, results: dict[str, Any], tasks: list[str]) -> list[Row]:
    """A run's rows of the study: one a task and target or pair of languages, units as in UNITS."""
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


def check_tasks(study: StudyConfig) -> list[str]:
    """The names of the tasks of a study, those of its groups included.

    Raises:
        ConfigError: there is no such task.
    """
    return [task.name for name in study.tasks for task in load_tasks(name)]


def run_one(study: StudyConfig, number: int) -> None:
    """Pre-train and measure one run of the study, counted from 1; study.json is left as it is.

    Raises:
        ConfigError: there is no such run, or what run_study() raises it for.
        AlignMLMError: the run failed.
    """
    runs = planned_runs(study)
    if not 1 <= number <= len(runs):
        raise ConfigError("--only", number, f"lie in [1, {len(runs)}], the runs of the study")
    check_tasks(study)
    check_folder(study)
    run = runs[number - 1]
    pretrain(study, run)
    evaluate(run.folder, study.tasks, study.evaluation)


def run_study(study: StudyConfig) -> list[Row]:
    """The rows of the study, as written to <folder>/study.json.

    Finished runs are not trained again, measured tasks not measured again, an unfinished run
    resumes from its newest checkpoint. study.json grows with each run.

    Raises:
        ConfigError: the folder holds runs of other settings, or a task does not exist.
        AlignMLMError: a run failed.
    """
    began = perf_counter()
    names = check_tasks(study)
    check_folder(study)
    rows: list[Row] = []
    runs = planned_runs(study)
    for number, run in enumerate(runs, start=1):
        log.info("run %d of %d: %s, seed %d", number, len(runs), run.name, run.seed)
        pretrain(study, run)
        results = evaluate(run.folder, study.tasks, study.evaluation)
        rows += run_rows(run, results, names)
        write_study(study, rows)
    log.info("study %s: %d runs in %.0f s", study.name, len(runs), perf_counter() - began)
    return rows


def skipped_tasks(study: StudyConfig) -> dict[str, str]:
    """The tasks that could not be measured, by run and task, and why."""
    folders = [run.folder for run in planned_runs(study)]
    documents = {folder: read_results(folder / "evaluation") for folder in folders}
    return {
        f"{folder.name}: {task}": reason
        for folder, document in documents.items()
        for task, reason in skipped_of(document or {}, study.tasks).items()
    }


def write_study(study: StudyConfig, rows: list[Row]) -> None:
    """Write study.json with these rows, and those of other runs of the study that it has.

    So nothing is lost if several processes run the same study. A damaged file is reported and set
    aside: a study that is run to its end has the rows of all its runs.
    """
    path = Path(study.folder) / STUDY
    with locked(path):
        try:
            known = study_document(path)["rows"] if path.exists() else []
        except DataError as error:
            log.warning("%s; set aside as %s, made again", error, set_aside(path).name)
            known = []
        rows = in_order(study, [*rows, *other_rows(study, known, rows)])
        replace_text(path, study_text(study.name, rows))


def other_rows(study: StudyConfig, known: list[Row], rows: list[Row]) -> list[Row]:
    """The known rows that are of runs of the study, and of none that some rows are of."""
    planned = {(run.name, run.seed) for run in planned_runs(study)}
    wanted = planned - {(row["objective"], row["seed"]) for row in rows}
    return [row for row in known if (row.get("objective"), row.get("seed")) in wanted]


def in_order(study: StudyConfig, rows: list[Row]) -> list[Row]:
    """The rows in the order of the study's runs."""
    place = {(run.name, run.seed): number for number, run in enumerate(planned_runs(study))}
    return sorted(rows, key=lambda row: place[row["objective"], row["seed"]])
