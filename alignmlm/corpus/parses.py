"""Parses stored beside the tokens: one CoNLL-U block per sentence, in the order of the store.

The files are `parses/<language>/<split>/shard-00000.conllu.gz`; where a sentence has no parse, its
block says why. Parses come from a parser, or from treebanks whose sentences are looked up by their
words.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from alignmlm.data.shards import Shard
from alignmlm.data.store import TOKENIZER, Store
from alignmlm.data.text import normalise
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import DataError
from alignmlm.languages.orders import LONGEST_WORDS
from alignmlm.languages.sentences import Sentences
from alignmlm.storage.atomic import new_file, replace_text
from alignmlm.storage.checksums import file_xxh3
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.text import numbered_lines

PARSES = "parses"
MISSING = "# no parse: "
BATCH_SENTENCES = 500
READ_TOKENS = 2**20  # of a shard, read at once
Words = list[str]
Blocks = Iterator[tuple[Words, str]]  # a sentence and its CoNLL-U block, or why it has none
Progress = Callable[[int, int], None]  # sentences done, and their total


class Source(NamedTuple):
    """Where parses come from."""

    made_by: dict[str, list[str]]  # hashes of the files that determine the parses
    blocks: Callable[[Iterator[Words], int], Blocks]  # from sentences, parsing at most so many


def shard_text(shard: Shard) -> Iterator[Sentences]:
    """The sentences of a shard in pieces of about a million tokens."""
    start = 0
    while start < shard.entry.tokens:
        stop = min(start + READ_TOKENS, shard.entry.tokens)
        text, begin = shard.sentences(start, stop)
        yield text
        start = begin + len(text.ids)


def sentence_words(text: Sentences, tokenizer: Tokenizer) -> Iterator[Words]:
    """The words of each sentence; an empty list for the </s> that closes a document."""
    firsts = text.first_tokens()
    parts = [part.tolist() for part in np.split(text.ids, firsts[1:])]
    words = tokenizer.decode_batch(parts, skip_special_tokens=True)
    numbered = zip(text.sentence_of_word().tolist(), words, strict=True)
    for _, sentence in groupby(numbered, key=lambda pair: pair[0]):
        normalised = [normalise(word).replace(" ", "\u00a0") for _, word in sentence]
        yield normalised if any(normalised) else []


def store_sentences(
    store: Store, language: str, split: str
) -> Iterator[tuple[Shard, Iterator[Words]]]:
    """The shards of a split, each with the words of its sentences."""
    tokenizer = load_tokenizer(store.path / TOKENIZER)
    for shard in store.split(language, split).shards:
        yield shard, shard_words(shard, tokenizer)


def shard_words(shard: Shard, tokenizer: Tokenizer) -> Iterator[Words]:
    """The words of each sentence of a shard."""
    for text in shard_text(shard):
        yield from sentence_words(text, tokenizer)


def first_with_words(sentences: Iterator[Words], most: int) -> Iterator[Words]:
    """Sentences up to and including the `most`-th one that has words."""
    while most > 0 and (words := next(sentences, None)) is not None:
        most -= bool(words)
        yield words


def parsed_by(
    parse: Callable[[Iterable[list[Words]]], Iterable[list[str | None]]], parser: Path
) -> Source:
    """Parses by the function `parse`, which takes batches of sentences; `parser` is its model file.

    Raises:
        DataError: there is no such file.
    """
    if not parser.is_file():
        raise DataError(f"there is no parser at {parser}")

    def blocks(sentences: Iterator[Words], most: int) -> Blocks:
        wanted = first_with_words(sentences, most)
        batches = iter(lambda: list(islice(wanted, BATCH_SENTENCES)), [])
        pending: list[list[Words]] = []

        def short() -> Iterator[list[Words]]:
            for batch in batches:
                pending.append(batch)
                yield [words if len(words) <= LONGEST_WORDS else [] for words in batch]

        for parsed in parse(short()):
            for words, block in zip(pending.pop(0), parsed, strict=True):
                yield words, block or reason(words)
        for words in sentences:
            yield words, MISSING + "not asked for\n\n" if words else reason(words)

    return Source({"parser": [file_xxh3(parser)]}, blocks)


def reason(words: Words) -> str:
    """The block of a sentence that a parser left out."""
    if not words:
        return MISSING + "end of a document\n\n"
    return MISSING + "too long\n\n"


def looked_up(treebanks: list[Path]) -> Source:
    """Parses found in treebanks, by the words of each sentence."""
    from alignmlm.syntax.trees import conllu_text, read_conllu

    known: dict[tuple[str, ...], str] = {}
    for path in treebanks:
        for tree in read_conllu(path):
            known[tuple(map(normalise, tree.words))] = conllu_text(tree)

    def blocks(sentences: Iterator[Words], most: int) -> Blocks:
        for words in sentences:
            most -= bool(words)
            if not words or len(words) > LONGEST_WORDS:
                yield words, reason(words)
            elif most < 0:
                yield words, MISSING + "not asked for\n\n"
            else:
                block = known.get(tuple(map(normalise, words)))
                yield words, block or MISSING + "not in the treebank\n\n"

    return Source({"treebanks": [file_xxh3(path) for path in treebanks]}, blocks)


def parses_path(store: Path, language: str, split: str, shard: str) -> Path:
    """The path of the parses of a shard."""
    return store / PARSES / language / split / f"{shard}.conllu.gz"


def parse_store(
    store: Store, language: str, source: Source, most: int, progress: Progress
) -> dict[str, int]:
    """Write the parses of a language; returns counts of parsed sentences, and of others by reason.

    At most `most` sentences are parsed, over all shards. A shard that already has these parses,
    according to the record beside them, is skipped.
    """
    splits = store.manifest.splits[language]
    total = sum(entry.sentences for entries in splits.values() for entry in entries)
    counts: Counter[str] = Counter()
    done = 0
    for split in splits:
        for shard, sentences in store_sentences(store, language, split):
            path = parses_path(store.path, language, split, shard.entry.name)
            limit = min(max(most - counts["parsed"], 0), shard.entry.sentences)
            made = {"made_by": source.made_by, "sentences": limit}
            if (shard_counts := known_counts(path, made)) is None:
                parsed = source.blocks(sentences, limit)
                shard_counts = write_blocks(path, parsed, partial(advance, progress, done, total))
                replace_text(record_path(path), json.dumps({**made, "counts": shard_counts}))
            counts.update(shard_counts)
            done += shard.entry.sentences
    return dict(counts)


def record_path(parses: Path) -> Path:
    """The record of how the parses of a shard were made."""
    return parses.with_suffix(".json")


def known_counts(parses: Path, made: dict[str, Any]) -> dict[str, int] | None:
    """The counts of a shard's parses if they were made as `made` says; None otherwise."""
    if not (parses.is_file() and record_path(parses).is_file()):
        return None
    record = read_json(record_path(parses))
    counts = record.pop("counts", None)
    return counts if record == made else None


def advance(progress: Progress, before: int, total: int, done: int) -> None:
    """Report sentences done in a shard as sentences done overall."""
    progress(before + done, total)


def write_blocks(path: Path, blocks: Blocks, progress: Callable[[int], None]) -> dict[str, int]:
    """Write a shard's blocks atomically; returns counts like those of parse_store."""
    path.parent.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with new_file(path) as partial, gzip.GzipFile(partial, "wb", compresslevel=3, mtime=0) as file:
        for number, (_, block) in enumerate(blocks, start=1):
            missing = block.startswith(MISSING)
            counts[block.removeprefix(MISSING).strip() if missing else "parsed"] += 1
            file.write(block.encode())
            if number % BATCH_SENTENCES == 0:
                progress(number)
        record_path(path).unlink(missing_ok=True)  # it describes the parses being replaced
    return dict(counts)


def read_blocks(path: Path) -> Iterator[list[str]]:
    """The lines of each block of a shard's parses.

    Raises:
        DataError: there are no parses, or the file is damaged.
    """
    if not path.is_file():
        raise DataError(f"there are no parses at {path}; make them with `alignmlm data parse`")
    lines: list[str] = []
    try:
        for _, line in numbered_lines(path):
            if line:
                lines.append(line)
            elif lines:
                yield lines
                lines = []
    except DataError as error:
        raise DataError(f"{error}; remove it and parse again") from error
