"""What the runs of a study need: steps, tokens, time and disk, measured before anything starts."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import mean

from alignmlm.artifacts.names import EVALUATION, RESULTS
from alignmlm.console.quiet import quiet_logs
from alignmlm.errors import AlignMLMError
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_records import read_summary
from alignmlm.storage.plain_data import read_json
from alignmlm.studies.cells import measured_cell, read_cell
from alignmlm.studies.measuring import expected_measuring_s
from alignmlm.studies.speed import RunSpeed, folder_mib, trial_run
from alignmlm.studies.study import PlannedRun, StudyConfig, planned_runs, recipe_of


@dataclass(frozen=True, slots=True)
class Needs:
    """The time and disk space that a run takes."""

    training_s: float
    measuring_s: float | None  # None: its tasks could not be tried
    disk_mib: float


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What one run needs, or took."""

    run: str
    done: bool
    steps: int
    tokens: int
    training_s: float
    measuring_s: float | None
    disk_mib: float


def speed_key(recipe: Recipe) -> str:
    """What the speed of a recipe depends on."""
    train = asdict(recipe.train) | {"steps": 0, "seed": 0}
    parts = (asdict(recipe.model) | {"seed": 0}, recipe.objective, recipe.languages.ids, train)
    return repr((parts, recipe.mask.rate, recipe.optimizer.name, recipe.data))


def without_seed(recipe: Recipe) -> str:
    """All of a recipe but its seed, name and folder."""
    sections = asdict(recipe)
    for section, own in (("model", ("seed",)), ("train", ("seed",)), ("run", ("name", "dir"))):
        sections[section] |= dict.fromkeys(own)
    return repr(sections)


def measuring_s(run: PlannedRun) -> float | None:
    """How long a run's tasks took to measure; None where that is not known."""
    try:
        return read_json(run.folder / EVALUATION / RESULTS, nan=True)["seconds"]
    except (AlignMLMError, KeyError):
        return None


def taken(study: StudyConfig, run: PlannedRun) -> Needs:
    """What a finished run took: from start to end, or its steps alone if it was resumed."""
    seconds = read_cell(study, run).training_s or read_summary(run.folder)["seconds"]
    return Needs(seconds, measuring_s(run), folder_mib(run.folder))


def tried(study: StudyConfig, recipe: Recipe) -> tuple[RunSpeed, float | None]:
    """The speed of a recipe, and how long its tasks take to measure; None where they cannot be.

    Raises:
        AlignMLMError: it cannot be trained.
    """
    with trial_run(recipe) as (run, speed), quiet_logs():
        try:
            return speed, expected_measuring_s(run, study.tasks, study.evaluation)
        except AlignMLMError:
            return speed, None


def plan_rows(study: StudyConfig) -> Iterator[PlanRow]:
    """What each run needs: what it or a run with another seed took, or else what a trial predicts.

    Raises:
        AlignMLMError: a run cannot start.
    """
    runs, trials = planned_runs(study), dict[str, tuple[RunSpeed, float | None]]()
    done = {run.folder: taken(study, run) for run in runs if run.done}
    took = [needs.measuring_s for needs in done.values() if needs.measuring_s is not None]
    recipes = {run.folder: recipe_of(study, run) for run in runs}
    like = {without_seed(recipes[run]): done[run] for run in done}
    for run in runs:
        recipe = recipes[run.folder]
        steps, key = recipe.train.steps, speed_key(recipe)
        needs = done.get(run.folder) or like.get(without_seed(recipe))
        if needs is None:
            speed, tested = trials[key] = trials.get(key) or tried(study, recipe)
            disk_mib = speed.disk_mib(recipe.run.keep_checkpoints)
            needs = Needs(speed.run_s(steps), None if took else tested, disk_mib)
        tested = mean(took) if needs.measuring_s is None and took else needs.measuring_s
        tokens = steps * recipe.train.batch_rows * recipe.train.seq_len
        whole = measured_cell(study, run) is not None
        yield PlanRow(
            run.folder.name, whole, steps, tokens, needs.training_s, tested, needs.disk_mib
        )
