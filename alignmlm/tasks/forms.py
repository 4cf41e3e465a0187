"""Readers of labelled files: one for each known format."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from alignmlm.errors import DataError, listed, nearest, quoted
from alignmlm.tasks.examples import Example, labels_of, texts_of
from alignmlm.tasks.pairs import line_files, pair_table, sentence_table, word_pairs
from alignmlm.tasks.questions import question_table, squad_json
from alignmlm.tasks.sentences import conll_columns, conllu_upos, token_table
from alignmlm.tasks.splits import SplitFile

Reader = Callable[[SplitFile, Counter[str]], Iterator[Any]]  # counts dropped examples

FORMS: dict[str, Reader] = {
    "conllu_upos": conllu_upos,  # Universal Dependencies: words and their parts of speech
    "conll_columns": conll_columns,  # a word a line, blank lines between sentences
    "token_table": token_table,  # rows with a list of words and a list of labels
    "pair_table": pair_table,  # rows with two sentences and a label
    "squad_json": squad_json,  # the JSON of SQuAD 1.1 and 2.0
    "question_table": question_table,  # rows with a context, a question and its answers
    "line_files": line_files,  # two files, line by line translations
    "sentence_table": sentence_table,  # rows with two sentences
    "word_pairs": word_pairs,  # two words a line
}
TWO_FILES = frozenset(["line_files"])
HUB_FORMS = frozenset(["token_table", "pair_table", "question_table", "sentence_table"])


@dataclass(frozen=True, slots=True)
class Split:
    """The examples of one split, and how many were dropped."""

    examples: list[Any]  # all of one record of alignmlm.tasks.examples
    dropped: Counter[str]  # examples, by reason


def without_repeats(
    examples: Iterator[Example], file: SplitFile, dropped: Counter[str]
) -> Iterator[Example]:
    """Examples with unique ids; exact repeats are dropped.

    Raises:
        DataError: one id with two contents.
    """
    seen: dict[str, Example] = {}
    for number, example in enumerate(examples):
        known = replace(example, id=str(number)) if file.ids == "rows" else example
        first = seen.setdefault(known.id, known)
        if first is known:
            yield known
        elif first == known:
            dropped["repeated"] += 1
        else:
            raise DataError(
                f"{file.path}: id {quoted(known.id)} is of two different examples, "
                f"{shown(first)} and {shown(known)}; 'ids: rows' numbers the rows instead"
            )


def shown(example: Example) -> str:
    """The beginning of an example's last text, for messages."""
    return repr(texts_of(example)[-1][:60])


def read_split(file: SplitFile) -> Split:
    """The examples of a split.

    Raises:
        DataError: it has none, or cannot be read.
    """
    dropped: Counter[str] = Counter()
    raw_examples = file.taken(FORMS[file.form](file, dropped))
    examples = list(without_repeats(raw_examples, file, dropped))
    if not examples:
        left_out = f": all were left out, {dict(dropped)}" if dropped else ""
        raise DataError(f"{file.path} has no examples{left_out}")
    return Split(examples, dropped)


def label_names(train: Sequence[Example], others: Mapping[str, Sequence[Example]]) -> list[str]:
    """The labels of the training examples, sorted.

    Raises:
        DataError: another split has a label that the training examples lack.
    """
    known = sorted(set(chain.from_iterable(map(labels_of, train))))
    for split, examples in others.items():
        split_labels = set(chain.from_iterable(map(labels_of, examples)))
        if unknown := sorted(split_labels.difference(known)):
            hint = nearest(unknown[0], known)
            raise DataError(
                f"{split} has labels that train lacks: {listed(unknown)}; "
                f"train has {listed(known)}{hint}"
            )
    return known
