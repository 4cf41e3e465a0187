"""A task: its labelled files and what they hold, and how answers are scored."""

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from unicodedata import category

from alignmlm.corpus.sample_world import write_tasks
from alignmlm.corpus.sources import HUB_PREFIX, SAMPLE_PREFIX, expand_path
from alignmlm.errors import ConfigError, DataError, listed, nearest
from alignmlm.languages.settings import BASE
from alignmlm.storage.checksums import file_xxh3
from alignmlm.storage.typed_settings import Verbatim, build
from alignmlm.tasks.examples import SplitFile, check_split_keys, examples_xxh3, labels_of
from alignmlm.tasks.formats import (
    FORMATS,
    SplitExamples,
    check_roles,
    check_used,
    formats_of,
    label_names,
    read_split,
)
from alignmlm.tasks.kinds import KINDS, TaskKind
from alignmlm.tasks.metrics import METRICS, metrics_of
from alignmlm.tasks.spans import check_entity_tags, closed_tags
from alignmlm.tasks.task_yaml import shipped_files, tasks_of

NAME_BYTES = 100
OWN_FILE = re.compile(r"(.+?\.ya?ml)(?::(.*))?")  # and the name of a task in it
SPLITS = ("train", "dev", "test")
READING = ("form", "columns", "strip_prefix", "label_values", "drop_labels", "ids", "language")


def takes_format(kind: TaskKind, form: str) -> bool:
    """Whether the examples of a format are of a kind."""
    return form in FORMATS and FORMATS[form].example is kind.example


def check_name(name: str) -> None:
    """Raise unless the name of a task can be a part of a file's name.

    Raises:
        ConfigError: it cannot.
    """
    refused = any(char in "/\\@" or category(char) == "Cc" for char in name)
    if refused or not name or name.startswith(".") or len(name.encode()) > NAME_BYTES:
        requirement = (
            f"be a part of file names: at most {NAME_BYTES} bytes, no slash, backslash, @ or "
            f"control character, no dot at its start"
        )
        raise ConfigError("name", name, requirement)


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One task in one natural language; a YAML file may hold the same task in several."""

    name: str
    version: int  # increases when the same files would give different scores
    kind: str  # a key of KINDS
    metric: str
    form: str
    language: str  # "eng-Latn"
    files: dict[str, Any]  # split: a path, "sample:<file>", "hub:<id>", or a mapping (SplitFile)
    group: str = ""  # tasks with the same labels, in several languages
    other_language: str = ""  # of the second text, where examples hold two languages
    labels: list[Verbatim] = field(default_factory=list)  # none: those of the training split
    columns: dict[str, Verbatim | int] = field(default_factory=dict)
    strip_prefix: Verbatim = ""
    label_values: dict[str, Verbatim] = field(default_factory=dict)
    drop_labels: list[Verbatim] = field(default_factory=list)
    ids: str = "file"

    def __post_init__(self) -> None:
        check_name(self.name)
        self.demand("kind", KINDS)
        kind = KINDS[self.kind]
        if not takes_format(kind, self.form):
            self.demand("form", formats_of(kind.example))
        if self.metric not in METRICS or self.kind not in METRICS[self.metric].kinds:
            self.demand("metric", metrics_of(self.kind))
        languages = ["language", *(["other_language"] if kind.two_languages else [])]
        for key in languages:
            if not BASE.fullmatch(getattr(self, key)):
                value = getattr(self, key)
                raise ConfigError(f"task {self.name}: {key}", value, "look like 'eng-Latn'")
        if self.other_language and not kind.two_languages:
            requirement = f"be left out: examples of {self.kind} have one language"
            raise ConfigError(f"task {self.name}: other_language", self.other_language, requirement)
        self.check_labels()
        self.check_files()

    def demand(self, key: str, allowed: Any) -> None:
        """Raise unless a key has one of the allowed values.

        Raises:
            ConfigError: it does not.
        """
        if (value := getattr(self, key)) not in allowed:
            requirement = f"be one of {sorted(allowed)}{nearest(str(value), allowed)}"
            raise ConfigError(f"task {self.name}: {key}", value, requirement)

    def check_labels(self) -> None:
        """Raise unless labels are named once each, and only where examples have labels.

        Raises:
            ConfigError: they are not.
        """
        place = f"task {self.name}: labels"
        if self.labels and "label_values" in FORMATS[self.form].unused:
            raise ConfigError(place, self.labels, f"be left out: form {self.form} has none")
        if len(set(self.labels)) < len(self.labels):
            raise ConfigError(place, self.labels, "name each label once")

    def check_files(self) -> None:
        """Raise unless splits are known, one is the test split, and each has what its form needs.

        Raises:
            ConfigError: one of these does not hold.
        """
        place, kind = f"task {self.name}: files", KINDS[self.kind]
        if not set(self.files) <= set(SPLITS):
            raise ConfigError(place, self.files, f"name {', '.join(SPLITS)}")
        if "test" not in self.files:
            raise ConfigError(place, self.files, "name a test split: nothing else is scored")
        for split, value in self.files.items():
            own = value if isinstance(value, dict) else {"path": value}
            check_split_keys(own, f"{place}: {split}")
            file = self.split(split)
            if not takes_format(kind, file.form):
                allowed = formats_of(kind.example)
                raise ConfigError(f"{place}: {split}: form", file.form, f"be one of {allowed}")
            if bool(file.other) != FORMATS[file.form].two_files:
                names = sorted(name for name in FORMATS if FORMATS[name].two_files)
                requirement = f"name a second file for the forms {names} and no others"
                raise ConfigError(f"{place}: {split}: other", file.other, requirement)
            if file.is_hub and not FORMATS[file.form].hub:
                names = sorted(name for name in FORMATS if FORMATS[name].hub)
                requirement = f"be a file, or its form one of {names}"
                raise ConfigError(f"{place}: {split}: path", file.path, requirement)
        files = [self.split(split) for split in self.files]
        forms = list(dict.fromkeys(file.form for file in files))
        for file in files:
            check_roles(file.columns, forms, f"task {self.name}: columns")
            check_used(file, f"task {self.name}")

    def split(self, split: str) -> SplitFile:
        """How to read a split: its own keys, and the task's where it has none."""
        value = self.files[split]
        own = value if isinstance(value, dict) else {"path": value}
        return SplitFile(**{**{key: getattr(self, key) for key in READING}, **own})

    def settings(self) -> dict[str, Any]:
        """The task as plain values, without keys at their defaults."""
        defaults = {
            f.name: f.default_factory() if f.default_factory is not MISSING else f.default
            for f in fields(self)
        }
        return {key: value for key, value in asdict(self).items() if value != defaults[key]}


def tasks_in(path: Path) -> list[Task]:
    """The tasks of a YAML file.

    Raises:
        ConfigError: not YAML, an unknown, missing or wrong key, or one name twice.
    """
    tasks = [
        build(Task, (f"{path}: task {mapping.get('name', '')}".strip(), mapping))
        for mapping in tasks_of(path)
    ]
    names = [task.name for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"names in {path}", twice, "differ; use {iso} or {code} in them")
    return tasks


@cache
def registry() -> dict[str, Task]:
    """The tasks that come with alignmlm, by name.

    Raises:
        ConfigError: one of their files is wrong, or two have the same name.
    """
    tasks = [task for path in shipped_files() for task in tasks_in(path)]
    names = [task.name for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError("task names", twice, "differ")
    return {task.name: task for task in sorted(tasks, key=lambda task: task.name)}


def task_names() -> list[str]:
    """Names of the tasks that come with alignmlm."""
    return list(registry())


def own_file(name: str) -> tuple[Path | None, str]:
    """The user's YAML file that a name refers to, or None, and the task in it that it asks for."""
    found = OWN_FILE.fullmatch(name)
    return (Path(found[1]), found[2] or "") if found else (None, "")


@dataclass(frozen=True, slots=True)
class RequestedTasks:
    """The tasks that some names stand for."""

    by_name: dict[str, list[Task]]
    own: list[Task]  # all tasks of the user's files, even where only one of a file is requested

    def all(self) -> list[Task]:
        """The tasks of each name in turn."""
        return [task for tasks in self.by_name.values() for task in tasks]


def requested_tasks(names: Iterable[str]) -> RequestedTasks:
    """The tasks of names or groups that come with alignmlm, and of YAML files of the user's own.

    "own.yaml:french" is the task "french" of a file that has several. Each file is read once.

    Raises:
        ConfigError: no such task (the message gives the nearest), or a wrong file.
    """
    by_name, files = {}, {}
    for name in names:
        path, wanted = own_file(name)
        if path is None:
            by_name[name] = shipped_tasks(name)
            continue
        if path not in files:
            files[path] = tasks_in(path)
        known = {task.name: task for task in files[path]}
        if wanted and wanted not in known:
            raise ConfigError("task", name, f"be one of {list(known)}{nearest(wanted, known)}")
        by_name[name] = [known[wanted]] if wanted else files[path]
    return RequestedTasks(by_name, [task for tasks in files.values() for task in tasks])


def shipped_tasks(name: str) -> list[Task]:
    """The tasks of a name or a group that comes with alignmlm.

    Raises:
        ConfigError: there is none; the message gives the nearest.
    """
    known = registry()
    if name in known:
        return [known[name]]
    members = [task for task in known.values() if name and task.group == name]
    if not members:
        groups = sorted({task.group for task in known.values() if task.group})
        close = get_close_matches(name, [*known, *groups], n=3)
        meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        requirement = f"be a .yaml file, a task of `alignmlm eval ls` or one of the groups {groups}"
        raise ConfigError("task", name, f"{requirement}{meant}")
    return members


def load_task(name: str) -> Task:
    """The one task of a name that comes with alignmlm, or of a YAML file of the user's own.

    Raises:
        ConfigError: no such task, a wrong file, or a name that stands for several.
    """
    tasks = requested_tasks([name]).all()
    if len(tasks) > 1:
        raise ConfigError("task", name, f"name one of {[task.name for task in tasks]}")
    return tasks[0]


def split_files(task: Task, sample_folder: Path) -> dict[str, SplitFile]:
    """How to read each split; missing files of the sample world are made in sample_folder.

    Raises:
        DataError: a file does not exist.
    """
    return {split: found_file(task, split, sample_folder) for split in task.files}


def found_file(task: Task, split: str, sample_folder: Path) -> SplitFile:
    """How to read one split, with the paths of existing files.

    Raises:
        DataError: a file does not exist.
    """
    file = task.split(split)
    if file.is_hub:
        return file
    paths = [local_path(name, sample_folder) for name in (file.path, file.other) if name]
    for name, path in zip((file.path, file.other), paths, strict=False):
        if not path.is_file():
            missing = f"task {task.name}: {split} file {name} does not exist (looked for"
            rule = "see $ALIGNMLM_DATA" if "$" in name else "its path starts at the task's file"
            raise DataError(f"{missing} {path.absolute()}); {rule}")
    return replace(file, path=str(paths[0]), other=str(paths[1]) if file.other else "")


def local_path(name: str, sample_folder: Path) -> Path:
    """The path of a file; missing ones of the sample world are made."""
    if not name.startswith(SAMPLE_PREFIX):
        return expand_path(name)
    path = sample_folder / name.removeprefix(SAMPLE_PREFIX)
    if not path.is_file():
        write_tasks(sample_folder)
    return path


def local_files(files: Mapping[str, SplitFile]) -> dict[str, Path]:
    """The local files of some splits; a second file has the key "<split>.other"."""
    paths = {}
    for split, file in files.items():
        if not file.path.startswith(HUB_PREFIX):
            paths[split] = Path(file.path)
        if file.other:
            paths[f"{split}.other"] = Path(file.other)
    return paths


@dataclass(frozen=True, slots=True)
class TaskExamples:
    """What the files of a task hold."""

    task: Task
    files: dict[str, SplitFile]  # of each split
    files_xxh3: dict[str, str]  # the hash of each local file, and of the examples of hub datasets
    splits: dict[str, SplitExamples]
    labels: list[str]  # in the order of their numbers; none for questions


def read_examples(task: Task, sample_folder: Path) -> TaskExamples:
    """What the files of a task hold; missing files of the sample world are made.

    Raises:
        DataError: a file is missing or damaged, a word or an example has no label, an answer is
            not in its context, two different examples share an id, or a split has a label
            that the task or its training split lacks.
    """
    files = split_files(task, sample_folder)
    splits = {split: read_split(files[split]) for split in SPLITS if split in files}
    hashes = {name: file_xxh3(path) for name, path in local_files(files).items()}
    for split, read in splits.items():
        if files[split].is_hub:
            hashes[split] = examples_xxh3(read.examples)
    return TaskExamples(task, files, hashes, splits, task_labels(task, splits))


def declared_labels(task: Task, splits: Mapping[str, SplitExamples]) -> list[str]:
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


def task_labels(task: Task, splits: Mapping[str, SplitExamples]) -> list[str]:
    """The sorted labels of a task; a label's number is its position among them.

    Where it declares none, they are those of its training split, or of all if it has no such split.

    Raises:
        DataError: a split has a label that the task or its training split lacks, or labels that
            are not entity tags where entities are scored.
    """
    known = [splits["train"]] if "train" in splits else splits.values()
    named = {f"{split} file {task.split(split).path}": splits[split].examples for split in splits}
    names = sorted(declared_labels(task, splits)) if task.labels else []
    names = names or label_names([e for read in known for e in read.examples], named)
    if METRICS[task.metric].entities:
        check_entity_tags(names, f"task {task.name}")
        return closed_tags(names)
    return names


def check_task_files(
    names: Iterable[str], languages: Container[str], sample_folder: Path
) -> list[Task]:
    """The tasks of some names; those in the given languages are checked to have all their files.

    Raises:
        ConfigError: no such task, or a wrong file.
        DataError: a file does not exist.
    """
    tasks = requested_tasks(names).all()
    for task in tasks:
        if task.language in languages:
            split_files(task, sample_folder)
    return tasks
