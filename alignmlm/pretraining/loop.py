"""The one loop that serves all objectives."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from math import isfinite
from time import perf_counter

import torch

from alignmlm.data.batches import Batch, Loader, batch_samples, make_batch
from alignmlm.data.prefetch import in_order
from alignmlm.data.store import TRAIN
from alignmlm.errors import ExitCode
from alignmlm.numerics.counter_rng import key
from alignmlm.objectives.objective import Losses
from alignmlm.pretraining.between_steps import (
    log_metrics,
    rewind,
    save_checkpoint,
    validate_run,
)
from alignmlm.pretraining.engine import Engine, made_batches
from alignmlm.pretraining.faults import StepOutcome
from alignmlm.pretraining.metrics import Metrics, loss_metrics, peak_memory_mib
from alignmlm.pretraining.optimizers import learning_rate
from alignmlm.pretraining.recipe import Recipe, TrainConfig
from alignmlm.pretraining.self_learning import learn, learns_after
from alignmlm.pretraining.training_run import Counters, Run
from alignmlm.ranks.micro_batching import micro_batches
from alignmlm.ranks.signals import SavedAndStoppedError
from alignmlm.ranks.stragglers import phase

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LogInterval:
    """What happened since the last logged step."""

    started: float
    tokens: int = 0  # of this rank
    fallbacks: int = 0  # translation rows of this rank into which no whole sentence fitted
    data_s: float = 0.0  # spent waiting for batches
    own_s: float = 0.0  # of that, for this rank's own batches
    steps: int = 0
    rate: float = 0.0  # the last step's learning rate
    losses: list[tuple[int, torch.Tensor]] = field(default_factory=list)  # not yet read


def tokens_in(batches: list[Batch]) -> int:
    """Positions that hold a token."""
    present = (batch.attention_mask for batch in batches)
    sizes = (batch.input_ids.numel() for batch in batches)
    return sum(
        size if mask is None else int(mask.sum()) for size, mask in zip(sizes, present, strict=True)
    )


def step_batches(engine: Engine, loader: Loader, train: TrainConfig, step: int) -> list[Batch]:
    """This rank's micro-batches of one step, pinned for the copy to its device."""
    micro, _ = micro_batches(train.batch_rows, train.micro_rows, engine.world_size)
    samples = batch_samples(loader, step, train.batch_rows, engine.rank, engine.world_size, micro)
    batches = [replace(make_batch(loader, part, TRAIN), step=step) for part in samples]
    return [batch.pinned() for batch in batches] if engine.device.type == "cuda" else batches


def step_metrics(engine: Engine, losses: Losses, norm: torch.Tensor, names: list[str]) -> Metrics:
    """The losses of one step over all ranks, and its gradient norm; finite values only."""
    sums = torch.stack([losses.nats, losses.correct, losses.positions])
    engine.sum_over_ranks(sums)
    metrics = loss_metrics(Losses(sums[0].sum(), {}, *sums), names, "train")
    for name, term in losses.auxiliary.items():
        metrics[f"train/{name}_loss"] = float(term.detach())
    metrics["train/gradient_norm"] = float(norm)
    return {name: value for name, value in metrics.items() if isfinite(value)}


def outcomes(engine: Engine, interval: LogInterval) -> list[StepOutcome]:
    """Outcomes of the steps since the last logged one, equal on all ranks.

    They are read here and not after each step, to avoid synchronising with the GPU.
    """
    if not interval.losses:
        return []
    sums = torch.stack([sums for _, sums in interval.losses])
    norms = sums[:, 2].tolist()  # the same on every rank already
    nats, positions, _ = engine.sum_over_ranks(sums).T.tolist()
    steps = [step for step, _ in interval.losses]
    interval.losses = []
    return [
        StepOutcome(step, here / count if count else 0.0, norm)
        for step, here, count, norm in zip(steps, nats, positions, norms, strict=True)
    ]


def interval_metrics(engine: Engine, interval: LogInterval, counters: Counters) -> Metrics:
    """Metrics since the last logged step, such as throughput; also advances the counters."""
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


def train(run: Run) -> None:
    """Train from the run's step to train.steps of its recipe.

    Raises:
        SavedAndStoppedError: a signal to any rank asked the run to stop; all steps are saved.
        AlignMLMError: too many steps in a row were not finite.
    """
    engine, counters, last = run.engine, run.counters, run.recipe.train.steps
    if counters.step < last:  # compiles the Numba code before the clock starts
        first = partial(make_step, run, counters.step - counters.first_step)
        engine.sync_batches(*made_batches(first))
    while counters.step < last:
        train_on(run)


def train_on(run: Run) -> None:
    """Train to the last step, or until the run is rewound to a checkpoint."""
    engine, config, counters = run.engine, run.recipe.train, run.counters
    first, last = (step - counters.first_step for step in (counters.step, config.steps))
    interval, begun = LogInterval(perf_counter()), counters.step
    for ready in in_order(partial(make_step, run), first, last, config.workers):
        with run.profile.step() if run.profile else nullcontext():
            with phase("data"):
                batches, masked = next_batches(engine, interval, ready)
            if engine.asked_to_stop:
                save_and_stop(run, interval, begun)
            taken = take_step(run, interval, batches, masked)
        due = due_now(counters.step, run.recipe)
        if due.log:
            if rewound(run, interval):
                return
            log_step(run, interval, taken)
            if due.learning:
                learn(run)
            if due.validation:
                validate_run(run)
            if due.checkpoint:
                save_checkpoint(run)
            interval = LogInterval(perf_counter())


def make_step(run: Run, number: int) -> list[Batch]:
    """This rank's micro-batches of one step; none if it is on the skip list."""
    if run.faults.leaves_out(number + run.counters.first_step + 1):
        return []
    return step_batches(run.engine, run.assembly.loader, run.recipe.train, number)


def next_batches(
    engine: Engine, interval: LogInterval, ready: Callable[[], list[Batch]]
) -> tuple[list[Batch], torch.Tensor]:
    """This rank's batches of the next step, and the number of masked positions over all ranks."""
    asked = perf_counter()
    batches, error = made_batches(ready)
    interval.own_s += perf_counter() - asked
    masked = engine.sync_batches(batches, error)
    interval.data_s += perf_counter() - asked
    return batches, masked


def take_step(
    run: Run, interval: LogInterval, batches: list[Batch], masked: torch.Tensor
) -> tuple[Losses, torch.Tensor] | None:
    """The losses and the gradient norm of the next step; None if it is on the skip list."""
    engine, counters, config = run.engine, run.counters, run.recipe.train
    rate = learning_rate(counters.step, run.recipe.optimizer, config.steps)
    seed = key("dropout", config.seed, counters.step, engine.rank) % 2**62
    counters.step += 1
    interval.steps += 1
    interval.rate = rate
    if run.faults.leaves_out(counters.step):
        run.faults.record.left_out.append(counters.step)
        return None
    interval.tokens += tokens_in(batches)
    interval.fallbacks += sum(batch.fallbacks for batch in batches)
    losses, norm = engine.step(batches, masked, rate, seed)
    nats, positions = losses.nats.sum(), losses.positions.sum()
    interval.losses.append((counters.step, torch.stack([nats, positions, norm.to(nats)])))
    return losses, norm


def rewound(run: Run, interval: LogInterval) -> bool:
    """Rewind to a checkpoint if the last steps had a spike; returns whether it did."""
    engine, faults = run.engine, run.faults
    spike = faults.judge(outcomes(engine, interval), engine.rank == 0)
    return spike is not None and faults.config.rewind and rewind(run, spike)


def save_and_stop(run: Run, interval: LogInterval, begun: int) -> None:
    """End the run between two steps, saving a checkpoint if any step was taken after `begun`.

    It is written even if this step was saved before: a background save may have failed.

    Raises:
        SavedAndStoppedError: always.
    """
    counters = run.counters
    if not rewound(run, interval) and counters.step > begun:
        interval_metrics(run.engine, interval, counters)
        save_checkpoint(run)
    if run.engine.rank == 0:
        text = "a signal ends this run after step %d; start the same command again (exit code %d)"
        log.warning(text, counters.step, ExitCode.REQUEUE)
    raise SavedAndStoppedError(f"step {counters.step}")


def log_step(run: Run, interval: LogInterval, taken: tuple[Losses, torch.Tensor] | None) -> None:
    """Log a step, with statistics since the last logged one."""
    engine, record = run.engine, run.faults.record
    names = [str(language) for language in run.assembly.loader.languages]
    metrics: Metrics = {} if taken is None else step_metrics(engine, *taken, names)
    metrics |= {"train/learning_rate": interval.rate}
    metrics |= interval_metrics(engine, interval, run.counters)
    counted = {
        "train/not_finite_steps": len(record.not_finite),
        "train/left_out_steps": len(record.left_out),
        "train/loss_spikes": len(record.spikes),
    }
    metrics |= {name: count for name, count in counted.items() if count}
    own_s = (interval.own_s + engine.forward_time.take_s()) / interval.steps
    log_metrics(run, metrics | run.slow_rank.compare(own_s))


@dataclass(frozen=True, slots=True)
class Due:
    """What is due after a step; whatever else is due, the step is logged too."""

    log: bool
    learning: bool  # from the run's own embeddings
    validation: bool
    checkpoint: bool


def due_now(step: int, recipe: Recipe) -> Due:
    """What is due after `step` steps; after the last step, everything."""
    config = recipe.train
    last = step == config.steps
    validation = last or step % config.validation_steps == 0
    checkpoint = last or step % recipe.run.checkpoint_steps == 0
    learning = learns_after(step, recipe)
    logged = learning or validation or checkpoint or step % config.log_steps == 0
    return Due(logged, learning, validation, checkpoint)
