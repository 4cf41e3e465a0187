"""A store as Parquet: a row for each document, a file for each shard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from alignmlm.data.shards import Shard
from alignmlm.data.store import TOKENIZER, Store
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import DataError
from alignmlm.languages.sentences import Sentences

if TYPE_CHECKING:
    from datasets import Features


def columns(dtype: np.dtype) -> "Features":
    """The columns of the files; starts are places in `ids`, from 0."""
    from datasets import Features, List, Value

    place = List(Value("uint32"))
    return Features(
        {
            "document": Value("int64"),  # number within the split
            "text": Value("string"),  # without </s>
            "ids": List(Value(dtype.name)),  # with the </s> that closes the document
            "word_starts": place,
            "sentence_starts": place,
        }
    )


def shard_documents(shard: Shard, eos: int) -> Iterator[Sentences]:
    """The documents of a shard, each with its </s>."""
    text, _ = shard.sentences(0, shard.entry.tokens)
    bounds = [0, *(np.flatnonzero(text.ids == eos) + 1).tolist()]
    if bounds[-1] < len(text.ids):
        bounds.append(len(text.ids))
    for start, stop in pairwise(bounds):
        yield text.part(start, stop)


def shard_rows(
    shard: Shard, tokenizer: Tokenizer, eos: int, first: int
) -> Iterator[dict[str, object]]:
    """The rows of a shard, whose first document has a number."""
    for number, document in enumerate(shard_documents(shard, eos), start=first):
        ids = document.ids.astype(shard.dtype)
        yield {
            "document": number,
            "text": tokenizer.decode(ids[ids != eos].tolist(), skip_special_tokens=False),
            "ids": ids,
            "word_starts": np.flatnonzero(document.word_starts).astype(np.uint32),
            "sentence_starts": np.flatnonzero(document.sentence_starts).astype(np.uint32),
        }


def write_parquet(path: Path, shard: Shard, tokenizer: Tokenizer, eos: int, first: int) -> int:
    """Write the documents of a shard; how many there are."""
    from datasets import IterableDataset

    documents = 0

    def rows() -> Iterator[dict[str, object]]:
        nonlocal documents
        for row in shard_rows(shard, tokenizer, eos, first):
            documents += 1
            yield row

    found = IterableDataset.from_generator(rows, features=columns(shard.dtype))
    with bars_hidden():
        found.to_parquet(str(path))
    return documents


@contextmanager
def bars_hidden() -> Iterator[None]:
    """No progress bar of `datasets`, which has one for each file."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_hidden = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_hidden:
            enable_progress_bars()


def export_parquet(
    store: Path,
    output: Path,
    language: str,
    split: str,
    progress: Callable[[float], None] = lambda share: None,
) -> list[Path]:
    """Write a split of a store as Parquet into a new folder; its files, one for each shard.

    At most one shard is in memory; every block of it is verified. The folder appears whole, and
    `datasets.load_dataset("parquet", data_files=...)` reads it.

    Raises:
        DataError: a folder in use, a language or split that the store does not have, or damage.
    """
    opened, tokenizer = Store(store), load_tokenizer(store / TOKENIZER)
    if output.exists():
        raise DataError(f"{output} exists; name another folder for the Parquet files")
    if split not in (splits := opened.manifest.splits.get(language, {split: []})):
        raise DataError(f"{store} has no split {split!r} of {language}; it has {', '.join(splits)}")
    shards = opened.split(language, split).shards
    partial = output.with_name(f"{output.name}.exporting")
    if partial.exists():
        rmtree(partial)  # of an export that was killed
    partial.mkdir(parents=True)
    documents, names = 0, []
    try:
        for number, shard in enumerate(shards):
            names.append(f"{split}-{number:05d}-of-{len(shards):05d}.parquet")
            path, eos = partial / names[-1], opened.vocabulary.eos
            documents += write_parquet(path, shard, tokenizer, eos, documents)
            progress((number + 1) / len(shards))
        partial.rename(output)
    except BaseException:
        rmtree(partial)
        raise
    return [output / name for name in names]
