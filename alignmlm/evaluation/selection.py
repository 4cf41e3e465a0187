"""Which tasks of a command can be measured, and from which language to which.

All are checked before any model is loaded.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from alignmlm.errors import AlignMLMError, CheckpointError, ConfigError, DataError, nearest
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.evaluation.examples.rendering import syntax_models
from alignmlm.evaluation.parallel_pairs import language_pairs
from alignmlm.evaluation.settings import EvaluationConfig, SyntaxConfig
from alignmlm.languages.language import base_of, parse_language
from alignmlm.languages.orders import is_syntax
from alignmlm.tasks.formats import FORMATS
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.task import (
    Task,
    TaskExamples,
    load_task,
    read_examples,
    registry,
    requested_tasks,
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Skipped:
    """The tasks of a command that cannot be measured, and why."""

    errors: dict[str, AlignMLMError] = field(default_factory=dict)  # by task or group

    @contextmanager
    def on_error(self, name: str) -> Iterator[None]:
        """Record an error about one task instead of ending the command.

        Raises:
            CheckpointError: the model cannot be used, so that no task can be measured.
        """
        try:
            yield
        except CheckpointError:
            raise
        except AlignMLMError as error:
            log.warning("%s cannot be measured: %s", name, error)
            self.errors[name] = error

    def reasons(self) -> dict[str, str]:
        """Why each task cannot be measured."""
        return {name: str(error) for name, error in self.errors.items()}

    def all_failed(self) -> AlignMLMError:
        """The error for a command none of whose tasks can be measured."""
        if len(self.errors) == 1:
            return next(iter(self.errors.values()))
        lines = (f"{name}: {reason}" for name, reason in self.reasons().items())
        return AlignMLMError("\n  ".join(["no task can be measured", *lines]))


@dataclass(frozen=True, slots=True)
class TransferDirection:
    """Transfer from a task's training split in the source to a task's test split in the targets."""

    source_task: Task
    source: str
    task: Task
    targets: tuple[str, ...]


def trainable(tasks: Iterable[Task], group: str, base: str) -> list[Task]:
    """The tasks of a group that can be fine-tuned on in a language."""
    return [
        one for one in tasks if one.group == group and one.language == base and "train" in one.files
    ]


def named_task(name: str, known: Sequence[Task]) -> Task:
    """The task of a name: one of the known ones, or else one that load_task() finds.

    Raises:
        ConfigError: there is none.
    """
    return next((one for one in known if one.name == name), None) or load_task(name)


def possible_sources(task: Task, base: str, name: str | None, known: Sequence[Task]) -> list[Task]:
    """The tasks that can be fine-tuned on in language `base`: the named one, `task` or its group's.

    Its group's are those in `known`, if `task` is in it and any fit, or else alignmlm's own.

    Raises:
        ConfigError: there is no task of that name.
    """
    if name is not None:
        return [named_task(name, known)]
    if base == task.language and "train" in task.files:
        return [task]
    if not task.group:
        return []
    own = trainable(known, task.group, base) if task in known else []
    return own or trainable(registry().values(), task.group, base)


def task_in(task: Task, base: str, name: str | None, known: Sequence[Task]) -> Task:
    """The task to fine-tune on in language `base`: the only possible one.

    Raises:
        ConfigError: there is none, or several and none is named.
    """
    fitting = possible_sources(task, base, name, known)
    if name is not None and (fitting[0].language, fitting[0].kind) != (base, task.kind):
        requirement = f"be a {task.kind} task in {base}"
        raise ConfigError("evaluation.source_task", name, requirement)
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
) -> TransferDirection:
    """The languages in which a model is fine-tuned for a task and tested on it.

    The source is the model's first language unless one is named; targets are all its other
    languages that are the task's own or derived from it. For a task in another language, or without
    a training split, the model is fine-tuned on the one task of its group that is in the source
    language and has such a split: among `known`, the user's own, or else among those that come
    with alignmlm.

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
    return TransferDirection(
        task_in(task, base_of(start), source_task, known), start, task, fitting
    )


def measurable(export: Export, task: Task, source: str | None, targets: Sequence[str]) -> bool:
    """Whether a model has any target for a task; groups contain tasks in many languages."""
    start = source or export.languages[0]
    others = [name for name in targets or export.languages if name != start]
    if task.other_language:
        bases = {base_of(name) for name in export.languages}
        return {task.language, task.other_language} <= bases
    return any(base_of(name) == task.language for name in others)


def named_tasks(
    export: Export, members: dict[str, list[Task]], config: EvaluationConfig, skipped: Skipped
) -> list[Task]:
    """The tasks of each name; of a group, those that the model has languages for.

    Raises:
        ConfigError: an unknown name in `source_task`, or a name that two different tasks share.
    """
    by_name: dict[str, Task] = {}
    check_source_tasks(config, [task for group in members.values() for task in group])
    for name, group in members.items():
        fitting = [t for t in group if measurable(export, t, config.source, config.targets)]
        if len(group) == 1:
            fitting = group
        with skipped.on_error(name):
            if not fitting:
                requirement = (
                    f"have a task in a language of {export.path}: {list(export.languages)}"
                )
                raise ConfigError("task group", name, requirement)
        if fitting and (left := [task.name for task in group if task not in fitting]):
            log.info(
                "%s: skipped, as the model has no target language for them: %s",
                name, ", ".join(left),
            )  # fmt: skip
        for task in fitting:
            check_same(task, by_name.setdefault(task.name, task))
    return list(by_name.values())


def check_same(task: Task, other: Task) -> None:
    """Raise unless two tasks of one name are the same.

    Raises:
        ConfigError: they are not.
    """
    if task != other:
        requirement = "be the name of one task alone: two different ones have it; rename one"
        raise ConfigError("task", task.name, requirement)


def check_source_tasks(config: EvaluationConfig, tasks: Sequence[Task]) -> None:
    """Raise unless each task or group with a source task of its own is among the command's.

    Raises:
        ConfigError: one is not.
    """
    if not isinstance(config.source_task, dict):
        return
    known = {name for task in tasks for name in (task.name, task.group) if name}
    for name in config.source_task:
        if name not in known:
            requirement = f"be a task or a group of --tasks{nearest(name, known)}"
            raise ConfigError("evaluation.source_task: key", name, requirement)


@dataclass(frozen=True, slots=True)
class Selected:
    """A task that can be measured, with what was read to check it."""

    tested: TaskExamples
    source: TaskExamples  # of the task to fine-tune on; same as `tested` if there is no other
    direction: TransferDirection | None  # None for kinds that are not fine-tuned on


def selected_tasks(
    export: Export, names: Sequence[str], config: EvaluationConfig, skipped: Skipped
) -> list[Selected]:
    """The tasks of some names that can be measured; the others are recorded as skipped.

    The files of each task are read once, and stay in memory.

    Raises:
        ConfigError: an unknown name, or a name that two different tasks share.
        AlignMLMError: no task can be measured.
    """
    read: dict[str, TaskExamples] = {}  # by the name of the task
    requested, selected = requested_tasks(names), []
    for task in named_tasks(export, requested.by_name, config, skipped):
        with skipped.on_error(task.name):
            selected.append(checked_task(export, task, config, requested.own, read))
    if not selected:
        raise skipped.all_failed()
    return selected


def checked_task(
    export: Export,
    task: Task,
    config: EvaluationConfig,
    known: Sequence[Task],
    read: dict[str, TaskExamples],
) -> Selected:
    """A task that can be measured with a model, as far as is known without loading it.

    `known` are the user's own tasks, which it may be fine-tuned on; `read` caches the examples of
    tasks by name; those that are read here are added to it.

    Raises:
        ConfigError: a language, a split, or what a syntax order needs is missing, or another task
            has the same name.
        DataError: a file is missing or unusable, or has labels that the source task lacks.
    """
    kind, direction, source = KINDS[task.kind], None, task
    if not kind.model:
        languages = [
            name for pair in language_pairs(export, task, config.languages) for name in pair
        ]
    else:
        source_task = config.source_task_of(task.name, task.group)
        direction = direction_of(export, task, config.source, config.targets, source_task, known)
        source = direction.source_task
        for each in [source, *([task] if "train" in task.files else [])]:
            check_trainable(each, config.finetune.selection)
        languages = [direction.source, *direction.targets]
    for each in (source, task):
        if each.name not in read:
            read[each.name] = read_examples(each, Path(config.sample_folder))
        check_same(each, read[each.name].task)
    selected = Selected(read[task.name], read[source.name], direction)
    check_labels(selected.tested, selected.source)
    if kind.sentences:
        check_syntax(languages, [selected.source, selected.tested], config.syntax)
    return selected


def check_trainable(task: Task, selection: str) -> None:
    """Raise unless a task can be fine-tuned on.

    Raises:
        ConfigError: it lacks a training split, or the development split that the selection needs.
    """
    needed = ("train", "dev") if selection == "source_dev" else ("train",)
    if missing := [split for split in needed if split not in task.files]:
        requirement = f"name {', '.join(missing)} too, to fine-tune on"
        raise ConfigError(f"task {task.name}: files", sorted(task.files), requirement)


def check_labels(tested: TaskExamples, source: TaskExamples) -> None:
    """Raise unless a model fine-tuned on one task can predict the labels of another.

    Raises:
        DataError: it cannot.
    """
    if unknown := sorted(set(tested.labels).difference(source.labels)):
        raise DataError(
            f"task {tested.task.name} has labels that {source.task.name}, which is fine-tuned on, "
            f"lacks: {unknown}"
        )


def check_syntax(
    languages: Sequence[str], tasks: Sequence[TaskExamples], config: SyntaxConfig
) -> None:
    """Raise unless languages of a syntax order have their models, and trees or a parser.

    Raises:
        ConfigError: one has not.
        DataError: a model is missing or damaged.
    """
    orders = {order for name in languages if is_syntax(order := parse_language(name).order)}
    for order in sorted(orders):
        syntax_models(order, config)
    forms = {file.form for one in tasks for file in one.files.values()}
    if orders and config.parser is None and not any(FORMATS[form].trees for form in forms):
        name = tasks[-1].task.name
        requirement = f"name a parser for {name}, whose sentences have no trees: see "
        raise ConfigError(
            "evaluation.syntax.parser", None, f"{requirement}`alignmlm data train-parser`"
        )
