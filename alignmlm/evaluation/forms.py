"""Labelled files of known forms as labelled sentences."""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alignmlm.data.sources import open_text
from alignmlm.errors import DataError


@dataclass(frozen=True, slots=True)
class LabelledSentence:
    """Words of one sentence, each with its label."""

    words: tuple[str, ...]
    labels: tuple[str, ...]
    joined: tuple[bool, ...]  # whether no space stands between a word and the one before


def conllu_blocks(path: Path) -> Iterator[list[tuple[int, list[str]]]]:
    """Sentences of a CoNLL-U file: line number and columns of each line.

    Raises:
        DataError: a line without 10 columns, or a file that is not UTF-8 or a damaged gzip.
    """
    block: list[tuple[int, list[str]]] = []
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, start=1):
                if line.startswith("#"):
                    continue
                if line.strip():
                    columns = line.rstrip("\n").split("\t")
                    if len(columns) != 10:
                        raise DataError(f"{path}:{number}: a CoNLL-U line has 10 columns: {line!r}")
                    block.append((number, columns))
                elif block:
                    yield block
                    block = []
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{path} is not UTF-8 text or not a whole gzip file: {error}") from error
    if block:
        yield block


def joined_words(block: list[tuple[int, list[str]]]) -> set[str]:
    """Ids of the words that no space parts from the word before.

    Words of a multi-word token are joined where their forms spell it ("do" + "n't").
    Source: https://universaldependencies.org/format.html (SpaceAfter, ranges).
    """
    lines = [columns for _, columns in block]
    forms = {columns[0]: columns[1] for columns in lines}
    inside: set[str] = set()
    joined: set[str] = set()
    for columns in lines:
        first, _, last = columns[0].partition("-")
        if "." in columns[0]:
            continue
        span = [str(i) for i in range(int(first), int(last or first) + 1)]
        if last and "".join(forms.get(i, "") for i in span) == columns[1]:
            joined |= set(span[1:])
        inside |= set(span) if last else set()
        if "SpaceAfter=No" in columns[9].split("|") and (last or first not in inside):
            joined.add(str(int(span[-1]) + 1))
    return joined


def conllu_upos(path: Path) -> Iterator[LabelledSentence]:
    """Sentences of a CoNLL-U file, labelled with their universal parts of speech.

    Raises:
        DataError: the file is no CoNLL-U, or a word has no tag.
    """
    for block in conllu_blocks(path):
        try:
            joined = joined_words(block)
        except ValueError as error:
            raise DataError(f"{path}:{block[0][0]}: a word id is no number: {error}") from error
        rows = [(number, columns) for number, columns in block if columns[0].isdigit()]
        for number, columns in rows:
            if columns[3] in ("", "_"):
                raise DataError(f"{path}:{number}: word {columns[1]!r} has no part of speech")
        words, labels = ([columns[at] for _, columns in rows] for at in (1, 3))
        flags = tuple(columns[0] in joined for _, columns in rows)
        yield LabelledSentence(tuple(words), tuple(labels), flags)


FORMS: dict[str, Callable[[Path], Iterator[LabelledSentence]]] = {"conllu_upos": conllu_upos}


def read_sentences(path: Path, form: str) -> list[LabelledSentence]:
    """All sentences of a file of a known form.

    Raises:
        DataError: the file has none, or cannot be read.
    """
    sentences = [sentence for sentence in FORMS[form](path) if sentence.words]
    if not sentences:
        raise DataError(f"{path} has no sentences")
    return sentences


def label_names(
    train: list[LabelledSentence], others: dict[str, list[LabelledSentence]]
) -> list[str]:
    """The labels of the training sentences, sorted.

    Raises:
        DataError: another split has a label that the training sentences lack.
    """
    known = sorted({label for sentence in train for label in sentence.labels})
    for split, sentences in others.items():
        found = {label for sentence in sentences for label in sentence.labels}
        if unknown := sorted(found.difference(known)):
            raise DataError(f"{split} has labels that train lacks: {unknown}; train has {known}")
    return known
