"""Validation of a task's data, and its statistics."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from alignmlm.errors import AlignMLMError, DataError, listed, nearest
from alignmlm.tasks.examples import labels_of, texts_of, word_count
from alignmlm.tasks.formats import Split, label_names, read_split
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.metrics import METRICS
from alignmlm.tasks.spans import check_entity_tags, closed_tags
from alignmlm.tasks.task import SPLITS, Task, split_files


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitReport:
    """Statistics of one split."""

    examples: int
    words: int  # separated by white space where no words are given
    longest_words: int  # of one example, all its texts together
    labels: Mapping[str, int]  # how often each one occurs
    dropped: Mapping[str, int]  # examples left out when reading, by reason
    same_text: int  # examples whose texts an earlier one of the split has
    in_train: int  # examples whose texts an example of the training split has
    details: Mapping[str, int]  # counts specific to its kind


@dataclass(frozen=True, slots=True)
class TaskReport:
    """Statistics of a task, or why it cannot be used."""

    task: Task
    splits: Mapping[str, SplitReport]
    error: str = ""  # why the task cannot be used; empty where it can


def declared_labels(task: Task, splits: Mapping[str, Split]) -> list[str]:
    """The labels that a task declares.

    Raises:
        DataError: a split has another one.
    """
    for split, read in splits.items():
        split_labels = set(chain.from_iterable(map(labels_of, read.examples)))
        if unknown := sorted(split_labels.difference(task.labels)):
            raise DataError(
                f"task {task.name}: {split} has labels that are not among the task's: "
                f"{listed(unknown)}; it has {listed(task.labels)}{nearest(unknown[0], task.labels)}"
            )
    return task.labels


def task_labels(task: Task, splits: Mapping[str, Split]) -> list[str]:
    """The labels of a task, in the order of their numbers: sorted.

    Raises:
        DataError: a split has a label that the task or its training split lacks, or tags that are
            no entity tags where entities are scored.
    """
    first = "train" if "train" in splits else "test"
    named = {str(task.split(split).path): read.examples for split, read in splits.items()}
    names = sorted(declared_labels(task, splits)) if task.labels else []
    names = names or label_names(splits[first].examples, named)
    if METRICS[task.metric].entities:
        check_entity_tags(names, f"task {task.name}")
        return closed_tags(names)
    return names


def split_report(task: Task, split: Split, train: set[tuple[str, ...]]) -> SplitReport:
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
            not in its context, an id is of two examples, or a split has a label that others lack.
    """
    files = split_files(task, sample_folder)
    splits = {split: read_split(files[split]) for split in SPLITS if split in files}
    task_labels(task, splits)
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
