"""Pairs: two sentences with a label, translations, words of a bilingual lexicon."""

from collections import Counter
from collections.abc import Iterator

from alignmlm.data.text import normalise
from alignmlm.errors import DataError, quoted
from alignmlm.languages.dictionary import file_words
from alignmlm.storage.cells import as_label, cell
from alignmlm.storage.text import numbered_lines
from alignmlm.tasks.examples import ParallelPair, SentencePair, SplitFile, WordPair
from alignmlm.tasks.tables import row_id, row_text, table_rows

LABEL_HEADERS = ("label", "gold_label")  # names that public files give the column


def left_out(*texts: str | None) -> str:
    """Why an example with these texts is dropped: "null" or "empty"; "" where it is kept."""
    if None in texts:
        return "null"
    return "" if all(normalise(text) for text in texts if text is not None) else "empty"


def pair_table(file: SplitFile, dropped: Counter[str]) -> Iterator[SentencePair]:
    """Rows with two sentences and a label; without `columns`, they are the first three.

    Raises:
        ConfigError: two roles have the same column.
        DataError: a row lacks a column, a cell is not text, its label is empty, or the first row
            is a header.
    """
    file.check_apart(first=1, second=2, label=3)
    column = file.column("label", 3)
    for number, (place, row) in enumerate(table_rows(file)):
        first = row_text(row, file, "first", 1, place)
        second = row_text(row, file, "second", 2, place)
        label = as_label(cell(row, column, place), "the label", place)
        if not normalise(label):
            raise DataError(f"{place}: the pair has no label; a test set without labels has none")
        reason = file.unwanted([label]) or left_out(first, second)
        unnamed = number == 0 and not reason and isinstance(column, int)
        if unnamed and label.lower() in LABEL_HEADERS:
            remedy = "name the columns, {first: ..., second: ..., label: ...}, by its cells"
            raise DataError(f"{place}: the label is {quoted(label)}, so this is a header; {remedy}")
        if reason:
            dropped[reason] += 1
        else:
            named = file.named(label)
            yield SentencePair(first or "", second or "", named, row_id(row, file, number, place))


def sentence_table(file: SplitFile, dropped: Counter[str]) -> Iterator[ParallelPair]:
    """Rows with a sentence and its translation; without `columns`, they are the first two.

    Raises:
        ConfigError: both have the same column.
        DataError: a row lacks a column, or a cell is not text.
    """
    file.check_apart(source=1, target=2)
    for number, (place, row) in enumerate(table_rows(file)):
        source = row_text(row, file, "source", 1, place)
        target = row_text(row, file, "target", 2, place)
        if reason := left_out(source, target):
            dropped[reason] += 1
        else:
            yield ParallelPair(source or "", target or "", row_id(row, file, number, place))


def line_files(file: SplitFile, dropped: Counter[str]) -> Iterator[ParallelPair]:
    """Lines of two files; each line of the second translates the same line of the first.

    Raises:
        DataError: one file has more lines than the other.
    """
    sources, targets = (
        [line for _, line in numbered_lines(path)] for path in (file.file, file.other_file)
    )
    if len(sources) != len(targets):
        raise DataError(
            f"{file.path} has {len(sources)} lines, but {file.other} has {len(targets)}; each "
            f"line must be the other's translation"
        )
    for number, (source, target) in enumerate(zip(sources, targets, strict=True), start=1):
        if reason := left_out(source, target):
            dropped[reason] += 1
        else:
            yield ParallelPair(source, target, f"line {number}")


def word_pairs(file: SplitFile, dropped: Counter[str]) -> Iterator[WordPair]:
    """Words and their translations, one pair per line; repeated pairs are dropped.

    Raises:
        DataError: a line does not have exactly two words.
    """
    seen: set[tuple[str, str]] = set()
    for number, pair in enumerate(file_words(file.file), start=1):
        if pair in seen:
            dropped["repeated"] += 1
        else:
            seen.add(pair)
            yield WordPair(*pair, f"line {number}")
