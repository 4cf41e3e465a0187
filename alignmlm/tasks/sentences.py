"""Sentences with a label a word: CoNLL-U, columns, and rows of lists."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alignmlm.corpus.conllu import Block, blocks, words_of_block
from alignmlm.errors import DataError
from alignmlm.languages.orders import FINAL_MARKS
from alignmlm.storage.compression import damage_named, open_text
from alignmlm.tasks.examples import LabelledSentence
from alignmlm.tasks.splits import SplitFile
from alignmlm.tasks.tables import cell, table_rows

DOCUMENT = "-DOCSTART-"  # CoNLL-2003 has such a line between documents
Lines = list[tuple[int, str]]


def conllu_blocks(path: Path) -> Iterator[Block]:
    """Sentences of a CoNLL-U file: line number and columns of each line.

    Raises:
        DataError: a line without 10 columns, or a file that is not UTF-8 or is damaged.
    """
    with damage_named(path), open_text(path) as file:
        yield from blocks(enumerate(file, start=1), path)


def conllu_upos(file: SplitFile, dropped: Counter[str]) -> Iterator[LabelledSentence]:
    """Sentences of a CoNLL-U file, labelled with their universal parts of speech.

    Raises:
        DataError: the file is no CoNLL-U, or a word has no tag.
    """
    path = file.file
    for block in conllu_blocks(path):
        words, joined = words_of_block(block, path)
        rows = [(number, columns) for number, columns in block if columns[0].isdigit()]
        for number, columns in rows:
            if columns[3] in ("", "_"):
                raise DataError(f"{path}:{number}: word {columns[1]!r} has no part of speech")
        labels = tuple(file.label_values.get(columns[3], columns[3]) for _, columns in rows)
        if words:
            name = f"line {block[0][0]}"
            yield LabelledSentence(tuple(words), labels, tuple(joined), name)


def column_blocks(path: Path) -> Iterator[Lines]:
    """Sentences of a file of columns: number and text of each line.

    Raises:
        DataError: the file is not UTF-8 or is damaged.
    """
    lines: Lines = []
    with damage_named(path), open_text(path) as file:
        for number, raw in enumerate(file, start=1):
            line = raw.rstrip("\r\n")
            if line.strip(" "):
                lines += [] if line.startswith(DOCUMENT) else [(number, line)]
            elif lines:
                yield lines
                lines = []
    if lines:
        yield lines


def word_and_label(line: str, place: str, file: SplitFile) -> tuple[str, str]:
    """The word and the label of a line; tabs part its columns, or spaces where it has no tab.

    Raises:
        DataError: one of them is missing, or the word lacks its prefix.
    """
    columns = line.split("\t") if "\t" in line else line.split()
    word_column, label_column = (file.column(role, n) for role, n in (("word", 1), ("label", -1)))
    least = max(2, int(word_column), int(label_column))
    if len(columns) < least:
        raise DataError(f"{place}: {line!r} has no label; a line is a word and its label")
    word, label = (columns[int(n) - (int(n) > 0)] for n in (word_column, label_column))
    if not word.startswith(file.strip_prefix):
        raise DataError(f"{place}: word {word!r} does not begin with {file.strip_prefix!r}")
    word, label = word.removeprefix(file.strip_prefix), label.strip()
    if not word or not label:
        raise DataError(f"{place}: {line!r} lacks its {'label' if word else 'word'}")
    return word, file.label_values.get(label, label)


def spaced(words: Sequence[str]) -> tuple[bool, ...]:
    """Which words of a file without spaces no space parts from the word before: its final marks.

    So a mark that closes a sentence has the token that it has in running text, and stays last.
    """
    return tuple(at > 0 and set(word) <= FINAL_MARKS for at, word in enumerate(words))


def conll_columns(file: SplitFile, dropped: Counter[str]) -> Iterator[LabelledSentence]:
    """Sentences of a file with a word and its label a line.

    Raises:
        DataError: a line lacks its word or its label.
    """
    for lines in column_blocks(file.file):
        pairs = [word_and_label(line, f"{file.path}:{number}", file) for number, line in lines]
        words, labels = zip(*pairs, strict=True)
        yield LabelledSentence(words, labels, spaced(words), f"line {lines[0][0]}")


def token_table(file: SplitFile, dropped: Counter[str]) -> Iterator[LabelledSentence]:
    """Rows with a list of words and a list of labels, as hub datasets have them.

    Raises:
        DataError: a row lacks a list, or has more or fewer labels than words.
    """
    for number, (place, row) in enumerate(table_rows(file)):
        words, labels = (
            listed(cell(row, file.column(role, name), place), role, place)
            for role, name in (("words", "tokens"), ("labels", "labels"))
        )
        if len(words) != len(labels):
            raise DataError(f"{place}: {len(words)} words, but {len(labels)} labels")
        if not words:
            dropped["empty"] += 1
            continue
        named = tuple(file.label_values.get(label, label) for label in labels)
        stripped = tuple(word.removeprefix(file.strip_prefix) for word in words)
        name = str(row.get(file.column("id", "id"), number))
        yield LabelledSentence(stripped, named, spaced(stripped), name)


def listed(value: Any, role: str, place: str) -> list[str]:
    """A cell that holds a list, each entry as text.

    Raises:
        DataError: it holds something else.
    """
    if not isinstance(value, list | tuple):
        raise DataError(f"{place}: {role} must be a list, found {value!r}")
    return [str(entry) for entry in value]
