"""Validation of a task's data, and its statistics."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from alignmlm.errors import AlignMLMError
from alignmlm.tasks.examples import labels_of, texts_of, word_count
from alignmlm.tasks.formats import SplitExamples
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.metrics import METRICS
from alignmlm.tasks.task import Task, read_examples


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitReport:
    """Statistics of one split."""

    examples: int
    words: int  # separated by white space where no words are given
    longest_words: int  # of one example, all its texts together
    labels: Mapping[str, int]  # how often each one occurs
    dropped: Mapping[str, int]  # examples left out when reading, by reason
    same_text: int  # examples with the same texts as an earlier one of the split
    in_train: int  # examples whose texts are also in the training split
    details: Mapping[str, int]  # counts specific to its kind


@dataclass(frozen=True, slots=True)
class TaskReport:
    """Statistics of a task, or why it cannot be used."""

    task: Task
    splits: Mapping[str, SplitReport]
    error: str = ""  # why the task cannot be used; empty where it can


def split_report(task: Task, split: SplitExamples, train: set[tuple[str, ...]]) -> SplitReport:
    """Statistics of a split; `train` holds the texts of the training split, or nothing."""
    texts = [texts_of(example) for example in split.examples]
    lengths = list(map(word_count, split.examples))
    return SplitReport(
        examples=len(texts),
        words=sum(lengths),
        longest_words=max(lengths),
        labels=Counter(chain.from_iterable(map(labels_of, split.examples))),
        dropped=split.dropped,
        same_text=len(texts) - len(set(texts)),
        in_train=sum(text in train for text in texts),
        details=KINDS[task.kind].details(split.examples, METRICS[task.metric]),
    )


def checked_task(task: Task, sample_folder: Path) -> dict[str, SplitReport]:
    """Statistics of each split of a task.

    Raises:
        DataError: a file is missing or damaged, a word or an example has no label, an answer is
            not in its context, two different examples share an id, or a split has a label
            that the task or its training split lacks.
    """
    splits = read_examples(task, sample_folder).splits
    known = splits["train"].examples if "train" in splits else []
    train = {texts_of(example) for example in known}
    return {
        split: split_report(task, read, train if split != "train" else set())
        for split, read in splits.items()
    }


def validate_task(task: Task, sample_folder: Path) -> TaskReport:
    """Statistics of a task, or its first error."""
    try:
        return TaskReport(task, checked_task(task, sample_folder))
    except AlignMLMError as error:
        return TaskReport(task, {}, str(error))
