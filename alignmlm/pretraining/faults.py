"""Faulty steps: losses and gradients that are not finite, and loss spikes.

Nothing here touches a tensor: the loop passes the outcome of each step as plain numbers that are
equal on all ranks, so all ranks decide alike.
"""

import json
import logging
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from statistics import median

from alignmlm.errors import AlignMLMError, CheckpointError, ConfigError
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import record

log = logging.getLogger(__name__)

SKIP = "skip.json"
NORMAL_MAD = 1.4826  # standard deviation of a normal distribution, in units of its MAD


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultConfig:
    """What a run does about faulty steps; may be changed when a run resumes."""

    stop_after: int = 3
    """Consecutive non-finite steps, or rewinds to one checkpoint, after which the run stops."""
    spike_window: int = 100
    """Number of preceding losses that a loss is compared with."""
    spike_threshold: float = 10.0
    """Robust standard deviations above the preceding losses' median that make a spike; 0: off."""
    rewind: bool = False
    """At a spike go back to the newest checkpoint, and leave out the batches of the spike."""
    rewind_batches: int = 2
    """Batches to leave out: that of the spike, and those before it."""

    def __post_init__(self) -> None:
        for name in ("stop_after", "rewind_batches"):
            if getattr(self, name) < 1:
                raise ConfigError(f"faults.{name}", getattr(self, name), "be at least 1")
        if self.spike_window < 8:
            raise ConfigError("faults.spike_window", self.spike_window, "be at least 8")
        if self.spike_threshold < 0:
            raise ConfigError("faults.spike_threshold", self.spike_threshold, "be at least 0")


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The outcome of one step over all ranks. The first step is 1, as in metrics.jsonl."""

    step: int
    loss_nats: float
    gradient_norm: float

    @property
    def finite(self) -> bool:
        """Whether loss and gradient norm are finite; if not, the step was not taken."""
        return math.isfinite(self.loss_nats) and math.isfinite(self.gradient_norm)


@dataclass(slots=True)
class FaultRecord:
    """Faults so far, by step number; part of every checkpoint."""

    not_finite: list[int] = field(default_factory=list)  # steps without an update
    left_out: list[int] = field(default_factory=list)  # steps skipped by the skip list
    spikes: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # the last ones, to compare with
    in_a_row: int = 0  # consecutive non-finite steps, up to the last step

    @property
    def not_taken(self) -> int:
        """Number of steps that AdamW did not count."""
        return len(self.not_finite) + len(self.left_out)


@dataclass(slots=True)
class SkipList:
    """Steps whose batches a run leaves out, kept in its folder: skip.json."""

    steps: list[int] = field(default_factory=list)
    rewinds: list[int] = field(default_factory=list)  # checkpoints that the run was rewound to


def read_skip_list(folder: Path) -> SkipList:
    """The skip list of a run's folder, empty where there is none.

    Raises:
        CheckpointError: the file is not a skip list.
    """
    path = folder / SKIP
    if not path.is_file():
        return SkipList()
    requirement = 'must look like {"steps": [41, 42], "rewinds": []}'
    try:
        skip = record(SkipList, read_json(path, CheckpointError), path, CheckpointError)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; it {requirement}") from error
    if min([*skip.steps, *skip.rewinds], default=0) < 0:
        raise CheckpointError(f"{path} names steps below 0; it {requirement}")
    return skip


def write_skip_list(folder: Path, skip: SkipList) -> None:
    """Write a skip list into a run's folder."""
    replace_text(folder / SKIP, json.dumps(asdict(skip)))


def is_spike(losses: list[float], loss_nats: float, config: FaultConfig) -> bool:
    """Whether a loss is far above preceding ones; False until there are enough of them.

    The distance from the median is measured in median absolute deviations: earlier spikes among the
    losses affect neither. Source: Leys et al., 2013 (J. Exp. Soc. Psychol. 49(4)), section 2.
    """
    if config.spike_threshold == 0 or len(losses) < config.spike_window:
        return False
    middle = median(losses)
    deviation = NORMAL_MAD * median(abs(loss - middle) for loss in losses)
    return loss_nats - middle > config.spike_threshold * max(deviation, 1e-6)


@dataclass(slots=True)
class Faults:
    """A run's fault settings, fault record and skip list, and what messages about a step need."""

    config: FaultConfig
    record: FaultRecord
    skip: SkipList
    folder: Path
    first_step: int = 0  # step at which the data's first batch was seen

    def leaves_out(self, step: int) -> bool:
        """Whether the skip list has a step."""
        return step in self.skip.steps

    def where(self, step: int) -> str:
        """A step, its batch, and the command that shows the batch."""
        batch = step - 1 - self.first_step
        recipe = quote(str(self.folder / "recipe.yaml"))
        shown = f"alignmlm data show --config {recipe} --step {batch}"
        return f"step {step} (batch {batch}: `{shown}`)"

    def judge(self, outcomes: Iterable[StepOutcome], tell: bool) -> int | None:
        """Record outcomes; returns the first step with a loss spike, if any. `tell`: log faults.

        Raises:
            AlignMLMError: too many steps in a row were not finite.
        """
        first = None
        for outcome in outcomes:
            if not outcome.finite:
                self.note_not_finite(outcome, tell)
                continue
            self.record.in_a_row = 0
            if is_spike(self.record.losses, outcome.loss_nats, self.config):
                self.record.spikes.append(outcome.step)
                first = first or outcome.step
                if tell:
                    message = "loss spike: %.3f nats after a median of %.3f, at %s"
                    usual = median(self.record.losses)
                    log.warning(message, outcome.loss_nats, usual, self.where(outcome.step))
            losses = [*self.record.losses, outcome.loss_nats]
            self.record.losses = losses[-self.config.spike_window :]
        return first

    def note_not_finite(self, outcome: StepOutcome, tell: bool) -> None:
        """Record a step that was not taken.

        Raises:
            AlignMLMError: too many steps in a row were not finite.
        """
        record = self.record
        record.not_finite.append(outcome.step)
        record.in_a_row += 1
        values = f"loss {outcome.loss_nats}, gradient norm {outcome.gradient_norm}"
        if record.in_a_row >= self.config.stop_after:
            first = record.not_finite[-record.in_a_row]
            raise AlignMLMError(
                f"training diverged: {record.in_a_row} steps in a row were not finite ({values}), "
                f"the first at {self.where(first)}; lower optimizer.learning_rate, or leave "
                f"batches out by their steps in {self.folder / SKIP}"
            )
        if tell:
            log.error("not finite (%s), step left out: %s", values, self.where(outcome.step))

    def plan_rewind(self, spike: int, checkpoint: int) -> None:
        """Put a spike's batches on the skip list, before the run is rewound to a checkpoint.

        Raises:
            AlignMLMError: the run was rewound to that checkpoint too often.
        """
        if self.skip.rewinds.count(checkpoint) >= self.config.stop_after:
            raise AlignMLMError(
                f"the loss jumps again at {self.where(spike)}, after {self.config.stop_after} "
                f"rewinds to step {checkpoint}; lower optimizer.learning_rate, or set "
                f"faults.rewind=false"
            )
        first = max(spike - self.config.rewind_batches, checkpoint) + 1
        self.skip.steps = sorted({*self.skip.steps, *range(first, spike + 1)})
        self.skip.rewinds.append(checkpoint)
