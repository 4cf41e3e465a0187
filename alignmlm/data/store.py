"""A store: the shards of one or more natural languages under one tokenizer, and their manifest."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash
from jaxtyping import Int

from alignmlm.data.shards import ADVICE, Shard, ShardEntry, token_dtype
from alignmlm.data.stored_orders import OrderShard, order_folder, read_order_manifest
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.errors import ConfigError, DataError, quoted
from alignmlm.storage.plain_data import mapping, parse_json
from alignmlm.storage.records import check_keys, record

SCHEMA_VERSION = 2
MANIFEST, TOKENIZER = "manifest.json", "tokenizer.json"
TRAIN, VALIDATION = "train", "validation"
SELF = "manifest_xxh3"  # a hash of everything else in the manifest


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a store holds; written last, so a store with a manifest is whole."""

    schema_version: int
    vocabulary: Vocabulary
    tokenizer_xxh3: str
    splits: dict[str, dict[str, list[ShardEntry]]]  # language -> split -> shards
    provenance: dict[str, object]

    @property
    def data_id(self) -> str:
        """A hash of everything in the store."""
        return content_id(asdict(self))

    def summary(self) -> dict[str, object]:
        """What distinguishes two stores, as a flat, readable mapping."""
        flat: dict[str, object] = {"tokenizer": self.tokenizer_xxh3}
        for language, splits in self.splits.items():
            for split, entries in splits.items():
                digests = xxhash.xxh3_64_hexdigest("".join(e.digest for e in entries).encode())
                flat[f"{language} {split} tokens"] = sum(entry.tokens for entry in entries)
                flat[f"{language} {split} digest"] = digests
        known = {f"provenance {name}": value for name, value in self.provenance.items()}
        return flat | known

    def to_json(self) -> str:
        """The manifest's text, with a hash of itself."""
        return json.dumps(asdict(self) | {SELF: self.data_id}, indent=1, sort_keys=True) + "\n"


def content_id(manifest: dict[str, object]) -> str:
    """A hash of a manifest's content, independent of its layout."""
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    return xxhash.xxh3_64_hexdigest(canonical.encode())


def parse_manifest(text: bytes, path: Path) -> Manifest:
    """The manifest of a JSON text.

    Raises:
        DataError: another schema version, edited or damaged, or not a manifest.
    """
    raw = mapping(parse_json(text, str(path)), str(path), DataError)
    if (version := raw.get("schema_version")) != SCHEMA_VERSION:
        remedy = f"this alignmlm reads {SCHEMA_VERSION}; build the store again"
        raise DataError(f"{path} has schema version {quoted(version)}; {remedy}")
    expected = raw.pop(SELF, None)
    if expected != (computed := content_id(raw)):
        raise DataError(f"{path} is damaged or was edited: xxh3 {computed}, expected {expected}")
    check_keys(raw, {"tokenizer_xxh3": str, "splits": dict, "provenance": dict}, path, DataError)
    vocabulary = record(Vocabulary, raw.pop("vocabulary", None), f"{path}: vocabulary")
    if unknown := sorted(raw.keys() - {field.name for field in fields(Manifest)}):
        raise DataError(f"{path} has unknown keys: {', '.join(unknown)}")
    return Manifest(**{**raw, "vocabulary": vocabulary, "splits": read_splits(raw["splits"], path)})


def read_splits(raw: dict[str, Any], path: Path) -> dict[str, dict[str, list[ShardEntry]]]:
    """The shards of each language and split.

    Raises:
        DataError: an entry does not describe a shard, or a name leads out of the store.
    """
    splits: dict[str, dict[str, list[ShardEntry]]] = {}
    for language, by_split in raw.items():
        check_name(language, path)
        for split, entries in mapping(by_split, f"{path}: {language}", DataError).items():
            check_name(split, path)
            shards = splits.setdefault(language, {})[split] = []
            for entry in entries if isinstance(entries, list) else [entries]:
                try:
                    shards.append(ShardEntry(**entry))
                except (ConfigError, TypeError) as error:
                    place = f"{path}: {language} {split}, shard {len(shards)}"
                    raise DataError(f"{place}: {error}") from error
                check_name(shards[-1].name, path)
    return splits


def check_name(name: object, path: Path) -> None:
    """Raise unless the name of a shard or folder is a plain one.

    Raises:
        DataError: it could lead out of the store.
    """
    plain = isinstance(name, str) and name.isprintable() and not {"/", "\\"} & set(name)
    if not plain or name in ("", ".", ".."):
        raise DataError(f"{path}: name {quoted(name)} leads out of the store")


class Places(NamedTuple):
    """Where some rows lie: tokens [start, stop) of a shard."""

    shards: Int[np.ndarray, " row"]
    starts: Int[np.ndarray, " row"]
    stops: Int[np.ndarray, " row"]


class Split:
    """The shards of one language and split as one sequence of rows.

    A row is a run of payload_tokens tokens of one shard; the last row of a shard overlaps the one
    before it rather than being short. No token is left out.

    Raises:
        DataError: a shard is missing, short, long, or not in the manifest.
    """

    def __init__(
        self, folder: Path, entries: list[ShardEntry], dtype: np.dtype, orders: Sequence[str] = ()
    ) -> None:
        self.shards = [Shard(folder, entry, dtype) for entry in entries]
        self.orders = list(orders)
        self.shard_tokens = np.array([entry.tokens for entry in entries], np.int64)
        self.bounds: dict[int, np.ndarray] = {}  # by payload_tokens
        check_sizes(folder, self.shards)

    @property
    def tokens(self) -> int:
        """Tokens of the split."""
        return int(self.shard_tokens.sum())

    def row_bounds(self, payload_tokens: int) -> Int[np.ndarray, " bound"]:
        """Number of rows before each shard, then of all rows; cached by payload_tokens."""
        if payload_tokens not in self.bounds:
            rows = -(-self.shard_tokens // payload_tokens)
            self.bounds[payload_tokens] = np.append(0, np.cumsum(rows))
        return self.bounds[payload_tokens]

    def locate(self, rows: Int[np.ndarray, " row"], payload_tokens: int) -> Places:
        """Where some rows lie."""
        bounds = self.row_bounds(payload_tokens)
        shards = np.searchsorted(bounds, rows, side="right") - 1
        sizes = self.shard_tokens[shards]
        latest = np.maximum(sizes - payload_tokens, 0)
        starts = np.minimum((rows - bounds[shards]) * payload_tokens, latest)
        return Places(shards, starts, np.minimum(starts + payload_tokens, sizes))


def check_sizes(folder: Path, shards: list[Shard]) -> None:
    """Raise unless a folder holds exactly the files of some shards, each of the right size.

    A mapped file that is too short would kill the process with SIGBUS, without a message.

    Raises:
        DataError: a file is missing, short, long or unknown.
    """
    unchecked_bytes: dict[str, int] = {}
    if folder.is_dir():
        with os.scandir(folder) as entries:
            unchecked_bytes = {entry.name: entry.stat().st_size for entry in entries}
    for shard in shards:
        for name, expected in shard.sizes_bytes.items():
            if name not in unchecked_bytes:
                raise DataError(f"shard {folder / name} is missing; build or copy the store again")
            if (size := unchecked_bytes.pop(name)) != expected:
                requirement = f"the manifest says {expected}; {ADVICE}"
                raise DataError(f"shard {folder / name} has {size} bytes, {requirement}")
    if unchecked_bytes:
        extra = folder / sorted(unchecked_bytes)[0]
        raise DataError(f"{extra} is not in the manifest; {ADVICE}, or remove the file")


class Store:
    """A store opened for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / MANIFEST).is_file():
            raise DataError(
                f"there is no data store at {path}; build it with "
                f"`alignmlm data build --config <recipe.yaml>`"
            )
        self.manifest = parse_manifest((path / MANIFEST).read_bytes(), path / MANIFEST)
        tokenizer = path / TOKENIZER
        digest = xxhash.xxh3_64_hexdigest(tokenizer.read_bytes()) if tokenizer.is_file() else None
        if digest != self.manifest.tokenizer_xxh3:
            expected = self.manifest.tokenizer_xxh3
            raise DataError(f"{tokenizer} has xxh3 {digest}, the manifest says {expected}")
        self.vocabulary.check_size(tokenizer)

    @property
    def vocabulary(self) -> Vocabulary:
        """The base vocabulary of every language in the store."""
        return self.manifest.vocabulary

    @cached_property
    def languages(self) -> list[str]:
        """Ids of the natural languages in the store."""
        return sorted(self.manifest.splits)

    def check_language(self, language: str) -> None:
        """Raise unless the store has a language.

        Raises:
            DataError: it does not.
        """
        if language not in self.manifest.splits:
            has = ", ".join(self.languages)
            raise DataError(f"{self.path} has no language {quoted(language)}; it has {has}")

    def split(self, language: str, split: str, orders: Sequence[str] = ()) -> Split:
        """The shards of one language and split, their files checked, with some syntax orders.

        Raises:
            DataError: the store does not have the language or an order, or its files do not match
                the manifest.
        """
        self.check_language(language)
        if split not in (splits := self.manifest.splits[language]):
            raise DataError(
                f"{self.path} has no split {quoted(split)} of {language}; it has {[*splits]}"
            )
        entries = splits[split]
        dtype = token_dtype(self.vocabulary.size)
        opened = Split(self.path / language / split, entries, dtype, orders)
        for order in orders:
            manifest = read_order_manifest(self.path, order, language, self.manifest.data_id)
            folder = order_folder(self.path, order, language) / split
            if len(digests := manifest.digests.get(split, [])) != len(entries):
                mismatch = f"{len(digests)} shards of {split}, the store {len(entries)}"
                raise DataError(f"{folder} has {mismatch}; run `alignmlm data order` again")
            for shard, digest in zip(opened.shards, digests, strict=True):
                path = folder / f"{shard.entry.name}.ord"
                shard.orders.append(OrderShard(path, shard.entry.tokens, digest))
        return opened
