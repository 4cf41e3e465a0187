"""Checkpoints: one folder per step, written atomically, verified when loaded, nothing pickled.

`step-N/` holds state.safetensors (parameters and moments as whole fp32 tensors, so any world size
and ZeRO stage loads it) and manifest.json (its size and hash, the recipe's numbers).
"""

import errno
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import xxhash
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from alignmlm.errors import CheckpointError, quoted
from alignmlm.pretraining.faults import FaultRecord
from alignmlm.storage.atomic import rename, replace_text, sync
from alignmlm.storage.checksums import CHECKSUM, file_xxh3, verified, with_checksum
from alignmlm.storage.records import record

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"  # in a run's folder
STATE, MANIFEST, LATEST = "state.safetensors", "manifest.json", "LATEST"
SCHEMA_VERSION = 5
READABLE = (2, 3, 4, 5)  # 2 has no validation loss, 5 alone induced pairs
UNCHECKED = 3  # the last version whose manifest has no checksum
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # damage: no such file there
MOST = 2**53  # of steps and tokens
ROOM_BYTES = 2**16  # for the manifest and the file system's own records
SETTLED = re.compile(r"step-(\d+)(\.old)?")  # .old: being replaced, or left by a killed replacement


class SchemaError(CheckpointError):
    """A checkpoint of another version of alignmlm: it is not damaged, and stays where it is."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run besides its tensors."""

    step: int  # steps done
    tokens: int  # seen so far, over all ranks
    seconds: float  # of training so far
    data_id: str
    first_step: int  # the step of its first batch: 0, or where data_change restarted the data
    numbers: dict[str, object]  # the recipe, flat
    validation_loss_nats: float | None = (
        None  # mean over languages; none: not measured at this step
    )
    faults: FaultRecord = field(default_factory=FaultRecord)
    induced: list[list[list[int]]] = field(default_factory=list)  # from embeddings: pairs of words


@dataclass(frozen=True, slots=True)
class Rotation:
    """Which checkpoints are kept when a new one is written."""

    last: int = 2  # the newest ones
    best: bool = False  # also that of the lowest validation loss
    every_hours: float | None = None  # also the first one after every so many hours of training


def tensor_header(state: dict[str, Tensor]) -> bytes:
    """The header of a safetensors file of fp32 tensors, in the order of the dictionary.

    Source: huggingface/safetensors, README, Format.
    """
    places, at = {}, 0
    for name, tensor in state.items():
        stop = at + 4 * tensor.numel()
        places[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, stop]}
        at = stop
    text = json.dumps(places, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def tensor_bytes(tensor: Tensor) -> UInt8[np.ndarray, " byte"]:
    """The bytes of a tensor as fp32 numbers in row-major order."""
    return tensor.float().contiguous().numpy().reshape(-1).view(np.uint8)


def blocks(state: dict[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The content of a safetensors file, block by block."""
    yield tensor_header(state)
    for tensor in state.values():
        yield tensor_bytes(tensor).data


def write_state(path: Path, state: dict[str, Tensor]) -> dict[str, object]:
    """Write fp32 tensors as a safetensors file in one pass; returns its size and hash.

    No tensor is copied, and the GIL is released while bytes are hashed and written, so a thread
    can do it during training.
    """
    digest, size = xxhash.xxh3_64(), 0
    with path.open("wb") as file:
        for block in blocks(state):
            digest.update(block)
            file.write(block)
            size += len(block)
        file.flush()
        os.fsync(file.fileno())
    return {"bytes": size, "xxh3": digest.hexdigest()}


def check_room(folder: Path, state: dict[str, Tensor]) -> None:
    """Raise unless a state fits on the disk with room to spare for the run's other files.

    Raises:
        OSError: it does not.
    """
    need, free = sum(t.nbytes for t in state.values()) + ROOM_BYTES, shutil.disk_usage(folder).free
    if need > free:
        raise OSError(errno.ENOSPC, f"{need:,} bytes are needed and {free:,} are free", str(folder))


def save_checkpoint(
    folder: Path, state: dict[str, Tensor], progress: Progress, rotation: Rotation
) -> Path:
    """Write a checkpoint into an existing folder, update LATEST and remove old ones.

    Raises:
        OSError: it could not be written; older ones are untouched, and no remains are left.
    """
    final = folder / f"step-{progress.step}"
    partial = folder / f"{final.name}.tmp"
    clear(folder)
    try:
        check_room(folder, state)
        partial.mkdir()
        files = {STATE: write_state(partial / STATE, state)}
        manifest = {"schema_version": SCHEMA_VERSION, "files": files, **asdict(progress)}
        replace_text(partial / MANIFEST, json.dumps(with_checksum(manifest), indent=1))
        sync(partial)
        put_in_place(partial, final)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    announce(final)
    rotate(folder, progress.step, rotation)
    return final


def finish_save(folder: Path, step: int, rotation: Rotation) -> None:
    """Finish the save of the step that a run resumes from, in case it was interrupted.

    If that was the last step of the run, no later save would finish it.
    """
    clear_partial(folder)
    if (path := folder / f"step-{step}").is_dir():
        announce(path)
        rotate(folder, step, rotation)


def put_in_place(partial: Path, final: Path) -> None:
    """Rename a checkpoint; one of the same step stays readable until the new one is there."""
    old = final.with_name(f"{final.name}.old")
    if final.exists():
        final.rename(old)
    rename(partial, final)
    shutil.rmtree(old, ignore_errors=True)


def announce(path: Path) -> None:
    """Name a checkpoint in LATEST, for people and scripts; loading does not depend on it."""
    try:
        replace_text(path.parent / LATEST, path.name + "\n")
    except OSError as error:
        log.error("%s is saved, but %s could not be written: %s", path, LATEST, error)


def clear(folder: Path) -> None:
    """Remove remains of interrupted writes and removals; undo an interrupted replacement."""
    for old in folder.glob("step-*.old"):
        if (final := old.with_suffix("")).exists():
            remove(old)
        else:
            old.rename(final)
    clear_partial(folder)


def clear_partial(folder: Path) -> None:
    """Remove remains of interrupted writes and removals."""
    for path in folder.glob("*.tmp*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a checkpoint atomically."""
    aside = path.with_name(f"{path.name}.tmp")
    path.rename(aside)
    shutil.rmtree(aside)


def rotate(folder: Path, newest: int, rotation: Rotation) -> None:
    """Remove the checkpoints that need not be kept.

    Those of later steps than the newest go too: they are damaged, or the run was rewound past them.
    None is removed while one cannot be read for a reason other than damage.
    """
    steps = saved_steps(folder)
    try:
        saved_progress = [
            saved for step in steps if step <= newest and (saved := readable(folder, step))
        ]
        stay = to_keep(saved_progress, rotation) | {newest}
        for step in set(steps) - stay:
            remove(folder / f"step-{step}")
    except (OSError, SchemaError) as error:
        log.error("old checkpoints in %s could not be removed: %s", folder, error)


def to_keep(saved: list[Progress], rotation: Rotation) -> set[int]:
    """Steps of the checkpoints to keep."""
    ordered = sorted(saved, key=lambda progress: progress.step)
    keep = {progress.step for progress in ordered[-rotation.last :]}
    if rotation.best:
        scores = {p.step: p.validation_loss_nats for p in ordered}
        known = {step: nats for step, nats in scores.items() if nats is not None}
        keep |= {min(known, key=lambda step: known[step])} if known else set()
    if rotation.every_hours is not None:
        firsts: dict[int, int] = {}
        for progress in ordered:
            firsts.setdefault(int(progress.seconds / 3600 / rotation.every_hours), progress.step)
        keep |= {step for number, step in firsts.items() if number > 0}
    return keep


def saved_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in a folder, whole or damaged."""
    names = (SETTLED.fullmatch(path.name) for path in folder.glob("step-*") if path.is_dir())
    return sorted({int(name[1]) for name in names if name and not name[2]})


def candidates(folder: Path) -> list[tuple[int, Path]]:
    """Steps and folders of all potentially complete checkpoints, the newest first."""
    named_paths = ((SETTLED.fullmatch(path.name), path) for path in folder.glob("step-*"))
    known = [(int(name[1]), name[2] is None, path) for name, path in named_paths if name]
    return [(step, path) for step, _, path in sorted(known, reverse=True)]


def readable(folder: Path, step: int) -> Progress | None:
    """The progress in a checkpoint's manifest, its tensors not verified; None if it is damaged.

    Raises:
        SchemaError: it is of another schema.
        OSError: it cannot be read, which may be temporary.
    """
    try:
        return read_manifest(folder / f"step-{step}")[0]
    except SchemaError:
        raise
    except CheckpointError:
        return None


def read_manifest(path: Path) -> tuple[Progress, dict[str, object]]:
    """The content of a checkpoint's manifest: the progress, and its tensors' size and hash.

    Raises:
        CheckpointError: damaged, or it names other files than its own.
        SchemaError: of another schema.
        OSError: it cannot be read, which may be temporary.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if (version := manifest["schema_version"]) not in READABLE:
            problem = f"{path} has schema version {quoted(version)}, not one of {READABLE}"
            raise SchemaError(f"{problem}; use the alignmlm that wrote it, or remove it")
        if version > UNCHECKED or CHECKSUM in manifest:
            manifest = verified(manifest, path / MANIFEST, CheckpointError)
        del manifest["schema_version"]
        files = manifest.pop("files")
        faults = manifest.get("faults", {})
        manifest["faults"] = record(FaultRecord, faults, path / MANIFEST, CheckpointError)
        progress = Progress(**manifest)
        if set(files) != {STATE}:
            raise CheckpointError(f"{path / MANIFEST} names {sorted(files)}, not only {STATE}")
        return checked(progress, path), files[STATE]
    except (*MISSING, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {quoted(error)}") from error


def checked(progress: Progress, path: Path) -> Progress:
    """The same progress, after checking its entries' types and that the step is the folder's.

    Raises:
        CheckpointError: a check failed.
    """
    faults = progress.faults
    steps = (*faults.not_finite, *faults.left_out, *faults.spikes, faults.in_a_row)
    counts = (progress.step, progress.tokens, progress.first_step, *steps)
    times = (progress.seconds, progress.validation_loss_nats or 0.0, *faults.losses)
    wrong = (
        any(type(count) is not int or not 0 <= count < MOST for count in counts)
        or any(type(time) not in (int, float) or not math.isfinite(time) for time in times)
        or not isinstance(progress.data_id, str)
        or not isinstance(progress.numbers, dict)
        or not all(map(is_pair, progress.induced))
    )
    if wrong:
        raise CheckpointError(f"{path / MANIFEST} holds values that no run has: {progress}")
    name = SETTLED.fullmatch(path.name)
    if name and int(name[1]) != progress.step:
        raise CheckpointError(f"{path / MANIFEST} is of step {progress.step}")
    return progress


def is_pair(pair: object) -> bool:
    """Whether a value is a pair of words, each a list of token ids."""
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and all(isinstance(word, list) and word for word in pair)
        and all(type(token) is int and 0 <= token < MOST for word in pair for token in word)
    )


def read_progress(path: Path) -> Progress:
    """The manifest of one checkpoint, after checking the size and hash of its tensors.

    Raises:
        CheckpointError: damaged; the message names the file and both hashes.
        SchemaError: of another schema.
        OSError: it cannot be read, which may be temporary.
    """
    progress, expected = read_manifest(path)
    try:
        actual = {"bytes": (path / STATE).stat().st_size, "xxh3": file_xxh3(path / STATE)}
    except MISSING as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {quoted(error)}") from error
    if actual != expected:
        raise CheckpointError(f"checkpoint {path / STATE}: {actual}, the manifest says {expected}")
    return progress


def newest_checkpoint(folder: Path) -> tuple[Path, Progress] | None:
    """The newest checkpoint that is whole; none where nothing was saved.

    Damaged ones are skipped and reported, with the number of steps that are lost.

    Raises:
        CheckpointError: there are checkpoints, and none is whole.
        SchemaError: one is of another schema; resuming from an older one would remove it.
        OSError: one cannot be read, which may be temporary; likewise.
    """
    known = candidates(folder)
    for step, path in known:
        try:
            progress = read_progress(path)
        except SchemaError:
            raise
        except CheckpointError as error:
            log.error("%s", error)
            continue
        if lost := known[0][0] - step:
            log.error("GOING BACK from step %d to %d: %d steps are lost", known[0][0], step, lost)
        return path, progress
    if known:
        raise CheckpointError(
            f"none of the checkpoints of steps {saved_steps(folder)} in {folder} is whole; remove "
            f"them to train from the start"
        )
    return None


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint.

    Raises:
        CheckpointError: the file is no safetensors file.
    """
    try:
        return load_file(path / STATE)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path / STATE} cannot be read: {error}") from error
