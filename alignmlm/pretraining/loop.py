"""The one loop that serves all objectives."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite
from time import perf_counter

import torch

from alignmlm.data.batches import Batch, Loader, batch_samples, make_batch
from alignmlm.data.prefetch import in_order
from alignmlm.data.store import TRAIN
from alignmlm.draws import key
from alignmlm.errors import ExitCode
from alignmlm.objectives.objective import Losses
from alignmlm.pretraining.engine import Engine
from alignmlm.pretraining.faults import Faults, Outcome
from alignmlm.pretraining.metrics import Metrics, loss_metrics, peak_memory_mib
from alignmlm.pretraining.recipe import OptimizerConfig, TrainConfig
from alignmlm.pretraining.schedules import learning_rate
from alignmlm.ranks.shares import micro_batches
from alignmlm.ranks.signals import SavedAndStoppedError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """What a run has done so far; the only state of the loop besides the engine's."""

    step: int = 0
    tokens: int = 0  # over all ranks, padding not counted
    seconds: float = 0.0  # of training, without validation and checkpoints
    first_step: int = 0  # where batch 0 of the data was, or would have been, seen


@dataclass(frozen=True, slots=True)
class Hooks:
    """What happens between steps, and how often."""

    log: Callable[[int, Metrics], None]
    validate: Callable[[int], None]
    checkpoint: Callable[[Counters], None]
    checkpoint_steps: int
    rewind: Callable[[int], bool]  # from a spike to the newest checkpoint; whether there is one
    compare: Callable[[float], Metrics]  # this rank's own seconds a step with other ranks'


@dataclass(slots=True)
class Interval:
    """What happened since the last logged step."""

    started: float
    tokens: int = 0  # of this rank
    fallbacks: int = 0  # translation rows of this rank that no whole sentence fitted
    data_s: float = 0.0  # spent waiting for batches
    own_s: float = 0.0  # of that, for this rank's own
    steps: int = 0
    rate: float = 0.0  # the last step's learning rate
    losses: list[tuple[int, torch.Tensor]] = field(default_factory=list)  # not yet looked at


def tokens_in(batches: list[Batch]) -> int:
    """Positions that hold a token."""
    present = (batch.attention_mask for batch in batches)
    sizes = (batch.input_ids.numel() for batch in batches)
    return sum(
        size if mask is None else int(mask.sum()) for size, mask in zip(sizes, present, strict=True)
    )


def step_batches(engine: Engine, loader: Loader, train: TrainConfig, step: int) -> list[Batch]:
    """This rank's micro-batches of one step, ready to be copied to its device."""
    micro, _ = micro_batches(train.batch_rows, train.micro_rows, engine.world_size)
    samples = batch_samples(loader, step, train.batch_rows, engine.rank, engine.world_size, micro)
    batches = [replace(make_batch(loader, part, TRAIN), step=step) for part in samples]
    return [batch.pinned() for batch in batches] if engine.device.type == "cuda" else batches


def step_metrics(engine: Engine, losses: Losses, norm: torch.Tensor, names: list[str]) -> Metrics:
    """The losses of one step over all ranks, and its gradient norm; only what is finite."""
    sums = torch.stack([losses.nats, losses.correct, losses.positions])
    engine.sum_over_ranks(sums)
    metrics = loss_metrics(Losses(sums[0].sum(), {}, *sums), names, "train")
    for name, term in losses.auxiliary.items():
        metrics[f"train/{name}_loss"] = float(term.detach())
    metrics["train/gradient_norm"] = float(norm)
    return {name: value for name, value in metrics.items() if isfinite(value)}


def outcomes(engine: Engine, interval: Interval) -> list[Outcome]:
    """What the steps since the last logged one came to, the same on every rank.

    They are read here and not after each step, so that no GPU is waited for.
    """
    if not interval.losses:
        return []
    sums = torch.stack([sums for _, sums in interval.losses])
    norms = sums[:, 2].tolist()  # the same on every rank already
    nats, positions, _ = engine.sum_over_ranks(sums).T.tolist()
    steps = [step for step, _ in interval.losses]
    interval.losses = []
    return [
        Outcome(step, here / count if count else 0.0, norm)
        for step, here, count, norm in zip(steps, nats, positions, norms, strict=True)
    ]


def interval_metrics(engine: Engine, interval: Interval, counters: Counters) -> Metrics:
    """Speed since the last logged step; the counters move on by the interval."""
    here = torch.tensor([interval.tokens, interval.fallbacks], device=engine.device)
    tokens, fallbacks = engine.sum_over_ranks(here).tolist()
    passed = perf_counter() - interval.started
    counters.tokens += tokens
    counters.seconds += passed
    counted: Metrics = {"train/translation_fallback_rows": fallbacks} if fallbacks else {}
    return counted | {
        "train/tokens_per_s": tokens / passed,
        "train/data_s": interval.data_s,
        "tokens": counters.tokens,
        "memory_mib": peak_memory_mib(),
    }


@dataclass(frozen=True, slots=True)
class Training:
    """What the steps of a run have in common."""

    engine: Engine
    loader: Loader
    config: TrainConfig
    optimizer: OptimizerConfig
    counters: Counters
    hooks: Hooks
    faults: Faults


def train(training: Training) -> Counters:
    """Train from counters.step to config.steps.

    Raises:
        SavedAndStoppedError: a signal to whatever rank asked for it; all steps are saved.
        AlignMLMError: too many steps in a row were not finite.
    """
    engine, counters, last = training.engine, training.counters, training.config.steps
    if counters.step < last:  # compiles what is not yet, before the clock
        engine.agreed(partial(make_step, training, counters.step - counters.first_step))
    while counters.step < last:
        train_on(training)
    return counters


def train_on(training: Training) -> None:
    """Train to the last step, or until the run goes back to a checkpoint."""
    engine, config, counters = training.engine, training.config, training.counters
    first, last = (step - counters.first_step for step in (counters.step, config.steps))
    interval, begun = Interval(perf_counter()), counters.step
    for ready in in_order(partial(make_step, training), first, last, config.workers):
        batches, masked = next_batches(engine, interval, ready)
        if engine.asked_to_stop:
            save_and_stop(training, interval, begun)
        taken = take_step(training, interval, batches, masked)
        due = due_now(counters.step, config, training.hooks)
        if due.log:
            if rewound(training, interval):
                return
            log_step(training, interval, taken)
            if due.validation:
                training.hooks.validate(counters.step)
            if due.checkpoint:
                training.hooks.checkpoint(counters)
            interval = Interval(perf_counter())


def make_step(training: Training, number: int) -> list[Batch]:
    """This rank's micro-batches of one step; none where the skip list has it."""
    if training.faults.leaves_out(number + training.counters.first_step + 1):
        return []
    return step_batches(training.engine, training.loader, training.config, number)


def next_batches(
    engine: Engine, interval: Interval, ready: Callable[[], list[Batch]]
) -> tuple[list[Batch], torch.Tensor]:
    """This rank's batches of the next step, and the masked positions of all ranks'."""
    asked = perf_counter()

    def timed() -> list[Batch]:
        batches = ready()
        interval.own_s += perf_counter() - asked
        return batches

    batches, masked = engine.agreed(timed)
    interval.data_s += perf_counter() - asked
    return batches, masked


def take_step(
    training: Training, interval: Interval, batches: list[Batch], masked: torch.Tensor
) -> tuple[Losses, torch.Tensor] | None:
    """The losses and the gradient norm of the next step; none where the skip list has it."""
    engine, counters = training.engine, training.counters
    rate = learning_rate(counters.step, training.optimizer, training.config.steps)
    seed = key("dropout", training.config.seed, counters.step, engine.rank) % 2**62
    counters.step += 1
    interval.steps += 1
    interval.rate = rate
    if training.faults.leaves_out(counters.step):
        training.faults.record.left_out.append(counters.step)
        return None
    interval.tokens += tokens_in(batches)
    interval.fallbacks += sum(batch.fallbacks for batch in batches)
    losses, norm = engine.step(batches, masked, rate, seed)
    nats, positions = losses.nats.sum(), losses.positions.sum()
    interval.losses.append((counters.step, torch.stack([nats, positions, norm.to(nats)])))
    return losses, norm


def rewound(training: Training, interval: Interval) -> bool:
    """Whether the run went back to a checkpoint, because of what the last steps came to."""
    engine, faults = training.engine, training.faults
    spike = faults.judge(outcomes(engine, interval), engine.rank == 0)
    return spike is not None and faults.config.rewind and training.hooks.rewind(spike)


def save_and_stop(training: Training, interval: Interval, begun: int) -> None:
    """End the run between two steps, with a checkpoint if any came after step `begun`.

    It is saved even if it was before: a save in the background may have failed.

    Raises:
        SavedAndStoppedError: always.
    """
    counters = training.counters
    if not rewound(training, interval) and counters.step > begun:
        interval_metrics(training.engine, interval, counters)
        training.hooks.checkpoint(counters)
    if training.engine.rank == 0:
        text = "a signal ends this run after step %d; start the same command again (exit code %d)"
        log.warning(text, counters.step, ExitCode.REQUEUE)
    raise SavedAndStoppedError(f"step {counters.step}")


def log_step(
    training: Training, interval: Interval, taken: tuple[Losses, torch.Tensor] | None
) -> None:
    """Log a step, and how the ones since the last logged one went."""
    engine, record = training.engine, training.faults.record
    names = [str(language) for language in training.loader.languages]
    metrics: Metrics = {} if taken is None else step_metrics(engine, *taken, names)
    metrics |= {"train/learning_rate": interval.rate}
    metrics |= interval_metrics(engine, interval, training.counters)
    counted = {
        "train/not_finite_steps": len(record.not_finite),
        "train/left_out_steps": len(record.left_out),
        "train/loss_spikes": len(record.spikes),
    }
    metrics |= {name: count for name, count in counted.items() if count}
    own_s = (interval.own_s + engine.forward_time.take_s()) / interval.steps
    training.hooks.log(training.counters.step, metrics | training.hooks.compare(own_s))


@dataclass(frozen=True, slots=True)
class Due:
    """What comes after a step; validation and checkpoints are logged steps too."""

    log: bool
    validation: bool
    checkpoint: bool


def due_now(step: int, config: TrainConfig, hooks: Hooks) -> Due:
    """What comes after `step` steps; everything after the last."""
    last = step == config.steps
    validation = last or step % config.validation_steps == 0
    checkpoint = last or step % hooks.checkpoint_steps == 0
    return Due(validation or checkpoint or step % config.log_steps == 0, validation, checkpoint)
