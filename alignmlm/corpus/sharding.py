"""Cutting the sequence of parts into shards, at document ends, by any rank."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Int, UInt8

from alignmlm.corpus.parts import Part
from alignmlm.corpus.token_parts import (
    SENTENCE,
    WORD,
    TokenPart,
    read_token_documents,
    read_tokens,
)
from alignmlm.corpus.workspace import Workspace
from alignmlm.data.shards import ShardEntry, write_shard
from alignmlm.data.store import TRAIN, VALIDATION
from alignmlm.languages.sentences import Sentences
from alignmlm.storage.atomic import replace_bytes, sync
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import record

SPLITS = (TRAIN, VALIDATION)


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """Which documents of a split a shard holds: from one bound to another."""

    language: str
    split: str
    number: int
    tokens: int
    documents: int
    start: tuple[int, int]  # part, and number within it among the split's documents
    stop: tuple[int, int]

    @property
    def stem(self) -> str:
        """Its files within the store, without their suffix."""
        return f"{self.language}/{self.split}/shard-{self.number:05d}"


@dataclass(slots=True)
class Cutter:
    """Decides where the shards of one split end, given the documents of each part in turn."""

    language: str
    split: str
    shard_tokens: int
    plans: list[ShardPlan]
    start: tuple[int, int] = (0, 0)
    tokens: int = 0
    documents: int = 0

    def add(self, part: int, tokens: Int[np.ndarray, " document"]) -> None:
        """Add the split's documents of a part."""
        first, ends = 0, np.cumsum(tokens)
        base = 0
        while first < len(tokens):
            wanted = self.shard_tokens - self.tokens + base
            last = int(np.searchsorted(ends, wanted))
            stop = min(last + 1, len(tokens))
            self.tokens += int(ends[stop - 1]) - base
            self.documents += stop - first
            first, base = stop, int(ends[stop - 1])
            if self.tokens >= self.shard_tokens:
                self.close((part, stop))

    def close(self, stop: tuple[int, int]) -> None:
        """End a shard here, if it holds anything."""
        if self.tokens:
            name = (self.language, self.split, len(self.plans))
            self.plans.append(ShardPlan(*name, self.tokens, self.documents, self.start, stop))
        self.start, self.tokens, self.documents = stop, 0, 0


def plan_shards(
    place: Workspace, parts: list[Part], languages: list[str], shard_tokens: int
) -> list[ShardPlan]:
    """All shards of a store; each but a split's last ends once it has shard_tokens or more."""
    cutters = {
        (source, split): Cutter(language, split, shard_tokens, [])
        for source, language in enumerate(languages)
        for split in SPLITS
    }
    for index, part in enumerate(parts):
        documents = read_token_documents(place, part)
        for split in SPLITS:
            wanted = documents["validation"] == (split == VALIDATION)
            cutters[part.source, split].add(index, documents["tokens"][wanted].astype(np.int64))
    for cutter in cutters.values():
        cutter.close((len(parts), 0))
    return [plan for cutter in cutters.values() for plan in cutter.plans]


def pieces_of_plan(
    place: Workspace, parts: list[Part], plan: ShardPlan, source: int
) -> Iterator[TokenPart]:
    """What each part contributes to a shard."""
    (first, skipped), (last, stop) = plan.start, plan.stop
    for index in range(first, min(last + 1, len(parts))):
        if parts[index].source != source:
            continue
        part = read_tokens(place, parts[index])
        wanted = part.documents["validation"] == (plan.split == VALIDATION)
        chosen = np.flatnonzero(wanted)
        chosen = chosen[skipped if index == first else 0 : stop if index == last else None]
        taken = np.zeros(len(wanted), bool)
        taken[chosen] = True
        tokens = np.repeat(taken, part.documents["tokens"])
        yield TokenPart(part.documents[taken], part.ids[tokens], part.flags[tokens])


def shard_text(
    place: Workspace, parts: list[Part], plan: ShardPlan, source: int, dtype: np.dtype
) -> Sentences:
    """The sentences of a shard."""
    ids = np.empty(plan.tokens, dtype)
    flags: UInt8[np.ndarray, " token"] = np.empty(plan.tokens, np.uint8)
    at = 0
    for piece in pieces_of_plan(place, parts, plan, source):
        ids[at : at + len(piece.ids)] = piece.ids
        flags[at : at + len(piece.ids)] = piece.flags
        at += len(piece.ids)
    return Sentences(ids, (flags & WORD).view(bool), (flags & SENTENCE).astype(bool))


def cut_shard(
    place: Workspace, parts: list[Part], plan: ShardPlan, source: int, dtype: np.dtype
) -> ShardEntry:
    """A shard's row in the manifest; writes the shard unless it exists."""
    done = place.shards / f"{plan.stem.replace('/', '_')}.json"
    if done.exists():
        return record(ShardEntry, read_json(done), done)
    stem = place.store / plan.stem
    text = shard_text(place, parts, plan, source, dtype)
    entry = write_shard(stem, text, dtype, plan.documents)
    for ending in (".bin", ".idx"):
        sync(stem.with_suffix(ending))
    replace_bytes(done, json.dumps(asdict(entry)).encode())
    return entry


def make_shard_folders(place: Workspace, languages: list[str]) -> None:
    """Create the folders that shards are written to."""
    place.shards.mkdir(exist_ok=True)
    for language in languages:
        for split in SPLITS:
            (place.store / language / split).mkdir(parents=True, exist_ok=True)
