"""How fast this machine trains a recipe, measured by a short run of it."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import alignmlm
from alignmlm.artifacts.names import EXPORT, RECIPE
from alignmlm.errors import AlignMLMError
from alignmlm.pretraining.checkpoints import CHECKPOINTS
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_records import METRICS, metric_rows
from alignmlm.storage.atomic import folder_bytes, replace_text
from alignmlm.storage.plain_yaml import yaml_text

STEPS, INTERVAL = 15, 3


@dataclass(frozen=True, slots=True)
class RunSpeed:
    """The time and disk space that a run takes on this machine."""

    step_s: float
    other_s: float  # start, one validation, one checkpoint and the export
    checkpoint_mib: float
    export_mib: float

    def run_s(self, steps: int) -> float:
        """Seconds that a run of `steps` steps takes."""
        return self.other_s + steps * self.step_s

    def disk_mib(self, checkpoints: int) -> float:
        """Disk space in MiB of a run that keeps `checkpoints` checkpoints."""
        return self.export_mib + checkpoints * self.checkpoint_mib


def folder_mib(folder: Path) -> float:
    """MiB of the files in a folder."""
    return folder_bytes(folder) / 2**20


def train_command(arguments: Sequence[str]) -> list[str]:
    """The command that pre-trains: the checkout's train.py, or the installed package."""
    script = Path(alignmlm.__file__).parents[1] / "train.py"
    start = [str(script)] if script.is_file() else ["-m", "alignmlm.cli", "train"]
    return [sys.executable, *start, *arguments]


def measured_speed(recipe: Recipe) -> RunSpeed:
    """The speed of a recipe whose store exists.

    Raises:
        AlignMLMError: it cannot be trained; the message is that of the run.
    """
    with trial_run(recipe) as (_, speed):
        return speed


@contextmanager
def trial_run(recipe: Recipe) -> Iterator[tuple[Path, RunSpeed]]:
    """A context with a short run of a recipe whose store exists, and its speed; nothing is kept.

    Raises:
        AlignMLMError: the run fails; the message is that of the run.
    """
    with TemporaryDirectory(prefix="alignmlm-") as name:
        folder = Path(name)
        train = replace(recipe.train, steps=STEPS, log_steps=INTERVAL, validation_steps=STEPS)
        run = replace(recipe.run, dir=str(folder / "run"), checkpoint_steps=STEPS)
        run = replace(run, wandb=False, tensorboard=False)
        replace_text(folder / RECIPE, yaml_text(asdict(replace(recipe, train=train, run=run))))
        began = perf_counter()
        line = train_command([f"--config={folder / RECIPE}"])
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        seconds = perf_counter() - began
        if done.returncode:
            last_line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise AlignMLMError(last_line.removeprefix("alignmlm: error: "))
        rows = metric_rows(folder / "run" / METRICS)
        parts = [folder_mib(folder / "run" / name) for name in (CHECKPOINTS, EXPORT)]
        step_s = median_step_s(rows)
        yield folder / "run", RunSpeed(step_s, max(0.0, seconds - STEPS * step_s), *parts)


def median_step_s(rows: Sequence[dict[str, Any]]) -> float:
    """Median seconds per step of a trial, without its first interval, which also compiles."""
    timed = [row for row in rows if "train/tokens_per_s" in row]
    tokens = [0, *(row["tokens"] for row in timed)]
    return median(
        (after - before) / row["train/tokens_per_s"] / INTERVAL
        for row, (before, after) in list(zip(timed, pairwise(tokens), strict=True))[1:]
    )
