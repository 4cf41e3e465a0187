"""Labelled files of known forms as labelled sentences."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alignmlm.data.compression import damage_named, open_text
from alignmlm.data.conllu import Block, blocks, words_of_block
from alignmlm.errors import DataError


@dataclass(frozen=True, slots=True)
class LabelledSentence:
    """Words of one sentence, each with its label."""

    words: tuple[str, ...]
    labels: tuple[str, ...]
    joined: tuple[bool, ...]  # whether no space stands between a word and the one before


def conllu_blocks(path: Path) -> Iterator[Block]:
    """Sentences of a CoNLL-U file: line number and columns of each line.

    Raises:
        DataError: a line without 10 columns, or a file that is not UTF-8 or is damaged.
    """
    with damage_named(path), open_text(path) as file:
        yield from blocks(enumerate(file, start=1), path)


def conllu_upos(path: Path) -> Iterator[LabelledSentence]:
    """Sentences of a CoNLL-U file, labelled with their universal parts of speech.

    Raises:
        DataError: the file is no CoNLL-U, or a word has no tag.
    """
    for block in conllu_blocks(path):
        words, joined = words_of_block(block, path)
        rows = [(number, columns) for number, columns in block if columns[0].isdigit()]
        for number, columns in rows:
            if columns[3] in ("", "_"):
                raise DataError(f"{path}:{number}: word {columns[1]!r} has no part of speech")
        labels = tuple(columns[3] for _, columns in rows)
        yield LabelledSentence(tuple(words), labels, tuple(joined))


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
