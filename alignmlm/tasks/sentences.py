"""Sentences with one label per word: CoNLL-U, columns, and rows of lists."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alignmlm.data.text import normalise
from alignmlm.errors import DataError, quoted
from alignmlm.languages.orders import FINAL_MARKS
from alignmlm.storage.cells import as_label, as_list, as_text, cell
from alignmlm.storage.conllu import blocks
from alignmlm.storage.tables import check_width
from alignmlm.storage.text import numbered_lines, split_blanks
from alignmlm.tasks.examples import LabelledSentence, SplitFile
from alignmlm.tasks.tables import row_id, table_rows

DOCUMENT = "-DOCSTART-"  # CoNLL-2003 has such a line between documents
Lines = list[tuple[int, str]]


def conllu_upos(file: SplitFile, dropped: Counter[str]) -> Iterator[LabelledSentence]:
    """Sentences of a CoNLL-U file, labelled with their universal parts of speech.

    Raises:
        DataError: the file is not CoNLL-U, or a word has no tag.
    """
    path = file.file
    for block in blocks(numbered_lines(path), path):
        tags = [row.columns[3].strip() for row in block.rows]
        if reason := file.unwanted(tags):
            dropped[reason] += 1
            continue
        for row, tag in zip(block.rows, tags, strict=True):
            if tag in ("", "_"):
                word = f"{path}:{row.number}: word {quoted(row.form)}"
                raise DataError(f"{word} has no part of speech")
        labels = tuple(map(file.named, tags))
        name = f"line {block.rows[0].number}"
        yield LabelledSentence(tuple(block.words), labels, tuple(block.joined()), name)


def column_blocks(path: Path) -> Iterator[Lines]:
    """Sentences of a file of columns: number and text of each line.

    Raises:
        DataError: the file cannot be read.
    """
    lines: Lines = []
    for number, line in numbered_lines(path):
        if line.strip(" \t") and not line.startswith(DOCUMENT):
            lines.append((number, line))
        elif lines:
            yield lines
            lines = []
    if lines:
        yield lines


def columns_of(line: str) -> list[str]:
    """The columns of a line: separated by tabs, or else by spaces."""
    return line.split("\t") if "\t" in line else split_blanks(line)


def word_and_label(line: str, place: str, file: SplitFile, count: int) -> tuple[str, str]:
    """The word and the label, as in the file, of a line that must have `count` columns.

    Raises:
        DataError: one of them is missing, the word lacks its prefix, or the line has more or
            fewer columns.
    """
    columns = columns_of(line)
    word_column, label_column = (file.number(role, n) for role, n in (("word", 1), ("label", -1)))
    if len(columns) < max(2, abs(word_column), abs(label_column)):
        raise DataError(f"{place}: {line[:80]!r} has no label; a line is a word and its label")
    check_width(columns, count, place)
    word, label = (columns[n - (n > 0)] for n in (word_column, label_column))
    word, label = prefixless(word, file.strip_prefix, place), label.strip()
    if not word or not label:
        raise DataError(f"{place}: {line[:80]!r} lacks its {'label' if word else 'word'}")
    return word, label


def spaced(words: Sequence[str]) -> tuple[bool, ...]:
    """Which words to join to the previous one if a file does not say: sentence-final marks.

    A sentence-final mark thus has the same token as in running text, and stays last.
    """
    return tuple(at > 0 and set(word) <= FINAL_MARKS for at, word in enumerate(words))


def conll_columns(file: SplitFile, dropped: Counter[str]) -> Iterator[LabelledSentence]:
    """Sentences of a file with one word and its label per line.

    Raises:
        ConfigError: words and labels have the same column.
        DataError: a line lacks its word or its label, or has not as many columns as the first one.
    """
    file.check_apart(word=1, label=-1)
    count = 0
    for lines in column_blocks(file.file):
        count = count or len(columns_of(lines[0][1]))
        pairs = [
            word_and_label(line, f"{file.path}:{number}", file, count) for number, line in lines
        ]
        words, labels = zip(*pairs, strict=True)
        if reason := file.unwanted(labels):
            dropped[reason] += 1
        else:
            named = tuple(map(file.named, labels))
            yield LabelledSentence(words, named, spaced(words), f"line {lines[0][0]}")


def token_table(file: SplitFile, dropped: Counter[str]) -> Iterator[LabelledSentence]:
    """Rows with a list of words and a list of labels, as hub datasets have them.

    Raises:
        DataError: a row lacks a list, has more or fewer labels than words, or an empty label.
    """
    for number, (place, row) in enumerate(table_rows(file)):
        raw_words, raw_labels = (
            as_list(cell(row, file.column(role, name), place), role, place)
            for role, name in (("words", "tokens"), ("labels", "labels"))
        )
        if len(raw_words) != len(raw_labels):
            raise DataError(f"{place}: {len(raw_words)} words, but {len(raw_labels)} labels")
        labels = [as_label(label, "each label", place) for label in raw_labels]
        words = tuple(prefixless(word, file.strip_prefix, place) for word in raw_words)
        if not all(map(normalise, labels)):
            raise DataError(f"{place}: a word has no label: {quoted(labels)}")
        if reason := file.unwanted(labels) or ("" if words else "empty"):
            dropped[reason] += 1
            continue
        named = tuple(map(file.named, labels))
        name = row_id(row, file, number, place, "id")
        yield LabelledSentence(words, named, spaced(words), name)


def prefixless(word: Any, prefix: str, place: str) -> str:
    """A word without the prefix that stands before every word.

    Raises:
        DataError: the word is not text, or lacks the prefix.
    """
    text = as_text(word, "each word", place)
    if not text.startswith(prefix):
        raise DataError(f"{place}: word {quoted(text)} does not begin with {quoted(prefix)}")
    return text.removeprefix(prefix)
