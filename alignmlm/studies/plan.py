"""What the runs of a study need: steps, tokens, time and disk, measured before anything starts."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import mean

from alignmlm.artifacts.names import EVALUATION, RESULTS
from alignmlm.errors import AlignMLMError
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_records import read_summary
from alignmlm.storage.plain_data import read_json
from alignmlm.studies.cells import measured_cell
from alignmlm.studies.speed import Speed, folder_mib, measured_speed
from alignmlm.studies.study import PlannedRun, StudyConfig, planned_runs, recipe_of


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What one run needs, or took."""

    run: str
    done: bool
    steps: int
    tokens: int
    training_s: float
    measuring_s: float | None  # None: known once the first run is measured
    disk_mib: float


def speed_key(recipe: Recipe) -> str:
    """What the speed of a recipe depends on."""
    train = (recipe.train.seq_len, recipe.train.batch_rows, recipe.train.micro_rows)
    parts = (asdict(recipe.model) | {"seed": 0}, recipe.objective, recipe.languages.ids, train)
    return repr((parts, recipe.optimizer.name, recipe.data))


def measuring_s(run: PlannedRun) -> float | None:
    """How long a run's tasks took to measure; None where that is not known."""
    try:
        return read_json(run.folder / EVALUATION / RESULTS, nan=True)["seconds"]
    except (AlignMLMError, KeyError):
        return None


def plan_rows(study: StudyConfig) -> Iterator[PlanRow]:
    """What each run needs; runs that are done tell what they took, others are tried for some steps.

    Raises:
        AlignMLMError: a run cannot start.
    """
    runs, speeds = planned_runs(study), dict[str, Speed]()
    took = [seconds for run in runs if (seconds := measuring_s(run)) is not None]
    expected = mean(took) if took else None if study.tasks else 0.0
    for run in runs:
        recipe = recipe_of(study, run)
        steps = recipe.train.steps
        tokens = steps * recipe.train.batch_rows * recipe.train.seq_len
        if run.done:
            training_s, disk_mib = read_summary(run.folder)["seconds"], folder_mib(run.folder)
        else:
            key = speed_key(recipe)
            speed = speeds[key] = speeds.get(key) or measured_speed(recipe)
            training_s, disk_mib = speed.run_s(steps), speed.disk_mib(recipe.run.keep_checkpoints)
        own = measuring_s(run)
        done = measured_cell(study, run) is not None
        measured = expected if own is None else own
        yield PlanRow(run.folder.name, done, steps, tokens, training_s, measured, disk_mib)
