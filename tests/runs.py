"""Runs in the process of the test."""

from pathlib import Path
from typing import Any

from alignmlm.pretraining import run
from alignmlm.pretraining.recipe import Recipe
from alignmlm.ranks.distributed import start_distributed


def pretrain(recipe: Recipe, policy: Path | None, **options: bool) -> tuple[Path, dict[str, Any]]:
    """The folder and the summary of a run, trained to its end as `alignmlm train` does."""
    start_distributed(recipe.run.collective_timeout_s)
    return run.pretrain(recipe, policy, **options)
