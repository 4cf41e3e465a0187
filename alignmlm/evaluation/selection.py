"""Which tasks of a command can be measured, checked before any model is loaded."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from alignmlm.errors import AlignMLMError, CheckpointError, ConfigError, nearest
from alignmlm.evaluation.directions import direction_of, measurable
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.evaluation.examples.rendering import syntax_models
from alignmlm.evaluation.examples.task_data import check_labels, check_trainable, read_examples
from alignmlm.evaluation.parallel_pairs import language_pairs
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.languages.language import parse_language
from alignmlm.languages.orders import is_syntax
from alignmlm.tasks.formats import FORMATS
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.task import Task, load_tasks, own_tasks, split_files

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


def named_tasks(
    export: Export, names: Sequence[str], config: EvaluationConfig, skipped: Skipped
) -> list[Task]:
    """The tasks of some names; of a group, those that the model has languages for.

    Raises:
        ConfigError: an unknown name, here or in `source_task`.
    """
    by_name: dict[str, Task] = {}
    members = {name: load_tasks(name) for name in names}
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
            log.info("%s: the model has no target language for %s", name, ", ".join(left))
        by_name |= {task.name: task for task in fitting}
    return list(by_name.values())


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


def selected_tasks(
    export: Export, names: Sequence[str], config: EvaluationConfig, skipped: Skipped
) -> list[Task]:
    """The tasks of some names that can be measured; the others are recorded as skipped.

    Raises:
        ConfigError: an unknown name.
        AlignMLMError: no task can be measured.
    """
    labels: dict[str, list[str]] = {}  # of each task whose files were read
    known, chosen = own_tasks(names), []
    for task in named_tasks(export, names, config, skipped):
        with skipped.on_error(task.name):
            check_task(export, task, config, known, labels)
            chosen.append(task)
    if not chosen:
        raise skipped.all_failed()
    return chosen


def check_task(
    export: Export,
    task: Task,
    config: EvaluationConfig,
    known: Sequence[Task],
    labels: dict[str, list[str]],
) -> None:
    """Raise unless a task can be measured with a model, as far as is known without loading it.

    `known` are the user's own tasks, which it may be fine-tuned on; `labels` holds those of tasks
    that were read before, and then of these.

    Raises:
        ConfigError: a language, a split, or what a syntax order needs is missing.
        DataError: a file is missing or unusable, or has labels that the source task lacks.
    """
    kind = KINDS[task.kind]
    if not kind.model:
        languages = [
            name for pair in language_pairs(export, task, config.languages) for name in pair
        ]
        tasks = [task]
    else:
        source_task = config.source_task_of(task.name, task.group)
        direction = direction_of(export, task, config.source, config.targets, source_task, known)
        check_trainable(direction.source_task, config.finetune.selection)
        languages = [direction.source, *direction.targets]
        tasks = [direction.source_task, task]
    for each in tasks:
        if each.name not in labels:
            labels[each.name] = read_examples(each, config)[1]
    check_labels(task, labels[task.name], labels[tasks[0].name], tasks[0])
    if kind.sentences:
        check_syntax(languages, tasks, config)


def check_syntax(languages: Sequence[str], tasks: Sequence[Task], config: EvaluationConfig) -> None:
    """Raise unless languages of a syntax order have their models, and trees or a parser.

    Raises:
        ConfigError: one has not.
        DataError: a model is missing or damaged.
    """
    orders = {order for name in languages if is_syntax(order := parse_language(name).order)}
    for order in sorted(orders):
        syntax_models(order, config.syntax)
    files = [f for t in tasks for f in split_files(t, Path(config.sample_folder)).values()]
    if orders and config.syntax.parser is None and not any(FORMATS[f.form].trees for f in files):
        requirement = f"name a parser for {tasks[-1].name}, whose sentences have no trees: see "
        raise ConfigError(
            "evaluation.syntax.parser", None, f"{requirement}`alignmlm data train-parser`"
        )
