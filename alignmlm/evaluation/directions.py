"""Transfer directions: source and target languages of a task, and the task to fine-tune on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alignmlm.errors import ConfigError
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.languages.language import parse_language
from alignmlm.tasks.task import Task, load_task, registry


@dataclass(frozen=True, slots=True)
class Direction:
    """From the training split of one task in one language to the test split of another."""

    source_task: Task
    source: str
    task: Task
    targets: tuple[str, ...]


def base_of(language: str) -> str:
    """The natural language of an id, or the one it is derived from."""
    return parse_language(language).base


def trainable(tasks: Iterable[Task], group: str, base: str) -> list[Task]:
    """The tasks of a group that can be fine-tuned on in a language."""
    return [
        one for one in tasks if one.group == group and one.language == base and "train" in one.files
    ]


def task_in(task: Task, base: str, name: str | None, known: Sequence[Task]) -> Task:
    """The task of the same group in another language, which can be fine-tuned on.

    It is one of the known tasks, if the task is, or else one that comes with alignmlm.

    Raises:
        ConfigError: there is none, or several and none is named.
    """
    if name is not None:
        named = next((one for one in known if one.name == name), None) or load_task(name)
        if named.language != base or named.kind != task.kind:
            requirement = f"be a {task.kind} task in {base}"
            raise ConfigError("evaluation.source_task", name, requirement)
        return named
    own = trainable(known, task.group, base) if task.group and task in known else []
    fitting = own or (trainable(registry().values(), task.group, base) if task.group else [])
    if len(fitting) != 1:
        names = " and ".join(one.name for one in fitting) or "no task"
        group = f"{names} of its group {task.group!r} is" if task.group else "it is in no group"
        requirement = (
            f"have one task in {base} with a training split to be fine-tuned on, but {group}"
        )
        raise ConfigError(
            "--tasks", task.name, f"{requirement}; name one with --evaluation.source_task"
        )
    return fitting[0]


def direction_of(
    export: Export,
    task: Task,
    source: str | None,
    targets: Sequence[str],
    source_task: str | None = None,
    known: Sequence[Task] = (),
) -> Direction:
    """The languages in which a model is fine-tuned for a task and tested on it.

    The source is the model's first language unless one is named; targets are all its other
    languages that are the task's own or derived from it. A task in another language, or without a
    training split, is fine-tuned for on the one of its group that has both: among the known ones,
    the user's own, or else among those that come with alignmlm.

    Raises:
        ConfigError: the model lacks a language, one is not the task's, or there is no target.
    """
    start = source or export.languages[0]
    for name in (start, *targets):
        export.number_of(name)
    others = [name for name in targets or export.languages if name != start]
    fitting = tuple(name for name in others if base_of(name) == task.language)
    if not fitting:
        key = "evaluation.targets" if targets else f"languages of {export.path}"
        requirement = (
            f"hold one besides {start} that is {task.language} or made from it, for {task.name}"
        )
        raise ConfigError(key, list(targets or export.languages), requirement)
    if base_of(start) == task.language and source_task is None and "train" in task.files:
        return Direction(task, start, task, fitting)
    return Direction(task_in(task, base_of(start), source_task, known), start, task, fitting)


def measurable(export: Export, task: Task, source: str | None, targets: Sequence[str]) -> bool:
    """Whether a model has any target for a task; groups contain tasks in many languages."""
    start = source or export.languages[0]
    others = [name for name in targets or export.languages if name != start]
    if task.other_language:
        bases = {base_of(name) for name in export.languages}
        return {task.language, task.other_language} <= bases
    return any(base_of(name) == task.language for name in others)
