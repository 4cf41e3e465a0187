"""The folder of a run: which one, who uses it, and what its recipe was."""

import fcntl
import json
from dataclasses import asdict
from pathlib import Path
from typing import IO

import yaml

from alignmlm.errors import ConfigError
from alignmlm.files import replace_text
from alignmlm.pretraining.recipe import Recipe, RunConfig, differences, numbers_of

RECIPE, SUMMARY, NUMBERS, LOCK = "recipe.yaml", "summary.json", "numbers.json", "run.lock"


def finished(folder: Path) -> bool:
    """Whether the run in a folder came to its end."""
    return (folder / SUMMARY).is_file()


def recorded_numbers(folder: Path) -> dict[str, object] | None:
    """The flat recipe that a folder's run was started with."""
    path = folder / NUMBERS
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def as_recorded(numbers: dict[str, object]) -> dict[str, object]:
    """Numbers as they look after a round through JSON."""
    return json.loads(json.dumps(numbers))


def choose_folder(config: RunConfig, numbers: dict[str, object]) -> Path:
    """The named folder, else the first unfinished one of the same recipe, else a new one."""
    if config.dir is not None:
        return Path(config.dir)
    number = 1
    while (folder := Path("runs") / f"{config.name}-{number}").exists():
        same = recorded_numbers(folder) == as_recorded(numbers)
        if config.resume == "auto" and same and not finished(folder):
            return folder
        number += 1
    return folder


def open_folder(folder: Path, recipe: Recipe) -> IO[str]:
    """Make the folder this run's own; rank 0 calls it and keeps what it returns.

    Raises:
        ConfigError: another process trains there, it holds the run of another recipe, or
            something that is no run at all.
    """
    numbers = as_recorded(numbers_of(recipe))
    if folder.exists() and not folder.is_dir():
        raise ConfigError("run.dir", str(folder), "be a folder")
    known = recorded_numbers(folder)
    if known is None and folder.exists() and any(p.name != LOCK for p in folder.iterdir()):
        raise ConfigError("run.dir", str(folder), "be empty or hold a run; it is in use")
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ConfigError(
            "run.dir", str(folder), "be free: another process trains there"
        ) from error
    if known is not None and recipe.run.resume == "never":
        raise ConfigError("run.dir", str(folder), "be new with run.resume = never; it is in use")
    if known is not None and (changed := differences(known, numbers)):
        must = "hold a run of this recipe; it differs in\n  " + "\n  ".join(changed)
        raise ConfigError("run.dir", str(folder), must)
    replace_text(folder / NUMBERS, json.dumps(numbers, indent=1))
    replace_text(folder / RECIPE, yaml.safe_dump(asdict(recipe), sort_keys=False))
    return lock
