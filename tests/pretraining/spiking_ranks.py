"""What test_rewinding_ranks.py starts under torchrun: a run whose loss jumps at one batch."""

import sys
from pathlib import Path

from alignmlm.cli import leave
from alignmlm.config import load_recipe
from alignmlm.console.terminal import set_up_logging
from alignmlm.data.batches import Batch
from alignmlm.objectives.objective import Losses
from alignmlm.pretraining import training_run
from alignmlm.pretraining.engine import TrainingModule
from tests.runs import pretrain

SPIKE_BATCH = 10


def jump(module: TrainingModule, inputs: tuple[Batch], made: Losses) -> Losses | None:
    """The losses of the one batch, 50 times as high; none where nothing changes."""
    if not module.training or inputs[0].step != SPIKE_BATCH:
        return None
    return made._replace(prediction_nats=made.prediction_nats * 50, nats=made.nats * 50)


def main(folder: str, stages: str, *overrides: str) -> None:
    """Train at each stage twice: with the jump, and with its batches left out from the start."""
    set_up_logging()
    make = training_run.make_module

    def jumping(*arguments: object) -> TrainingModule:
        module = make(*arguments)
        module.register_forward_hook(jump)
        return module

    for stage in stages.split(","):
        policy = Path(f"ds_configs/zero{stage}.json")
        for name, made in (("skipped", make), ("jumped", jumping)):
            training_run.make_module = made
            pretrain(load_recipe(None, [*overrides, f"--run.dir={folder}/{name}{stage}"]), policy)
    leave(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
