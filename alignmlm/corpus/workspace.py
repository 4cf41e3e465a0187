"""Where a store is built: a folder beside it that is kept until the store is complete.

<store>.building/
  lock          held by the build that works here
  build.json    settings and files of this build; when the folder is removed, moved out of it first
  text/         00000-00003.zst, .npy    sentences and documents of part 3 of piece 0
                00000.json               there once that piece has been read to its end
  duplicates/   documents that are left out
  tokenizer.json
  tokens/       00000-00003.npys         the same part as tokens
  shards/       manifest rows of the shards written so far
  store/        shards, manifest; becomes the store by rename
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from alignmlm import __version__
from alignmlm.corpus.settings import DataConfig
from alignmlm.corpus.sources import Piece, expand_path
from alignmlm.data.tokenizer import tokenizer_file
from alignmlm.errors import ConfigError, DataError, quoted
from alignmlm.storage.atomic import leftovers, partial_path, replace_bytes
from alignmlm.storage.checksums import file_xxh3
from alignmlm.storage.locks import LockHeldError, take_lock
from alignmlm.storage.plain_data import read_json

FORMAT = 1  # of the files in the workspace
SHOWN = 5  # differences that an error lists
UNWORTHY_BYTES = 2**24  # less compressed text than this is read again in seconds


class OtherBuildError(DataError):
    """The workspace holds another unfinished build, which is left untouched."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The paths at which a store is built."""

    folder: Path

    @property
    def text(self) -> Path:
        """Parts of the corpus as sentences."""
        return self.folder / "text"

    @property
    def duplicates(self) -> Path:
        """Which documents are left out."""
        return self.folder / "duplicates"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer of the store."""
        return self.folder / "tokenizer.json"

    @property
    def tokens(self) -> Path:
        """Parts of the corpus as tokens."""
        return self.folder / "tokens"

    @property
    def shards(self) -> Path:
        """Rows of the manifest."""
        return self.folder / "shards"

    @property
    def store(self) -> Path:
        """The folder that becomes the store."""
        return self.folder / "store"

    @property
    def record(self) -> Path:
        """The record of what this build depends on; `folder` itself where only that is left."""
        return self.folder if self.folder.is_file() else self.folder / "build.json"


def workspace_of(final: Path) -> Workspace:
    """The workspace of a store.

    Raises:
        ConfigError: the store's path has no name that a workspace could be named after.
    """
    if not final.name:
        raise ConfigError("data.store", str(final), "name a folder, which the build makes")
    return Workspace(final.with_name(f"{final.name}.building"))


@contextmanager
def locked(place: Workspace, final: Path) -> Iterator[None]:
    """Hold the workspace's lock; the operating system releases it however the process ends.

    Raises:
        DataError: another build works on the same store.
    """
    try:
        lock = take_lock(place.folder / "lock")
    except LockHeldError as error:
        raise DataError(
            f"another build of {final} is running ({error}); wait for it, or name another "
            f"data.store"
        ) from error
    try:
        yield
    finally:
        lock.release()


def removed_partly(place: Workspace) -> list[Workspace]:
    """Workspaces whose removal was interrupted."""
    return [Workspace(path) for path in leftovers(place.folder)]


def remove_workspace(place: Workspace) -> None:
    """Remove a workspace that this process has locked; renames it first, to free its path."""
    aside = Workspace(partial_path(place.folder))
    place.folder.rename(aside.folder)
    remove_content(aside)


def remove_content(place: Workspace) -> None:
    """Remove a workspace, its record last: it says which build the rest belongs to."""
    record = place.record
    if place.folder.is_dir():
        for path in place.folder.glob("*/"):
            rmtree(path, ignore_errors=True)
        with suppress(FileNotFoundError):  # it has none
            record = record.rename(f"{partial_path(place.folder)}.json")
        rmtree(place.folder, ignore_errors=True)
    record.unlink(missing_ok=True)


def piece_record(piece: Piece, config: DataConfig) -> dict[str, Any]:
    """What the text of a piece depends on."""
    settings = asdict(config.sources[piece.source])
    del settings["files"]
    return {"source": settings, "files": [asdict(file) for file in piece.files]}


def settings_record(config: DataConfig) -> dict[str, Any]:
    """What the tokens depend on, besides the text.

    Raises:
        DataError: there is no tokenizer where the settings name one.
    """
    settings = asdict(config)
    file = tokenizer_file(expand_path(config.tokenizer)) if config.tokenizer else None
    settings["tokenizer_xxh3"] = file_xxh3(file) if file else None
    return {name: settings[name] for name in settings.keys() - {"store", "sources"}}


def build_record(config: DataConfig, pieces: list[Piece]) -> dict[str, Any]:
    """All that a build depends on."""
    return as_json(
        {
            "format": FORMAT,
            "alignmlm": __version__,
            "pieces": [piece_record(piece, config) for piece in pieces],
            "settings": settings_record(config),
        }
    )


def as_json(value: Any) -> Any:
    """A value after a round trip through JSON."""
    return json.loads(json.dumps(value))


def file_name(piece: dict[str, Any], place: int) -> str:
    """The name of a file of a recorded piece; for a part of a hub dataset, with its number."""
    file = piece["files"][place]
    index, count = file["part"]
    return file["name"] if count == 1 else f"{file['name']} part {index} of {count}"


def piece_differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """How two recorded pieces differ."""
    for name, value in new["source"].items():
        if old["source"].get(name) != value:
            there = quoted(old["source"].get(name))
            yield f"data.sources.{name}: {there} there, {quoted(value)} here"
    names = [[file_name(piece, i) for i in range(len(piece["files"]))] for piece in (old, new)]
    if names[0] != names[1]:
        yield f"data.sources.files: {names[0]} there, {names[1]} here"
        return
    for before, now in zip(old["files"], new["files"], strict=True):
        if before != now:
            size = f"{before['bytes']} bytes there, {now['bytes']} here"
            yield f"{now['name']}: {size if before['bytes'] != now['bytes'] else 'written since'}"


def record_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """How the build in a workspace differs from the requested one."""
    differences = []
    if old["alignmlm"] != new["alignmlm"] or old["format"] != new["format"]:
        differences.append(f"alignmlm: {old['alignmlm']} there, {new['alignmlm']} here")
    if len(old["pieces"]) != len(new["pieces"]):
        differences.append(f"files: {len(old['pieces'])} there, {len(new['pieces'])} here")
    for before, now in zip(old["pieces"], new["pieces"], strict=False):
        differences += piece_differences(before, now)
    settings = old.get("settings") or new["settings"]  # recorded when the tokenizer is there
    for name, value in sorted(new["settings"].items()):
        if settings.get(name) != value:
            differences.append(
                f"data.{name}: {quoted(settings.get(name))} there, {quoted(value)} here"
            )
    return list(dict.fromkeys(differences))


def read_record(place: Workspace) -> dict[str, Any] | None:
    """The build record of a workspace; None if it is new.

    Raises:
        DataError: its record is damaged.
    """
    if not place.record.exists():
        return None
    try:
        record = read_json(place.record)
    except DataError as error:
        raise DataError(f"{place.record} is damaged ({error}); remove {place.folder}") from error
    return record if {"format", "alignmlm", "pieces"} <= record.keys() else None


def open_workspace(
    place: Workspace, config: DataConfig, pieces: list[Piece], restart: bool
) -> None:
    """Create the folders, or check that their content belongs to this build.

    With `restart`, what belongs to other settings or files is removed.

    Raises:
        OtherBuildError: it belongs to another build; the message says what differs.
    """
    new = build_record(config, pieces)
    old = read_record(place)
    differences = record_differences(old, new) if old else []
    if differences and not restart:
        more = len(differences) - SHOWN
        raise OtherBuildError(
            f"{place.folder} holds the beginning of another build: "
            f"{'; '.join(differences[:SHOWN])}{f'; and {more} more' if more > 0 else ''}. Go back "
            f"to those, or run again with --restart, which keeps only what is the same"
        )
    if differences and old:
        drop_changed(place, old, new)
    for folder in (place.text, place.tokens):
        folder.mkdir(exist_ok=True)
        remove(folder.glob("*.tmp-*"))
    recorded = new if place.tokenizer.exists() else new | {"settings": None}
    replace_bytes(place.record, json.dumps(recorded, indent=1).encode())


def record_settings(place: Workspace, config: DataConfig) -> None:
    """Add the settings which the tokens depend on to the record."""
    record = read_json(place.record) | {"settings": settings_record(config)}
    replace_bytes(place.record, json.dumps(record, indent=1).encode())


def remove(paths: Iterator[Path]) -> None:
    """Remove some files."""
    for path in paths:
        path.unlink()


def drop_changed(place: Workspace, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Remove everything but the text of the pieces that are still the same."""
    for folder in (place.duplicates, place.tokens, place.shards, place.store):
        rmtree(folder, ignore_errors=True)
    place.tokenizer.unlink(missing_ok=True)
    same_text = all(old[name] == new[name] for name in ("format", "alignmlm"))
    for number, piece in enumerate(old["pieces"]):
        if not same_text or new["pieces"][number : number + 1] != [piece]:
            remove(place.text.glob(f"{number:05d}[-.]*"))


def is_worth_keeping(place: Workspace) -> bool:
    """Whether what was done so far took more than a few seconds."""
    if not place.text.is_dir():
        return False
    return sum(path.stat().st_size for path in place.text.iterdir()) >= UNWORTHY_BYTES
