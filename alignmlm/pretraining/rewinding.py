"""Rewinding to a checkpoint within a process: the engine stays, its tensors are replaced."""

import logging

import torch
from torch import Tensor

from alignmlm.pretraining.engine import Engine
from alignmlm.pretraining.faults import write_skip_list
from alignmlm.pretraining.state import restore_state, resume
from alignmlm.pretraining.training_run import Run
from alignmlm.ranks.first_rank import on_first_rank

log = logging.getLogger(__name__)


@torch.no_grad()
def put_back(engine: Engine, state: dict[str, Tensor], updates: int) -> None:
    """Load a checkpoint's tensors, after `updates` updates, into an engine that has trained."""
    restore_state(engine, state)
    for name, parameter in engine.module.named_parameters():
        with engine.whole([parameter], writer=0):
            parameter.copy_(state[f"parameter/{name}"])
    for master, _ in engine.partitions.masters():
        engine.partitions.base.state[master]["step"].fill_(updates)


def go_back(run: Run, spike: int) -> bool:
    """Rewind to the newest checkpoint and skip a spike's batches; returns whether there is one.

    All checkpoints are from before the spike, since losses are checked before each save.

    Raises:
        AlignMLMError: it was rewound there too often.
    """
    engine, faults, counters = run.engine, run.faults, run.counters
    saved = resume(faults.folder)
    if saved is None:
        if engine.rank == 0:
            log.warning("no checkpoint to go back to from the spike at step %d", spike)
        return False
    progress, state = saved
    faults.plan_rewind(spike, progress.step)
    on_first_rank(lambda: write_skip_list(faults.folder, faults.skip))
    faults.record = progress.faults
    put_back(engine, state, progress.step - faults.record.not_taken)
    counters.step, counters.tokens = progress.step, progress.tokens
    counters.seconds = progress.seconds
    if run.recorder is not None:
        run.recorder.go_back(progress.step)
        log.warning("back to step %d; steps left out: %s", progress.step, faults.skip.steps)
    return True
