"""Pairs: two sentences with a label, translations, words of a bilingual lexicon."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from alignmlm.data.text import normalise
from alignmlm.errors import DataError
from alignmlm.languages.dictionary import file_words
from alignmlm.storage.compression import damage_named, open_text
from alignmlm.tasks.examples import ParallelPair, SentencePair, WordPair
from alignmlm.tasks.splits import SplitFile
from alignmlm.tasks.tables import Row, cell, table_rows


def row_id(row: Row, file: SplitFile, number: int) -> str:
    """The id that a row gives itself, or its number."""
    column = file.columns.get("id")
    return str(number if column is None else row.get(column, number))


def pair_table(file: SplitFile, dropped: Counter[str]) -> Iterator[SentencePair]:
    """Rows with two sentences and a label; without `columns`, they are the first three.

    Raises:
        DataError: a row lacks a column, or its label is empty.
    """
    roles = (("first", 1), ("second", 2), ("label", 3))
    for number, (place, row) in enumerate(table_rows(file)):
        first, second, label = (
            str(cell(row, file.column(role, column), place)) for role, column in roles
        )
        if not label.strip():
            raise DataError(f"{place}: the pair has no label; a test set without labels has none")
        if label in file.drop_labels:
            dropped[f"labelled {label}"] += 1
        elif not (normalise(first) and normalise(second)):
            dropped["empty"] += 1
        else:
            named = file.label_values.get(label, label)
            yield SentencePair(first, second, named, row_id(row, file, number))


def sentence_table(file: SplitFile, dropped: Counter[str]) -> Iterator[ParallelPair]:
    """Rows with a sentence and its translation; without `columns`, they are the first two.

    Raises:
        DataError: a row lacks a column.
    """
    for number, (place, row) in enumerate(table_rows(file)):
        source, target = (
            str(cell(row, file.column(role, column), place))
            for role, column in (("source", 1), ("target", 2))
        )
        if normalise(source) and normalise(target):
            yield ParallelPair(source, target, row_id(row, file, number))
        else:
            dropped["empty"] += 1


def all_lines(path: Path) -> list[str]:
    """The lines of a text file, empty ones too.

    Raises:
        DataError: the file is not UTF-8 or is damaged.
    """
    with damage_named(path), open_text(path) as file:
        return [line.rstrip("\r\n") for line in file]


def line_files(file: SplitFile, dropped: Counter[str]) -> Iterator[ParallelPair]:
    """Lines of two files, the second one's a translation of the first one's.

    Raises:
        DataError: one file has more lines than the other.
    """
    sources, targets = all_lines(file.file), all_lines(file.other_file)
    if len(sources) != len(targets):
        raise DataError(
            f"{file.path} has {len(sources)} lines, but {file.other} has {len(targets)}; each "
            f"line must be the other's translation"
        )
    for number, (source, target) in enumerate(zip(sources, targets, strict=True), start=1):
        if normalise(source) and normalise(target):
            yield ParallelPair(source, target, f"line {number}")
        else:
            dropped["empty"] += 1


def word_pairs(file: SplitFile, dropped: Counter[str]) -> Iterator[WordPair]:
    """Words and their translations, one pair a line; the same pair again is left out.

    Raises:
        DataError: a line has not exactly two words.
    """
    seen: set[tuple[str, str]] = set()
    for number, pair in enumerate(file_words(file.file), start=1):
        if pair in seen:
            dropped["repeated"] += 1
        else:
            seen.add(pair)
            yield WordPair(*pair, f"line {number}")
