"""What test_ranks.py starts under torchrun: one run for each ZeRO stage, one after another."""

import sys
from pathlib import Path

from alignmlm.cli import leave
from alignmlm.config import load_recipe
from alignmlm.console.terminal import set_up_logging
from tests.runs import pretrain


def main(folder: str, stages: str, *overrides: str) -> None:
    """Train the recipe with each policy in `stages`, into a folder of its own."""
    set_up_logging()
    for stage in stages.split(","):
        recipe = load_recipe(None, [*overrides, f"--run.dir={folder}/zero{stage}"])
        pretrain(recipe, Path(f"ds_configs/zero{stage}.json"))
    leave(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
