"""The one loop that serves all objectives."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter

import torch

from alignmlm.data.batches import Batch, Loader, batch_samples, make_batch
from alignmlm.data.prefetch import in_order
from alignmlm.data.store import TRAIN
from alignmlm.draws import key
from alignmlm.errors import AlignMLMError
from alignmlm.objectives.objective import Losses
from alignmlm.pretraining.engine import Engine, learning_rate, micro_batch_rows
from alignmlm.pretraining.metrics import Metrics, loss_metrics, peak_memory_mib
from alignmlm.pretraining.recipe import OptimizerConfig, TrainConfig


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


@dataclass(slots=True)
class Interval:
    """What happened since the last logged step."""

    started: float
    tokens: int = 0  # of this rank
    fallbacks: int = 0  # translation rows of this rank that no whole sentence fitted
    data_s: float = 0.0  # spent waiting for batches


def tokens_in(batches: list[Batch]) -> int:
    """Positions that hold a token."""
    present = (batch.attention_mask for batch in batches)
    sizes = (batch.input_ids.numel() for batch in batches)
    return sum(
        size if mask is None else int(mask.sum()) for size, mask in zip(sizes, present, strict=True)
    )


def step_batches(engine: Engine, loader: Loader, train: TrainConfig, step: int) -> list[Batch]:
    """This rank's micro-batches of one step, ready to be copied to its device."""
    micro, _ = micro_batch_rows(train, engine.world_size)
    samples = batch_samples(loader, step, train.batch_rows, engine.rank, engine.world_size, micro)
    batches = [replace(make_batch(loader, part, TRAIN), step=step) for part in samples]
    return [batch.pinned() for batch in batches] if engine.device.type == "cuda" else batches


def step_metrics(engine: Engine, losses: Losses, norm: torch.Tensor, names: list[str]) -> Metrics:
    """The losses of one step over all ranks, and its gradient norm.

    Raises:
        AlignMLMError: a loss or gradient that is not finite.
    """
    sums = torch.stack([losses.nats, losses.correct, losses.positions])
    engine.sum_over_ranks(sums)
    metrics = loss_metrics(Losses(sums[0].sum(), None, *sums), names, "train")
    if losses.alignment is not None:
        metrics["train/alignment_loss"] = float(losses.alignment.detach())
    metrics["train/gradient_norm"] = float(norm)
    finite = torch.isfinite(
        torch.tensor([metrics["train/loss_nats"], metrics["train/gradient_norm"]])
    )
    if not finite.all():
        found = f"loss {metrics['train/loss_nats']}, gradient norm {metrics['train/gradient_norm']}"
        raise AlignMLMError(
            f"training diverged: {found}; lower optimizer.learning_rate, or look at the batch "
            f"with `alignmlm data show`"
        )
    return metrics


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


def train(
    engine: Engine,
    loader: Loader,
    config: TrainConfig,
    optimizer: OptimizerConfig,
    counters: Counters,
    hooks: Hooks,
) -> Counters:
    """Train from counters.step to config.steps."""
    names = [str(language) for language in loader.languages]
    make = partial(step_batches, engine, loader, config)
    first, last = (step - counters.first_step for step in (counters.step, config.steps))
    steps = in_order(make, first, last, config.workers)
    if first < last:
        engine.agreed(partial(make, first))  # compiles what is not yet, before the clock
    interval = Interval(perf_counter())
    for ready in steps:
        asked = perf_counter()
        batches, masked = engine.agreed(ready)
        interval.data_s += perf_counter() - asked
        interval.tokens += tokens_in(batches)
        interval.fallbacks += sum(batch.fallbacks for batch in batches)
        rate = learning_rate(counters.step, optimizer, config.steps)
        seed = key("dropout", config.seed, counters.step, engine.rank) % 2**62
        losses, norm = engine.step(batches, masked, rate, seed)
        counters.step += 1
        due = due_now(counters.step, config, hooks)
        if due.log:
            metrics = step_metrics(engine, losses, norm, names) | {"train/learning_rate": rate}
            hooks.log(counters.step, metrics | interval_metrics(engine, interval, counters))
            if due.validation:
                hooks.validate(counters.step)
            if due.checkpoint:
                hooks.checkpoint(counters)
            interval = Interval(perf_counter())
    return counters


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
