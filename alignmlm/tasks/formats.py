"""Readers of labelled files: one for each known format."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from alignmlm.errors import ConfigError, DataError, listed, nearest, quoted
from alignmlm.storage.registry import Registry
from alignmlm.tasks.examples import (
    Example,
    LabelledSentence,
    ParallelPair,
    Question,
    SentencePair,
    SplitFile,
    WordPair,
    labels_of,
    texts_of,
)
from alignmlm.tasks.pairs import line_files, pair_table, sentence_table, word_pairs
from alignmlm.tasks.questions import question_table, squad_json
from alignmlm.tasks.sentences import conll_columns, conllu_upos, token_table

Reader = Callable[[SplitFile, Counter[str]], Iterator[Any]]  # counts dropped examples


@dataclass(frozen=True, slots=True)
class Format:
    """A format of labelled files, and how its examples are read."""

    read: Reader
    example: type  # of its examples; tasks whose kind has such examples may use it
    columns: tuple[str, ...] = ()  # roles of columns that a task may name
    unused: tuple[str, ...] = ()  # keys of a split that mean nothing in it
    two_files: bool = False
    hub: bool = False  # whether a hub dataset may have this format
    trees: bool = False  # whether it holds dependency trees of its sentences


LABELS = ("label_values", "drop_labels")
FORMATS: Registry[Format] = Registry(
    "formats",
    (Format,),
    {
        # Universal Dependencies: words and their parts of speech
        "conllu_upos": Format(conllu_upos, LabelledSentence, unused=("strip_prefix",), trees=True),
        # one word per line, blank lines between sentences
        "conll_columns": Format(conll_columns, LabelledSentence, ("word", "label")),
        # rows with a list of words and a list of labels
        "token_table": Format(token_table, LabelledSentence, ("words", "labels", "id"), hub=True),
        # rows with two sentences and a label
        "pair_table": Format(
            pair_table,
            SentencePair,
            ("first", "second", "label", "id"),
            unused=("strip_prefix",),
            hub=True,
        ),
        # the JSON of SQuAD 1.1 and 2.0
        "squad_json": Format(squad_json, Question, unused=("strip_prefix", *LABELS)),
        # rows with a context, a question and its answers
        "question_table": Format(
            question_table,
            Question,
            ("context", "question", "answers", "id"),
            unused=("strip_prefix", *LABELS),
            hub=True,
        ),
        # two files whose lines are translations of each other
        "line_files": Format(
            line_files, ParallelPair, unused=("strip_prefix", *LABELS), two_files=True
        ),
        # rows with two sentences
        "sentence_table": Format(
            sentence_table,
            ParallelPair,
            ("source", "target", "id"),
            unused=("strip_prefix", *LABELS),
            hub=True,
        ),
        # two words per line
        "word_pairs": Format(word_pairs, WordPair, unused=("strip_prefix", *LABELS)),
    },
)


def formats_of(example: type) -> list[str]:
    """The formats that give examples of a type."""
    return [name for name in FORMATS if FORMATS[name].example is example]


@dataclass(frozen=True, slots=True)
class SplitExamples:
    """The examples of one split, and how many were dropped."""

    examples: list[Any]  # all of one class of alignmlm.tasks.examples
    dropped: Counter[str]  # examples, by reason


def without_repeats(
    examples: Iterator[Example], file: SplitFile, dropped: Counter[str]
) -> Iterator[Example]:
    """Examples with unique ids; exact repeats are dropped.

    Raises:
        DataError: two different examples have the same id.
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


def read_split(file: SplitFile) -> SplitExamples:
    """The examples of a split.

    Raises:
        DataError: it has none, or cannot be read.
    """
    dropped: Counter[str] = Counter()
    raw_examples = file.taken(FORMATS[file.form].read(file, dropped), dropped)
    examples = list(without_repeats(raw_examples, file, dropped))
    if not examples:
        inside = f" in rows {file.rows}" if file.rows else ""
        left_out = f": all were left out, {dict(dropped)}" if dropped else ""
        raise DataError(f"{file.path} has no examples{inside}{left_out}")
    return SplitExamples(examples, dropped)


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


def check_roles(columns: dict[str, str | int], forms: Iterable[str], place: str) -> None:
    """Raise unless each column has a role that one of the forms knows.

    Raises:
        ConfigError: one does not.
    """
    allowed = [role for form in forms for role in FORMATS[form].columns]
    for role in columns:
        if role not in allowed:
            requirement = (
                f"be one of {allowed}{nearest(str(role), allowed)}" if allowed else "be left out"
            )
            raise ConfigError(f"{place}: key", role, f"{requirement} (form {', '.join(forms)})")


def check_used(file: SplitFile, place: str) -> None:
    """Raise unless the form of a split uses each key that the split has.

    Raises:
        ConfigError: it does not.
    """
    for key in FORMATS[file.form].unused:
        if value := getattr(file, key):
            users = [form for form in FORMATS if key not in FORMATS[form].unused]
            requirement = f"be left out: form {file.form} has no use for it, only {users} have"
            raise ConfigError(f"{place}: {key}", value, requirement)
