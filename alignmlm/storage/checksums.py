"""Hashes of files, and checksums inside JSON documents: a change is noticed when they are read."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xxhash

from alignmlm.errors import CheckpointError, DataError

CHECKSUM = "checksum_xxh3"  # key of a document's own checksum
Kind = type[DataError] | type[CheckpointError]
FileHashes = dict[str, dict[str, Any]]  # name in a folder: {"bytes": ..., "xxh3": ...}


def file_xxh3(path: Path) -> str:
    """The xxh3-64 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_64).hexdigest()


def document_xxh3(document: dict[str, Any]) -> str:
    """The xxh3-64 of a document's content, whatever the layout of its text."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return xxhash.xxh3_64_hexdigest(text.encode())


def with_checksum(document: dict[str, Any]) -> dict[str, Any]:
    """The document with a checksum of all the rest of it."""
    content = {key: value for key, value in document.items() if key != CHECKSUM}
    return {**content, CHECKSUM: document_xxh3(content)}


def verified(document: dict[str, Any], path: Path, kind: Kind) -> dict[str, Any]:
    """A document without its checksum, once that is verified; `path` names it in errors.

    Raises:
        DataError, CheckpointError: the checksum is missing or does not match.
    """
    content = dict(document)
    if (recorded := content.pop(CHECKSUM, None)) is None:
        raise kind(f"{path} has no {CHECKSUM}: it is damaged, or was not written by alignmlm")
    if (computed := document_xxh3(content)) != recorded:
        raise kind(
            f"{path} was changed or is damaged: its content has the checksum {computed}, not "
            f"{recorded}"
        )
    return content


def file_hashes(folder: Path, names: Iterable[str]) -> FileHashes:
    """Size and hash of some files of a folder."""
    paths = {name: folder / name for name in sorted(names)}
    return {
        name: {"bytes": path.stat().st_size, "xxh3": file_xxh3(path)}
        for name, path in paths.items()
    }


def damage_of(path: Path, expected: dict[str, Any]) -> str | None:
    """How a file differs from its recorded size and hash; None where it does not."""
    try:
        size = path.stat().st_size
        if size != expected["bytes"]:
            return f"it has {size:,} bytes, not {expected['bytes']:,}"
        computed = file_xxh3(path)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return (
        None if computed == expected["xxh3"] else f"its hash is {computed}, not {expected['xxh3']}"
    )


def check_files(folder: Path, recorded: FileHashes, kind: Kind) -> None:
    """Raise unless the files of a folder have their recorded sizes and hashes.

    Raises:
        DataError, CheckpointError: one is missing or damaged; the message names it.
    """
    for name, expected in recorded.items():
        if (damage := damage_of(folder / name, expected)) is not None:
            raise kind(f"{folder / name} was changed or is damaged: {damage}")
