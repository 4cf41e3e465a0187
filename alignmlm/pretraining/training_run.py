"""A run in progress: what it consists of and how far it has come."""

from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from alignmlm.pretraining.assembly import Assembly
from alignmlm.pretraining.checkpoints import CHECKPOINTS, Progress
from alignmlm.pretraining.contents import numbers_of
from alignmlm.pretraining.engine import Engine
from alignmlm.pretraining.faults import Faults
from alignmlm.pretraining.metrics import Metrics, Recorder
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_folder import as_recorded
from alignmlm.pretraining.saving import Saver
from alignmlm.pretraining.step_profile import StepProfile
from alignmlm.probes.words import WordProbe
from alignmlm.ranks.pace import SlowRank


@dataclass(slots=True)
class Counters:
    """How far a run has come; the only state of the loop besides the engine's."""

    step: int = 0
    tokens: int = 0  # over all ranks, padding not counted
    seconds: float = 0.0  # of training, without validation and checkpoints
    first_step: int = 0  # step at which batch 0 of the data was, or would have been, seen


@dataclass(slots=True)
class Run:
    """All parts of a run; loop.py takes its steps, between_steps.py does what comes between."""

    recipe: Recipe
    assembly: Assembly
    folder: Path
    engine: Engine
    counters: Counters
    faults: Faults
    recorder: Recorder | None  # on rank 0
    saver: Saver | None  # on rank 0
    slow_rank: SlowRank
    profile: StepProfile | None = None  # on rank 0, if asked for
    validation: Metrics = field(default_factory=dict)  # the last one's
    validated_step: int | None = None  # after which the last validation was
    word_probes: dict[int | None, dict[str, WordProbe]] = field(default_factory=dict)  # by limit

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.folder / CHECKPOINTS

    def turn(self) -> tuple[int, int]:
        """A count that grows while training makes progress, and the steps done."""
        return self.engine.turns + self.counters.step, self.counters.step

    def progress(self) -> Progress:
        """What a checkpoint's manifest records."""
        numbers = as_recorded(numbers_of(self.recipe))
        done = self.counters
        data_id = self.assembly.store.manifest.data_id
        return Progress(
            done.step,
            done.tokens,
            done.seconds,
            data_id,
            done.first_step,
            numbers,
            faults=deepcopy(self.faults.record),
        )
