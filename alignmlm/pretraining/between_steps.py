"""What a run does between two steps: log, validate, save, rewind to a checkpoint."""

import logging
from dataclasses import replace
from functools import partial
from math import isfinite
from statistics import fmean

import torch
from torch import Tensor

from alignmlm.pretraining.engine import Engine
from alignmlm.pretraining.faults import write_skip_list
from alignmlm.pretraining.induced_pairs import pairs_of
from alignmlm.pretraining.metrics import Metrics, progress_line, validation_line
from alignmlm.pretraining.saving import save, save_last, settled
from alignmlm.pretraining.self_learning import train_with
from alignmlm.pretraining.state import collect_state, restore_state, resume
from alignmlm.pretraining.training_run import Run
from alignmlm.pretraining.validation import validate, word_probes
from alignmlm.ranks.micro_batching import micro_batches
from alignmlm.ranks.rank_zero import from_rank_zero

log = logging.getLogger(__name__)


def log_metrics(run: Run, metrics: Metrics) -> None:
    """Record the metrics of the last step, and show a line of them with the time left."""
    if run.recorder is None:
        return
    step, steps = run.counters.step, run.recipe.train.steps
    saving = run.saver.take_news() if run.saver else {}
    run.recorder.write(step, metrics | saving)
    seconds_left = (steps - step) * run.counters.seconds / step
    run.recorder.show(step, steps, progress_line(step, steps, metrics, seconds_left))


def validate_run(run: Run) -> None:
    """Measure validation losses and alignment; after the last step, the alignment of all words."""
    step, config = run.counters.step, run.recipe.train
    limit = None if step == config.steps else config.alignment_words
    if limit not in run.word_probes:
        used, held_out = run.assembly.used, run.assembly.held_out
        run.word_probes[limit] = word_probes(used, held_out, limit)
    micro, _ = micro_batches(config.batch_rows, config.micro_rows, run.engine.world_size)
    loader, words = run.assembly.loader, run.word_probes[limit]
    run.validation = validate(run.engine, loader, words, config.validation_rows, micro)
    run.validated_step = step
    if run.recorder is not None:
        run.recorder.write(step, run.validation)
        log.info("%s", validation_line(step, run.validation))


def save_checkpoint(run: Run) -> None:
    """Save the run; the last checkpoint is tried several times, and its failure ends the run.

    After a signal the checkpoint is written before the run ends, not in the background; if that
    fails, the run resumes from the one before.
    """
    config, control = run.recipe.run, run.engine.control
    validated = run.validated_step == run.counters.step
    loss_nats = mean_validation_loss(run.validation) if validated else None
    progress = replace(run.progress(), validation_loss_nats=loss_nats)
    collect = partial(collect_state, run.engine)
    if run.counters.step == run.recipe.train.steps:
        save_last(run.saver, collect, progress, control, config.last_save_attempts)
    else:
        in_background = config.background_saves and not run.engine.asked_to_stop
        save(run.saver, collect, progress, control, in_background)


@torch.no_grad()
def put_back(engine: Engine, state: dict[str, Tensor], updates: int) -> None:
    """Load a checkpoint's tensors, saved after `updates` optimizer updates, into a live engine."""
    restore_state(engine, state)
    for name, parameter in engine.module.named_parameters():
        with engine.whole([parameter], writer=0):
            parameter.copy_(state[f"parameter/{name}"])
    for master, _ in engine.partitions.masters():
        engine.partitions.base.state[master]["step"].fill_(updates)


def rewind(run: Run, spike: int) -> bool:
    """Rewind to the newest checkpoint and skip a spike's batches; returns False if there is none.

    All checkpoints are from before the spike, since losses are checked before each save.

    Raises:
        AlignMLMError: the run was rewound to that checkpoint too often.
    """
    settled(run.saver, run.engine.control)
    engine, faults, counters = run.engine, run.faults, run.counters
    saved = resume(faults.folder)
    if saved is None:
        if engine.rank == 0:
            log.warning("no checkpoint to go back to from the spike at step %d", spike)
        return False
    progress, state = saved
    faults.plan_rewind(spike, progress.step)
    from_rank_zero(write_skip_list)(faults.folder, faults.skip)
    faults.record = progress.faults
    put_back(engine, state, progress.step - faults.record.not_taken)
    train_with(run, pairs_of(progress.induced))
    counters.step, counters.tokens = progress.step, progress.tokens
    counters.seconds = progress.seconds
    if run.recorder is not None:
        run.recorder.go_back(progress.step)
        log.warning("back to step %d; steps left out: %s", progress.step, faults.skip.steps)
    return True


def mean_validation_loss(metrics: Metrics) -> float | None:
    """The mean over languages of a validation's losses, in nats; None if any is not finite.

    The loss of a language whose validation rows have no masked position is NaN.
    """
    mean = fmean(v for name, v in metrics.items() if name.startswith("validation/loss_nats/"))
    return mean if isfinite(mean) else None
