"""Labelled files and their examples: a record of how a file is read, and one for each example."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from alignmlm.corpus.sources import HUB_PREFIX, expand_path
from alignmlm.errors import ConfigError, DataError
from alignmlm.storage.typed_settings import DataPath, Verbatim, check_section

IDS = ("file", "rows")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitFile:
    """A file of labelled examples, or two files that belong together line by line."""

    path: DataPath  # or "hub:<org>/<name>:<config>:<split>" for forms that are tables
    form: str
    language: str = "eng-Latn"  # of its text
    other: DataPath = ""  # second file of a form that has two
    columns: dict[str, Verbatim | int] = field(default_factory=dict)  # role: name, or number from 1
    strip_prefix: Verbatim = ""  # removed from the front of every word: "en:"
    label_values: dict[str, Verbatim] = field(default_factory=dict)  # label in the file: its name
    drop_labels: list[Verbatim] = field(default_factory=list)  # examples with these are left out
    rows: list[int] = field(default_factory=list)  # first example, from 0, and one past the last
    ids: str = "file"  # "rows": examples are numbered, whatever ids the file gives

    def __post_init__(self) -> None:
        if self.ids not in IDS:
            raise ConfigError(f"ids of {self.path}", self.ids, f"be one of {list(IDS)}")
        for label in self.label_values.values():
            if not label or label != label.strip():
                requirement = "be labels without space around them"
                raise ConfigError(f"label_values of {self.path}", self.label_values, requirement)
        ordered = len(self.rows) == 2 and 0 <= self.rows[0] < self.rows[1]
        if self.rows and not ordered:
            requirement = "be the first row from 0 and the row after the last, as in [0, 500]"
            raise ConfigError(f"rows of {self.path}", self.rows, requirement)

    @property
    def is_hub(self) -> bool:
        """Whether it is a dataset of the Hugging Face hub, not a file."""
        return self.path.startswith(HUB_PREFIX)

    @property
    def file(self) -> Path:
        """The path of the file, with environment variables expanded."""
        return expand_path(self.path)

    @property
    def other_file(self) -> Path:
        """The path of the second file."""
        return expand_path(self.other)

    def column(self, role: str, default: str | int) -> str | int:
        """The name of a column, or its number from 1."""
        return self.columns.get(role, default)

    def number(self, role: str, default: int) -> int:
        """The number of a column, from 1, or from -1 backwards.

        Raises:
            ConfigError: it is a name, or 0.
        """
        column = self.column(role, default)
        if not isinstance(column, int) or isinstance(column, bool) or column == 0:
            requirement = "be a number: columns count from 1, the last one is -1"
            raise ConfigError(f"columns of {self.path}: {role}", column, requirement)
        return column

    def check_apart(self, **defaults: str | int) -> None:
        """Raise unless the given roles, with their default columns, all have different columns.

        Raises:
            ConfigError: two share a column.
        """
        used = {role: self.column(role, default) for role, default in defaults.items()}
        if len(set(used.values())) < len(used):
            raise ConfigError(f"columns of {self.path}", used, "be different for each role")

    def unwanted(self, labels: Iterable[str]) -> str:
        """Why an example with some labels of the file is dropped: "labelled X"; "" if kept."""
        return next((f"labelled {label}" for label in labels if label in self.drop_labels), "")

    def named(self, label: str) -> str:
        """The name of a label of the file."""
        return self.label_values.get(label, label)

    def taken(self, examples: Iterator[Any], dropped: Counter[str]) -> Iterator[Any]:
        """The examples of the wanted rows; `dropped` no longer counts what came before them.

        Raises:
            DataError: the file ends before the last of them.
        """
        start, stop = self.rows or (0, None)
        count = 0
        for count, example in enumerate(examples, start=1):
            if count <= start:
                dropped.clear()
                continue
            yield example
            if count == stop:
                return
        if stop is not None:
            raise DataError(f"{self.path} has {count:,} examples, but rows = {self.rows}")


def check_split_keys(mapping: dict[str, Any], place: str) -> None:
    """Raise unless a split's mapping has known keys, values of their types, and a path.

    Raises:
        ConfigError: it does not.
    """
    check_section(SplitFile, mapping, "", place, whole=False)
    if "path" not in mapping:
        raise ConfigError(f"{place}: keys", list(mapping), "include a path, or a hub dataset")
    if not mapping["path"]:
        raise ConfigError(f"{place}: path", mapping["path"], "name a file, or a hub dataset")


@dataclass(frozen=True, slots=True)
class LabelledSentence:
    """Words of one sentence, each with its label."""

    words: tuple[str, ...]
    labels: tuple[str, ...]
    joined: tuple[bool, ...]  # whether no space stands between a word and the one before
    id: str = ""

    def __post_init__(self) -> None:
        if not len(self.words) == len(self.labels) == len(self.joined):
            raise ValueError(f"{len(self.words)} words, but {len(self.labels)} labels")


@dataclass(frozen=True, slots=True)
class SentencePair:
    """Two sentences and the label of their relation."""

    first: str
    second: str
    label: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A part of a context."""

    text: str
    start: int  # its first character in the context

    @property
    def stop(self) -> int:
        """The end of the answer in the context, exclusive."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a context, and the parts of the context that answer it."""

    context: str
    question: str
    answers: tuple[Answer, ...]
    id: str = ""


@dataclass(frozen=True, slots=True)
class ParallelPair:
    """A sentence and its translation."""

    source: str  # in the task's language
    target: str  # in the task's other language
    id: str = ""


@dataclass(frozen=True, slots=True)
class WordPair:
    """A word and one of its translations."""

    source: str  # in the task's language
    target: str  # in the task's other language
    id: str = ""


Example = LabelledSentence | SentencePair | Question | ParallelPair | WordPair


def texts_of(example: Example) -> tuple[str, ...]:
    """The running texts of an example; labels and answers are left out."""
    match example:
        case LabelledSentence():
            return (" ".join(example.words),)
        case SentencePair():
            return (example.first, example.second)
        case Question():
            return (example.context, example.question)
        case ParallelPair() | WordPair():
            return (example.source, example.target)


def doc_hash(text: str) -> str:
    """The hash of one example's text."""
    return xxhash.xxh3_64_hexdigest(text.encode())


def document_of(example: Example, place: int) -> tuple[str, str]:
    """The id of an example, or its index, and the hash of its text."""
    return example.id or str(place), doc_hash("\n".join(texts_of(example)))


def examples_xxh3(examples: Iterable[Example]) -> str:
    """The hash of some examples, labels and answers included."""
    hasher = xxhash.xxh3_64()
    for example in examples:
        hasher.update(ascii(example).encode())
    return hasher.hexdigest()


def word_count(example: Example) -> int:
    """Number of words of an example; split at white space where they are not given."""
    if isinstance(example, LabelledSentence):
        return len(example.words)
    return sum(len(text.split()) for text in texts_of(example))


def labels_of(example: Example) -> tuple[str, ...]:
    """The labels of an example; none where its kind has none."""
    match example:
        case LabelledSentence():
            return example.labels
        case SentencePair():
            return (example.label,)
        case _:
            return ()
