"""Raw text to a tokenizer and token shards. The store appears whole, or not at all."""

import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from os import getpid
from pathlib import Path
from time import perf_counter

import numpy as np
import xxhash
from tokenizers import Tokenizer

from alignmlm import __version__
from alignmlm.data.shards import ShardEntry, token_dtype, write_shard
from alignmlm.data.sources import (
    SAMPLE_PREFIX,
    Document,
    SourceConfig,
    documents,
    expand_path,
    source_paths,
)
from alignmlm.data.store import MANIFEST, SCHEMA_VERSION, TOKENIZER, TRAIN, VALIDATION, Manifest
from alignmlm.data.text import RawSentence
from alignmlm.data.tokenizer import Vocabulary, describe, encode, load_tokenizer, train_tokenizer
from alignmlm.errors import ConfigError, DataError

log = logging.getLogger(__name__)
Progress = Callable[[str, int], None]  # what is done, how many tokens so far


def sample_source() -> list[SourceConfig]:
    """The sample world, whose language has a private-use ISO 639 code."""
    return [SourceConfig(language="qaa-Latn", files=[f"{SAMPLE_PREFIX}40000"])]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Where the text comes from, and where its tokens lie."""

    store: str = "data/sample"  # folder of the tokens
    sources: list[SourceConfig] = field(default_factory=sample_source)
    vocabulary_size: int = 1200  # tokens of the BPE to train, special ones included
    tokenizer: str | None = None  # a tokenizer.json or a folder with one, instead of training
    validation: float = 0.02  # share of the documents to hold out, chosen by their hash
    shard_tokens: int = 2**24

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise ConfigError("data.validation", self.validation, "lie strictly between 0 and 1")
        if not self.sources:
            raise ConfigError("data.sources", self.sources, "name at least one language")
        languages = [source.language for source in self.sources]
        if len(set(languages)) < len(languages):
            raise ConfigError("data.sources", languages, "name each language once")
        if not 2**16 <= self.shard_tokens < 2**32:
            raise ConfigError("data.shard_tokens", self.shard_tokens, "lie in [65536, 2**32)")


class SplitWriter:
    """Collects the sentences of one language and split, and writes a shard when it is full."""

    def __init__(self, folder: Path, vocabulary: Vocabulary, shard_tokens: int) -> None:
        folder.mkdir(parents=True)
        self.folder, self.shard_tokens = folder, shard_tokens
        self.eos, self.dtype = vocabulary.eos, token_dtype(vocabulary.size)
        self.entries: list[ShardEntry] = []
        self.clear()

    def clear(self) -> None:
        """Start an empty shard."""
        self.sentences: list[tuple[np.ndarray, np.ndarray]] = []
        self.document_ends: list[int] = []
        self.tokens = 0

    def add(self, sentences: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Append one document; </s> closes it, as a sentence of its own."""
        end = (np.array([self.eos]), np.array([True]))
        self.sentences += [(ids.astype(self.dtype), starts) for ids, starts in (*sentences, end)]
        self.tokens += 1 + sum(len(ids) for ids, _ in sentences)
        self.document_ends.append(self.tokens)
        if self.tokens >= self.shard_tokens:
            self.flush()

    def flush(self) -> None:
        """Write what was collected as a shard."""
        if not self.tokens:
            return
        tokens = np.concatenate([ids for ids, _ in self.sentences])
        starts = np.concatenate([starts for _, starts in self.sentences])
        ends = np.cumsum([len(ids) for ids, _ in self.sentences]).tolist()
        stem = self.folder / f"shard-{len(self.entries):05d}"
        self.entries.append(write_shard(stem, tokens, starts, ends, self.document_ends))
        self.clear()


def is_validation(document: Document, share: float) -> bool:
    """Whether a document is held out: a matter of its text alone."""
    digest = xxhash.xxh3_64_intdigest("\n".join(s.text for s in document).encode())
    return digest < share * 2**64


def training_texts(config: DataConfig) -> Iterator[str]:
    """Sentences that the tokenizer may see: those of the training documents."""
    for document in chain.from_iterable(map(documents, config.sources)):
        if not is_validation(document, config.validation):
            yield from (sentence.text for sentence in document)


def make_tokenizer(config: DataConfig) -> Tokenizer:
    """The tokenizer of a store, loaded or trained."""
    if config.tokenizer:
        return load_tokenizer(expand_path(config.tokenizer))
    return train_tokenizer(training_texts(config), config.vocabulary_size)


def write_language(
    folder: Path, source: SourceConfig, config: DataConfig, tokenizer: Tokenizer, report: Progress
) -> dict[str, list[ShardEntry]]:
    """All shards of one language.

    Raises:
        DataError: no text at all, or none in one of the splits.
    """
    vocabulary = describe(tokenizer)
    writers = {
        split: SplitWriter(folder / source.language / split, vocabulary, config.shard_tokens)
        for split in (TRAIN, VALIDATION)
    }
    tokens, stream = 0, (document for document in documents(source) if document)
    while chunk := list(
        islice(stream, 256)
    ):  # documents at a time: what the tokenizer's threads like
        encoded = encode_documents(tokenizer, chunk)
        for document, sentences in zip(chunk, encoded, strict=True):
            split = VALIDATION if is_validation(document, config.validation) else TRAIN
            writers[split].add(sentences)
            tokens += sum(len(ids) for ids, _ in sentences)
        report(source.language, tokens)
    for split, writer in writers.items():
        writer.flush()
        if not writer.entries:
            raise empty_split(source, split, tokens, config)
    return {split: writer.entries for split, writer in writers.items()}


def empty_split(source: SourceConfig, split: str, tokens: int, config: DataConfig) -> DataError:
    """The error for a language that has no text in a split."""
    if not tokens:
        return DataError(f"corpus of {source.language} ({', '.join(source.files)}) has no text")
    return DataError(
        f"corpus of {source.language} has no {split} document: with data.validation = "
        f"{config.validation} every document went to the other split; give more documents "
        f"(data.sources.documents: line makes each line one) or another share"
    )


def encode_documents(
    tokenizer: Tokenizer, chunk: list[Document]
) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Token ids and word starts of each document's sentences, those without tokens left out."""
    sentences: list[RawSentence] = list(chain.from_iterable(chunk))
    encoded = encode(tokenizer, sentences)
    parts = (islice(encoded, len(document)) for document in chunk)
    return [[(ids, starts) for ids, starts in part if len(ids)] for part in parts]


def check_final_paths(config: DataConfig) -> Path:
    """The folder of the store to be.

    Raises:
        DataError: it exists, or a corpus file does not.
    """
    for source in config.sources:
        source_paths(source)
    final = expand_path(config.store)
    if (final / MANIFEST).exists():
        raise DataError(f"{final} holds a store already; remove it, or name another data.store")
    if final.exists() and any(final.iterdir()):
        raise DataError(f"{final} is in use and holds no store; name another data.store")
    return final


def build_store(config: DataConfig, report: Progress = lambda what, tokens: None) -> Path:
    """Build the store of a recipe; on any failure nothing of it stays behind.

    Raises:
        DataError: a corpus that is missing, empty or not UTF-8; a folder in use; a full disk.
        ConfigError: a vocabulary larger than the data supports.
    """
    final = check_final_paths(config)
    started = perf_counter()
    partial = final.with_name(f"{final.name}.tmp-{getpid()}")
    try:
        partial.mkdir(parents=True)
        write_store(partial, config, report)
        if final.exists():
            final.rmdir()
        partial.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(
            f"no space left on the disk of {final} while building; nothing was kept. A store "
            f"needs about as much as half its text; free space or move data.store"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    log.info("built %s in %.1f s", final, perf_counter() - started)
    return final


def write_store(folder: Path, config: DataConfig, report: Progress) -> None:
    """Tokenizer, shards and, last, the manifest."""
    report("tokenizer", 0)
    tokenizer = make_tokenizer(config)
    (folder / TOKENIZER).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    splits = {
        source.language: write_language(folder, source, config, tokenizer, report)
        for source in config.sources
    }
    digest = xxhash.xxh3_64_hexdigest((folder / TOKENIZER).read_bytes())
    provenance: dict[str, object] = {
        "alignmlm": __version__,
        "sources": [asdict(source) for source in config.sources],
        "validation": config.validation,
    }
    manifest = Manifest(SCHEMA_VERSION, describe(tokenizer), digest, splits, provenance)
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
