"""Importing tokens of other projects as a store of one language, which appears atomically."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import rmtree

import numpy as np
import xxhash

from alignmlm import __version__
from alignmlm.corpus.parts import DOCUMENT, document_record, is_validation
from alignmlm.corpus.token_bounds import Found, Importer, find_bounds, make_importer
from alignmlm.corpus.workspace import Workspace, locked, remove_workspace
from alignmlm.data.shards import ShardEntry, token_dtype, write_shard
from alignmlm.data.store import MANIFEST, SCHEMA_VERSION, TOKENIZER, TRAIN, VALIDATION, Manifest
from alignmlm.errors import ConfigError, DataError
from alignmlm.interchange.foreign import TokenFile, open_tokens
from alignmlm.languages.sentences import Sentences
from alignmlm.languages.settings import BASE
from alignmlm.storage.atomic import rename, replace_bytes, sync, sync_tree

BATCH_TOKENS = 2**18


@dataclass(frozen=True, slots=True)
class Document:
    """A document to be stored: its runs of tokens, with words and sentences."""

    runs: list[Found]
    changed: bool  # the tokenizer would split its text differently

    @property
    def lines(self) -> list[str]:
        """Its sentences, normalised."""
        return [line for run in self.runs for line in run.lines]

    def closed(self, dtype: np.dtype, eos: int) -> Sentences:
        """Its tokens, with </s> as a sentence of its own at the end."""
        ids = np.concatenate([*(run.ids for run in self.runs), [eos]]).astype(dtype)
        words = np.concatenate([*(run.word_starts for run in self.runs), [True]])
        starts = np.concatenate([*(run.sentence_starts for run in self.runs), [True]])
        return Sentences(ids, words, starts)


Runs = list[np.ndarray]  # token ids of one document


def check_ids(importer: Importer, file: TokenFile, number: int, ids: np.ndarray) -> None:
    """Raise unless all ids of a document are in the vocabulary.

    Raises:
        DataError: one is not.
    """
    size = importer.vocabulary.size
    wrong = (ids < 0) | (ids >= size)
    if np.any(wrong):
        raise DataError(
            f"{file.path}: document {number} has token {ids[np.argmax(wrong)]}, and the tokenizer "
            f"has 0 to {size - 1}; give the tokenizer that the file was made with"
        )


def read_documents(importer: Importer, file: TokenFile) -> Iterator[Runs]:
    """Documents as runs of tokens: sequences of a file, split at special tokens.

    A special token, unless it is <unk> or <mask>, is left out and ends a document.
    """
    for number in range(file.documents):
        runs: Runs = []
        for ids in file.document(number):
            check_ids(importer, file, number, ids)
            cuts = np.flatnonzero(importer.parting[ids])
            for place, run in enumerate(np.split(ids, cuts)):
                if place and runs:
                    yield runs
                    runs = []
                if len(text := run[1:] if place else run):
                    runs.append(text)
        if runs:
            yield runs


def batches(documents: Iterator[Runs]) -> Iterator[list[Runs]]:
    """Documents, BATCH_TOKENS or more at a time."""
    batch: list[Runs] = []
    tokens = 0
    for runs in documents:
        batch.append(runs)
        tokens += sum(map(len, runs))
        if tokens >= BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
    if batch:
        yield batch


def find_documents(importer: Importer, batch: list[Runs]) -> list[Document]:
    """Documents with their words and sentences; blank ones are left out."""
    runs_of_documents = [
        [run for ids in runs if (run := find_bounds(importer, ids))] for runs in batch
    ]
    texts = [run.text for runs in runs_of_documents for run in runs]
    again = iter(importer.tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    documents = []
    for runs in runs_of_documents:
        same = [next(again).ids == run.ids.tolist() for run in runs]
        documents.append(Document(runs, not all(same)))
    return [document for document in documents if document.runs]


@dataclass(slots=True)
class SplitWriter:
    """Writes the shards of a split, each as soon as it has shard_tokens tokens or more."""

    folder: Path
    shard_tokens: int
    dtype: np.dtype
    entries: list[ShardEntry] = field(default_factory=list)
    held: list[Sentences] = field(default_factory=list)
    tokens: int = 0

    def add(self, document: Sentences) -> None:
        """Add a document."""
        self.held.append(document)
        self.tokens += len(document.ids)
        if self.tokens >= self.shard_tokens:
            self.close()

    def close(self) -> None:
        """Write the documents held so far as a shard."""
        if not self.held:
            return
        names = ("ids", "word_starts", "sentence_starts")
        text = Sentences(*(np.concatenate([getattr(d, n) for d in self.held]) for n in names))
        stem = self.folder / f"shard-{len(self.entries):05d}"
        self.entries.append(write_shard(stem, text, self.dtype, len(self.held)))
        for ending in (".bin", ".idx"):
            sync(stem.with_suffix(ending))
        self.held, self.tokens = [], 0


@dataclass(slots=True)
class Imported:
    """Counts of an import."""

    files: list[str]
    tokens_read: int  # of the files
    tokens_left_out: int = 0  # special tokens and blank documents
    documents: int = 0
    documents_changed: int = 0  # that the tokenizer would split differently


def write_splits(
    importer: Importer,
    files: list[TokenFile],
    writers: dict[str, SplitWriter],
    progress: Callable[[float, int], None],
) -> Imported:
    """Write the tokens of all files to their splits; returns the counts."""
    total = Imported([file.path.name for file in files], sum(len(file.ids) for file in files))
    tokens_written = 0
    for file in files:
        for batch in batches(read_documents(importer, file)):
            tokens_written += write_batch(importer, find_documents(importer, batch), writers, total)
            progress(tokens_written / total.tokens_read, tokens_written)
    for writer in writers.values():
        writer.close()
    total.tokens_left_out = total.tokens_read - tokens_written
    return total


def write_batch(
    importer: Importer, documents: list[Document], writers: dict[str, SplitWriter], total: Imported
) -> int:
    """Write some documents to their splits; returns their number of foreign tokens."""
    records = [document_record(document.lines, importer.language) for document in documents]
    held_out = is_validation(np.array(records, DOCUMENT), importer.validation)
    tokens_written = 0
    for document, validation in zip(documents, held_out, strict=True):
        writer = writers[VALIDATION if validation else TRAIN]
        closed = document.closed(writer.dtype, importer.vocabulary.eos)
        writer.add(closed)
        tokens_written += len(closed.ids) - 1
        total.documents += 1
        total.documents_changed += document.changed
    return tokens_written


def check_settings(language: str, output: Path, validation: float, shard_tokens: int) -> None:
    """Raise unless a store can be made with some settings.

    Raises:
        ConfigError: a setting is out of its range.
        DataError: the folder is in use.
    """
    if not BASE.fullmatch(language):
        raise ConfigError("language", language, "look like 'eng-Latn'")
    if not 0 < validation < 1:
        raise ConfigError("validation", validation, "lie strictly between 0 and 1")
    if not 2**10 <= shard_tokens < 2**32:
        raise ConfigError("shard_tokens", shard_tokens, "lie in [1024, 2**32)")
    if output.exists():
        raise DataError(f"{output} exists; name another folder for the store")


def import_tokens(
    path: Path,
    tokenizer: Path,
    language: str,
    output: Path,
    *,
    validation: float = 0.02,
    shard_tokens: int = 2**24,
    progress: Callable[[float, int], None] = lambda share, tokens: None,
) -> Imported:
    """Make a store of one language from foreign tokens; returns the counts.

    `tokenizer` is the one that the tokens were made with; `progress` is called with the share of
    the tokens that are done and their number. The store appears atomically.

    Raises:
        DataError: files that are missing, damaged or cut off, a token beyond the vocabulary, a
            split without documents, or a folder in use.
        ConfigError: a setting out of its range.
    """
    check_settings(language, output, validation, shard_tokens)
    importer = make_importer(tokenizer, language, validation)
    files = open_tokens(path)
    place = Workspace(output.with_name(f"{output.name}.importing"))
    with locked(place, output):
        try:
            check_settings(language, output, validation, shard_tokens)  # output may exist by now
            total = write_store(importer, files, place.store, shard_tokens, progress)
            sync_tree(place.store)
            rename(place.store, output)
        finally:
            remove_workspace(place)
    return total


def write_store(
    importer: Importer,
    files: list[TokenFile],
    folder: Path,
    shard_tokens: int,
    progress: Callable[[float, int], None],
) -> Imported:
    """Write a store, its manifest last; returns the counts."""
    dtype, writers = token_dtype(importer.vocabulary.size), {}
    if folder.exists():
        rmtree(folder)  # of an import that was killed
    for split in (TRAIN, VALIDATION):
        writers[split] = SplitWriter(folder / importer.language / split, shard_tokens, dtype)
        writers[split].folder.mkdir(parents=True)
    total = write_splits(importer, files, writers, progress)
    for split, writer in writers.items():
        if not writer.entries:
            raise DataError(
                f"{files[0].path} gives no {split} document: of {total.documents} documents the "
                f"share {importer.validation} is held out; choose another share"
            )
    text = importer.tokenizer.to_str(pretty=True).encode()
    replace_bytes(folder / TOKENIZER, text)
    splits = {importer.language: {split: writer.entries for split, writer in writers.items()}}
    provenance: dict[str, object] = {
        "alignmlm": __version__,
        "imported": asdict(total),
        "validation": importer.validation,
    }
    digest = xxhash.xxh3_64_hexdigest(text)
    manifest = Manifest(SCHEMA_VERSION, importer.vocabulary, digest, splits, provenance)
    replace_bytes(folder / MANIFEST, manifest.to_json().encode())
    return total
