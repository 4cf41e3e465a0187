"""Examples of labelled data: one small record for each kind of task."""

from dataclasses import dataclass


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
