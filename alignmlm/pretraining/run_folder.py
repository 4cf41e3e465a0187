"""The folder of a run: its choice, its lock, and its recorded recipe."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock

from alignmlm.artifacts.names import LAUNCH, LOCK, LOGS, RECIPE, SUMMARY
from alignmlm.data.store import Manifest
from alignmlm.errors import CheckpointError, ConfigError
from alignmlm.pretraining.checkpoints import CHECKPOINTS, Progress, saved_steps
from alignmlm.pretraining.contents import DATA_SETTINGS, differences, numbers_of
from alignmlm.pretraining.faults import SKIP
from alignmlm.pretraining.recipe import Recipe, RunConfig
from alignmlm.pretraining.run_records import read_summary
from alignmlm.storage.atomic import PARTIAL, remove_partials_in, replace_text
from alignmlm.storage.locks import LockHeldError, take_lock
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.plain_yaml import yaml_text
from alignmlm.storage.records import check_keys

NUMBERS = "numbers.json"
DATA = "data.json"
OFFER = (
    "go on with --run.data_change=continue (from the next step's batch of the new data) or "
    "--run.data_change=restart (from its first batch), or name another run.dir"
)


def finished(folder: Path, steps: int) -> bool:
    """Whether the run in a folder has finished the given number of steps."""
    return (folder / SUMMARY).exists() and read_summary(folder)["steps"] >= steps


def recorded_numbers(folder: Path) -> dict[str, object] | None:
    """The flat recipe that a folder's run was started with.

    Raises:
        CheckpointError: the record is damaged.
    """
    path = folder / NUMBERS
    return read_json(path, CheckpointError, nan=True) if path.exists() else None


def recorded_data(folder: Path) -> dict[str, Any] | None:
    """The record that identifies the data of a folder's run; None before the run's first start.

    Raises:
        CheckpointError: the record is damaged.
    """
    path = folder / DATA
    if not path.exists():
        return None
    known = read_json(path, CheckpointError, nan=True)
    check_keys(known, {"data_id": str, "tokenizer": str}, path, CheckpointError)
    return known


def check_store(folder: Path, progress: Progress, manifest: Manifest) -> None:
    """Raise unless a store holds the data of a run's checkpoint, or the data the run continued on.

    Raises:
        CheckpointError: it holds other data: its tokenizer and words need not be the model's.
    """
    recorded = recorded_data(folder) or {}
    if manifest.data_id not in (progress.data_id, recorded.get("data_id")):
        raise CheckpointError(
            f"step {progress.step} of {folder} was trained on data {progress.data_id}, and "
            f"data.store now holds {manifest.data_id}; start the command where the run was "
            f"started, put the old store back, or train anew on the new one"
        )


def as_recorded(numbers: dict[str, object]) -> dict[str, object]:
    """Settings after a round trip through JSON."""
    return json.loads(json.dumps(numbers))


def choose_folder(config: RunConfig, numbers: dict[str, object], steps: int) -> Path:
    """The named folder, else the first unfinished one of the same recipe, else a new one."""
    if config.dir is not None:
        return Path(config.dir)
    number = 1
    while (folder := Path("runs") / f"{config.name}-{number}").exists():
        same = recorded_numbers(folder) == as_recorded(numbers)
        if config.resume == "auto" and same and not finished(folder, steps):
            return folder
        number += 1
    return folder


def check_change(folder: Path, changed: list[str], recipe: Recipe) -> None:
    """Raise unless a run may resume with changed settings.

    Raises:
        ConfigError: it may not; the message names the settings, and what may be done.
    """
    message = "hold a run of this recipe; it differs in\n  " + "\n  ".join(changed)
    if not all(line.startswith(DATA_SETTINGS) for line in changed):
        raise ConfigError("run.dir", str(folder), message)
    if recipe.run.data_change == "stop":
        raise ConfigError("run.dir", str(folder), f"{message}\n{OFFER}")
    shortened = all(line.startswith("train.steps: ") for line in changed)
    if not (shortened and last_saved(folder) == recipe.train.steps):  # it may end where it was cut
        check_unfinished(folder, recipe)


def last_saved(folder: Path) -> int:
    """The step of a run's last checkpoint; 0 without one."""
    return max(saved_steps(folder / CHECKPOINTS), default=0)


def check_unfinished(folder: Path, recipe: Recipe) -> None:
    """Raise if a run has already taken all its steps: changed settings or data come too late.

    Raises:
        ConfigError: it has, even if its export or summary is still missing.
    """
    if finished(folder, recipe.train.steps) or last_saved(folder) >= recipe.train.steps:
        requirement = (
            "be another: this run is finished, apart from what its own settings still write; ask "
            "for more train.steps, or name a new folder"
        )
        raise ConfigError("run.dir", str(folder), requirement)


def check_data(folder: Path, manifest: Manifest, recipe: Recipe) -> None:
    """Record a run's data, or raise if it has changed and may not; only rank 0 calls this.

    Raises:
        CheckpointError: it has changed and may not; the message names what differs.
        ConfigError: it has changed, and the run is finished.
    """
    now = as_recorded({"data_id": manifest.data_id} | manifest.summary())
    known = recorded_data(folder) or now
    if known["data_id"] != now["data_id"]:
        changed = [line for line in differences(known, now) if not line.startswith("data_id")]
        message = f"the data of {folder} is not what it was:\n  " + "\n  ".join(changed)
        if known["tokenizer"] != now["tokenizer"]:
            raise CheckpointError(
                f"{message}\nwith another tokenizer its model is of no use: train anew"
            )
        if recipe.run.data_change == "stop":
            raise CheckpointError(f"{message}\n{OFFER}")
        check_unfinished(folder, recipe)
    replace_text(folder / DATA, json.dumps(now, indent=1))


def first_step_of(
    progress: Progress, data_id: str, numbers: dict[str, object], run: RunConfig
) -> int:
    """The step at which a resumed run sees, or would have seen, batch 0 of its data.

    Raises:
        CheckpointError: data or settings have changed, and run.data_change is "stop".
    """
    before, now = progress.numbers | {"data": progress.data_id}, numbers | {"data": data_id}
    if not (changed := differences(before, now)):
        return progress.first_step
    if run.data_change == "stop":
        lines = "\n  ".join(changed)
        raise CheckpointError(
            f"step {progress.step} was trained with different settings or data:\n  {lines}\n{OFFER}"
        )
    return progress.step if run.data_change == "restart" else progress.first_step


def take_run(folder: Path) -> FileLock:
    """Take a run's lock, held by this process until released.

    Raises:
        ConfigError: another process has it.
    """
    try:
        return take_lock(folder / LOCK)
    except LockHeldError as error:
        requirement = f"be free: another process trains there ({error})"
        raise ConfigError("run.dir", str(folder), requirement) from error


def foreign_files(folder: Path) -> list[Path]:
    """Files in a folder that no start of a run, not even a killed one, can have put there."""
    own = {LOCK, LAUNCH, LOGS, SKIP}
    partial = (f"{NUMBERS}{PARTIAL}", f"{RECIPE}{PARTIAL}")
    paths = folder.iterdir() if folder.exists() else ()
    return [path for path in paths if path.name not in own and not path.name.startswith(partial)]


def open_folder(folder: Path, recipe: Recipe) -> FileLock:
    """Lock and initialise the run folder; rank 0 calls it and keeps the returned lock.

    Raises:
        ConfigError: another process is training there, or the folder holds a run of another
            recipe, or something that is not a run.
    """
    numbers = as_recorded(numbers_of(recipe))
    if folder.exists() and not folder.is_dir():
        raise ConfigError("run.dir", str(folder), "be a folder")
    if recorded_numbers(folder) is None and foreign_files(folder):
        raise ConfigError("run.dir", str(folder), "be empty or hold a run; it is in use")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as until_error:
        lock = take_run(folder)
        until_error.callback(lock.release)
        remove_partials_in(folder)
        known = recorded_numbers(folder)
        if known is not None and recipe.run.resume == "never":
            requirement = "be new with run.resume = never; it is in use"
            raise ConfigError("run.dir", str(folder), requirement)
        if known is not None and (changed := differences(known, numbers)):
            check_change(folder, changed, recipe)
        replace_text(folder / NUMBERS, json.dumps(numbers, indent=1))
        replace_text(folder / RECIPE, yaml_text(asdict(recipe)))
        until_error.pop_all()
    return lock
