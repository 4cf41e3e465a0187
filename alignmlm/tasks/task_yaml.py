"""YAML files of tasks: includes, and files that define a task for many languages, expanded."""

from functools import reduce
from importlib.resources import files
from pathlib import Path
from typing import Any

from alignmlm.corpus.sources import HUB_PREFIX, SAMPLE_PREFIX
from alignmlm.errors import ConfigError
from alignmlm.storage.plain_data import merged, read_layered_yaml

Mapping = dict[str, Any]
CODE, ISO = "{code}", "{iso}"
FILE_KEYS = ("languages", "tasks")  # of a file, not of a task
PATH_KEYS = ("path", "other")  # of a split
PLACED = (SAMPLE_PREFIX, HUB_PREFIX, "$", "~")  # starts of paths that are not relative to a file


def filled(value: Any, words: dict[str, str]) -> Any:
    """A value with {code} and {iso} replaced in all its strings."""
    if isinstance(value, dict):
        return {key: filled(entry, words) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, words) for entry in value]
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(word, text)
    return value


def placed_split(split: Any, folder: Path) -> Any:
    """A split with its relative paths put below a folder; all other values stay as they are."""
    if isinstance(split, dict):
        paths = {key: placed_split(split[key], folder) for key in PATH_KEYS if key in split}
        return split | paths
    if isinstance(split, str) and split and not split.startswith(PLACED):
        return str(folder / split)
    return split


def placed(mapping: Any, folder: Path) -> Any:
    """The mapping of a file or a task, the relative paths of its `files` put below a folder."""
    if not isinstance(mapping, dict):
        return mapping
    own = {
        key: {name: placed(part, folder) for name, part in mapping[key].items()}
        for key in FILE_KEYS
        if isinstance(mapping.get(key), dict)
    }
    if isinstance(splits := mapping.get("files"), dict):
        own["files"] = {name: placed_split(split, folder) for name, split in splits.items()}
    return mapping | own


def part_of(mapping: Mapping, key: str, path: Path, allowed: tuple[type, ...]) -> Mapping:
    """The mapping below a key, empty where it is missing.

    Raises:
        ConfigError: it is not a mapping, or one of its values has a type that is not allowed.
    """
    part = mapping.get(key, {})
    if not isinstance(part, dict):
        raise ConfigError(f"{path}: {key}", part, "be a mapping")
    for name, value in part.items():
        if not isinstance(value, allowed):
            requirement = "be a mapping of keys to values" + (
                " or a code" if str in allowed else ""
            )
            raise ConfigError(f"{path}: {key}.{name}", value, requirement)
    return part


def in_languages(shared: Mapping, languages: Mapping) -> list[Mapping]:
    """The task once for each language.

    An entry is "fra-Latn: fr", or "fra-Latn: {code: fr, ...}" with keys that override shared ones.
    """
    tasks = []
    for language, entry in languages.items():
        own = dict(entry) if isinstance(entry, dict) else {"code": entry}
        iso = language.split("-")[0]
        words = {CODE: str(own.pop("code", iso)), ISO: iso}
        tasks.append(filled(merged({**shared, "language": language}, own), words))
    return tasks


def tasks_of(path: Path) -> list[Mapping]:
    """The tasks of a YAML file: one, or one for each entry of `languages` or of `tasks`.

    Paths are relative to the file that they stand in.

    Raises:
        ConfigError: the file cannot be used.
    """
    layers = [placed(values, Path(name).parent) for name, values in read_layered_yaml(path)]
    content = reduce(merged, layers)
    shared = {key: value for key, value in content.items() if key not in FILE_KEYS}
    languages = part_of(content, "languages", path, (str, dict))
    named = part_of(content, "tasks", path, (dict,))
    if languages and named:
        found, requirement = list(FILE_KEYS), "leave one of them out: a file has only one"
        raise ConfigError(f"{path}: keys", found, requirement)
    if languages:
        return in_languages(shared, languages)
    if named:
        return [merged({**shared, "name": name}, own) for name, own in named.items()]
    return [shared]


def shipped_files() -> list[Path]:
    """The YAML files of tasks that come with alignmlm; those that begin with _ are bases."""
    folder = Path(str(files("alignmlm.tasks") / "shipped"))
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("_"))
