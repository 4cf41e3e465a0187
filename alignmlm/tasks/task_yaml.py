"""YAML files of tasks: included bases, one file for many languages, and what they spell out."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from alignmlm.errors import ConfigError

Mapping = dict[str, Any]
CODE, ISO = "{code}", "{iso}"
FILE_KEYS = ("include", "languages", "tasks")  # of a file, not of a task


def merged(base: Mapping, over: Mapping) -> Mapping:
    """The base with the other's keys put over it, also inside mappings that both have."""
    both = {
        key: merged(base[key], value)
        for key, value in over.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **over, **both}


def filled(value: Any, words: dict[str, str]) -> Any:
    """A value with {code} and {iso} replaced in all its texts."""
    if isinstance(value, dict):
        return {key: filled(entry, words) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, words) for entry in value]
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(word, text)
    return value


def read_mapping(path: Path, above: tuple[Path, ...] = ()) -> Mapping:
    """The mapping of a YAML file, put over that of the file that it includes.

    Raises:
        ConfigError: not YAML, not a mapping, or files that include each other.
    """
    if path in above or not path.is_file():
        must = "not include itself" if path in above else "be an existing file"
        raise ConfigError("include" if above else "task", str(path), must)
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("task", str(path), f"be YAML ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"task {path}", found, "be a mapping with the keys of a task")
    if "include" not in found:
        return found
    base = read_mapping(path.parent / str(found["include"]), (*above, path))
    return {k: v for k, v in merged(base, found).items() if k != "include"}


def part_of(found: Mapping, key: str, path: Path) -> Mapping:
    """The mapping below a key, empty where it is missing.

    Raises:
        ConfigError: it is no mapping.
    """
    part = found.get(key, {})
    if not isinstance(part, dict):
        raise ConfigError(f"{path}: {key}", part, "be a mapping")
    return part


def in_languages(shared: Mapping, languages: Mapping) -> list[Mapping]:
    """The task once for each language.

    An entry is "fra-Latn: fr", or "fra-Latn: {code: fr, ...}" with keys put over the shared ones.
    """
    tasks = []
    for language, entry in languages.items():
        own = dict(entry) if isinstance(entry, dict) else {"code": entry}
        iso = str(language).split("-")[0]
        words = {CODE: str(own.pop("code", iso)), ISO: iso}
        tasks.append(filled(merged({**shared, "language": language}, own), words))
    return tasks


def tasks_of(path: Path) -> list[Mapping]:
    """The tasks of a YAML file: one, or one for each entry of `languages` or of `tasks`.

    Raises:
        ConfigError: the file cannot be used.
    """
    found = read_mapping(path)
    shared = {key: value for key, value in found.items() if key not in FILE_KEYS}
    languages, named = part_of(found, "languages", path), part_of(found, "tasks", path)
    if languages:
        return in_languages(shared, languages)
    if named:
        return [merged({**shared, "name": name}, own) for name, own in named.items()]
    return [shared]


def shipped_files() -> list[Path]:
    """The YAML files of tasks that come with alignmlm; those that begin with _ are bases."""
    folder = Path(str(files("alignmlm.tasks") / "shipped"))
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("_"))
