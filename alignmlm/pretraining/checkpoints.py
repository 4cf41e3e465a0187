"""Checkpoints: one folder a step, whole or absent, verified when loaded, nothing pickled.

`step-N/` holds state.safetensors (parameters and moments as whole fp32 tensors, so any world size
and ZeRO stage loads it) and manifest.json (sizes, hashes, the recipe's numbers).
"""

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from alignmlm.errors import CheckpointError
from alignmlm.files import replace_text, sync

log = logging.getLogger(__name__)

STATE, MANIFEST, LATEST = "state.safetensors", "manifest.json", "LATEST"
SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run must know to go on, beyond its tensors."""

    step: int  # steps done
    tokens: int  # seen so far, over all ranks
    seconds: float  # of training so far
    data_id: str
    first_step: int  # the step at which its batches began: 0, or where data_change restarted them
    numbers: dict[str, object]  # the recipe, flat


def file_hash(path: Path) -> str:
    """The xxh3-64 of a file."""
    digest = xxhash.xxh3_64()
    with path.open("rb") as file:
        while block := file.read(2**24):
            digest.update(block)
    return digest.hexdigest()


def save_checkpoint(folder: Path, state: dict[str, Tensor], progress: Progress, keep: int) -> Path:
    """Write a checkpoint, announce it, and remove all but the newest `keep`; rank 0 calls it."""
    final = folder / f"step-{progress.step}"
    partial = folder / f"{final.name}.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(state, partial / STATE)
    sync(partial / STATE)
    size, digest = (partial / STATE).stat().st_size, file_hash(partial / STATE)
    files = {STATE: {"bytes": size, "xxh3": digest}}
    manifest = {"schema_version": SCHEMA_VERSION, "files": files, **asdict(progress)}
    replace_text(partial / MANIFEST, json.dumps(manifest, indent=1))
    sync(partial)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    replace_text(folder / LATEST, final.name + "\n")
    sync(folder)
    for step in sorted(saved_steps(folder))[:-keep]:
        shutil.rmtree(folder / f"step-{step}")
    return final


def saved_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder, whole or damaged."""
    names = (path.name.removeprefix("step-") for path in folder.glob("step-*") if path.is_dir())
    return [int(name) for name in names if name.isdigit()]


def read_progress(path: Path) -> Progress:
    """The manifest of one checkpoint, its files' sizes and hashes checked.

    Raises:
        CheckpointError: damaged; the message names the file and both hashes.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text("utf-8"))
        if manifest.pop("schema_version") != SCHEMA_VERSION:
            raise CheckpointError(f"{path} has another schema version than {SCHEMA_VERSION}")
        expected = manifest.pop("files")[STATE]
        progress = Progress(**manifest)
        found = {"bytes": (path / STATE).stat().st_size, "xxh3": file_hash(path / STATE)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error!r}") from error
    if found != expected:
        raise CheckpointError(f"checkpoint {path / STATE}: {found}, the manifest says {expected}")
    return progress


def newest_checkpoint(folder: Path) -> tuple[Path, Progress] | None:
    """The newest checkpoint that is whole; a damaged one is reported and passed over."""
    for step in sorted(saved_steps(folder), reverse=True):
        path = folder / f"step-{step}"
        try:
            return path, read_progress(path)
        except CheckpointError as error:
            log.error("%s; going back to the one before", error)
    return None


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint.

    Raises:
        CheckpointError: the file is no safetensors file.
    """
    try:
        return load_file(path / STATE)
    except SafetensorError as error:
        raise CheckpointError(f"{path / STATE} cannot be read: {error}") from error
