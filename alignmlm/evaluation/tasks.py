"""A task: where its labelled text lies, what form it has, and how answers are scored."""

from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from alignmlm.data.sample_world import write_tasks
from alignmlm.data.sources import SAMPLE_PREFIX, expand_path
from alignmlm.errors import ConfigError, DataError, nearest
from alignmlm.languages.language import BASE

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Kind:
    """What the tasks of one kind may ask for."""

    forms: tuple[str, ...]  # of files
    metrics: tuple[str, ...]


KINDS = {"token_classification": Kind(("conllu_upos",), ("accuracy",))}


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One task in one natural language."""

    name: str
    version: int  # grows when the same files would give other numbers
    kind: str  # a key of KINDS
    metric: str
    form: str
    language: str  # "eng-Latn"
    files: dict[str, str]  # split: a path, or "sample:<file>" of the sample world

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            known = f"be one of {sorted(KINDS)}{nearest(str(self.kind), KINDS)}"
            raise ConfigError(f"task {self.name}: kind", self.kind, known)
        kind = KINDS[self.kind]
        for key, allowed in (("form", kind.forms), ("metric", kind.metrics)):
            if getattr(self, key) not in allowed:
                found = getattr(self, key)
                raise ConfigError(f"task {self.name}: {key}", found, f"be one of {list(allowed)}")
        if not BASE.fullmatch(str(self.language)):
            raise ConfigError(f"task {self.name}: language", self.language, "look like 'eng-Latn'")
        if not isinstance(self.files, dict) or set(self.files) != set(SPLITS):
            raise ConfigError(f"task {self.name}: files", self.files, f"name {', '.join(SPLITS)}")


def task_names() -> list[str]:
    """Names of the tasks that come with alignmlm."""
    folder = files("alignmlm.evaluation") / "tasks"
    found = (Path(entry.name) for entry in folder.iterdir())
    return sorted(path.stem for path in found if path.suffix == ".yaml")


def task_text(name: str) -> str:
    """The YAML of a task that comes with alignmlm, or of a file of the user's own.

    Raises:
        ConfigError: neither a known name (the message gives the nearest) nor a file.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        if not Path(name).is_file():
            raise ConfigError("task", name, "be an existing file")
        return Path(name).read_text(encoding="utf-8")
    if name not in task_names():
        known = ", ".join(task_names())
        raise ConfigError(
            "task", name, f"be a .yaml file or one of {known}{nearest(name, task_names())}"
        )
    return (files("alignmlm.evaluation") / "tasks" / f"{name}.yaml").read_text(encoding="utf-8")


def check_keys(found: Any, name: str) -> None:
    """Whether a task's YAML has exactly the keys of a task.

    Raises:
        ConfigError: it is no mapping, or has an unknown or a missing key.
    """
    known = [field.name for field in fields(Task)]
    if not isinstance(found, dict):
        raise ConfigError(f"task {name}", found, f"be a mapping with the keys {known}")
    for key in found:
        if key not in known:
            must = f"be one of {known}{nearest(str(key), known)}"
            raise ConfigError(f"task {name}: key", key, must)
    if missing := [key for key in known if key not in found]:
        raise ConfigError(f"task {name}: keys", sorted(found), f"include {missing}")


def load_task(name: str) -> Task:
    """The task of a name that comes with alignmlm, or of a YAML file of the user's own.

    Raises:
        ConfigError: no such task, not YAML, or an unknown, missing or wrong key.
    """
    try:
        found = yaml.safe_load(task_text(name))
    except yaml.YAMLError as error:
        raise ConfigError("task", name, f"be YAML ({error})") from error
    check_keys(found, name)
    return Task(**found)


def task_files(task: Task, sample_folder: Path) -> dict[str, Path]:
    """The file of each split; those of the sample world are made in sample_folder when missing.

    Raises:
        DataError: a file does not exist.
    """
    paths = {}
    for split, name in task.files.items():
        if name.startswith(SAMPLE_PREFIX):
            paths[split] = sample_folder / name.removeprefix(SAMPLE_PREFIX)
            if not paths[split].is_file():
                write_tasks(sample_folder)
        else:
            paths[split] = expand_path(name)
        if not paths[split].is_file():
            raise DataError(
                f"task {task.name}: {split} file {name} does not exist (looked for "
                f"{paths[split].absolute()}); see its 'files' and $ALIGNMLM_DATA"
            )
    return paths
