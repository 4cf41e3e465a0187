"""A store: the shards of one or more natural languages under one tokenizer, and their manifest."""

import json
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import xxhash

from alignmlm.data.shards import Shard, ShardEntry, token_dtype
from alignmlm.data.tokenizer import Vocabulary
from alignmlm.errors import DataError

SCHEMA_VERSION = 1
MANIFEST, TOKENIZER = "manifest.json", "tokenizer.json"
TRAIN, VALIDATION = "train", "validation"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a store holds; written last, so a store with a manifest is whole."""

    schema_version: int
    vocabulary: Vocabulary
    tokenizer_xxh3: str
    splits: dict[str, dict[str, list[ShardEntry]]]  # language -> split -> shards
    provenance: dict[str, object]

    def to_json(self) -> str:
        """The manifest's text; its hash is the identity of the data."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @property
    def data_id(self) -> str:
        """A hash of everything in the store."""
        return xxhash.xxh3_64_hexdigest(self.to_json().encode())


def parse_manifest(text: bytes, path: Path) -> Manifest:
    """The manifest of a JSON text.

    Raises:
        DataError: another schema version, or not a manifest.
    """
    try:
        raw = json.loads(text)
        if raw["schema_version"] != SCHEMA_VERSION:
            found = raw["schema_version"]
            raise DataError(f"{path} has schema version {found}; this alignmlm reads 1")
        vocabulary = raw["vocabulary"]
        vocabulary |= {name: tuple(vocabulary[name]) for name in ("final", "special")}
        splits = {
            language: {
                split: [ShardEntry(**check_name(entry, path)) for entry in entries]
                for split, entries in by_split.items()
            }
            for language, by_split in raw["splits"].items()
        }
        known = {"vocabulary": Vocabulary(**vocabulary), "splits": splits}
        return Manifest(**{**raw, **known})
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no alignmlm manifest: {error!r}") from error


def check_name(entry: dict, path: Path) -> dict:
    """The entry itself, if its name is a plain file name."""
    if Path(entry["name"]).name != entry["name"]:
        raise DataError(f"{path}: shard name {entry['name']!r} leads out of the store")
    return entry


class Split:
    """The shards of one language and split as one sequence of rows.

    A row is a run of payload_tokens tokens of one shard; the last row of a shard reaches back,
    so that no token is left out.
    """

    def __init__(self, folder: Path, entries: list[ShardEntry], dtype: np.dtype) -> None:
        self.shards = [Shard(folder, entry, dtype) for entry in entries]
        for shard in self.shards:
            shard.check_sizes()

    @property
    def tokens(self) -> int:
        """Tokens of the split."""
        return sum(shard.entry.tokens for shard in self.shards)

    @cache  # noqa: B019 - a run opens a handful of splits, and keeps them
    def row_bounds(self, payload_tokens: int) -> np.ndarray:
        """Rows before each shard, and after the last one."""
        rows = [-(-shard.entry.tokens // payload_tokens) for shard in self.shards]
        return np.cumsum([0, *rows])

    def locate(self, row: int, payload_tokens: int) -> tuple[Shard, int, int]:
        """The shard of a row and its tokens [start, stop) there."""
        bounds = self.row_bounds(payload_tokens)
        number = int(np.searchsorted(bounds, row, side="right")) - 1
        shard = self.shards[number]
        start = (row - int(bounds[number])) * payload_tokens
        start = max(0, min(start, shard.entry.tokens - payload_tokens))
        return shard, start, min(start + payload_tokens, shard.entry.tokens)


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
        found = xxhash.xxh3_64_hexdigest(tokenizer.read_bytes()) if tokenizer.is_file() else None
        if found != self.manifest.tokenizer_xxh3:
            expected = self.manifest.tokenizer_xxh3
            raise DataError(f"{tokenizer} has xxh3 {found}, the manifest says {expected}")

    @property
    def vocabulary(self) -> Vocabulary:
        """The base vocabulary of every language in the store."""
        return self.manifest.vocabulary

    @cached_property
    def languages(self) -> list[str]:
        """Ids of the natural languages in the store."""
        return sorted(self.manifest.splits)

    def split(self, language: str, split: str) -> Split:
        """The shards of one language and split, their sizes checked.

        Raises:
            DataError: the store does not have the language.
        """
        if language not in self.manifest.splits:
            has = ", ".join(self.languages)
            raise DataError(f"{self.path} has no language {language!r}; it has {has}")
        entries = self.manifest.splits[language][split]
        return Split(self.path / language / split, entries, token_dtype(self.vocabulary.size))
