"""Recipes from YAML files and dotted overrides; it only assembles what others define."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from alignmlm.errors import ConfigError, nearest
from alignmlm.pretraining.recipe import Recipe


def setting_names(settings: type, prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings of a dataclass, sections included."""
    for field in fields(settings):
        yield prefix + field.name
        if isinstance(field.type, type) and is_dataclass(field.type):
            yield from setting_names(field.type, f"{prefix}{field.name}.")


def dotted(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names in a nested dictionary."""
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{name}.")


def check_names(found: Iterator[str], where: str) -> None:
    """Whether every name is a setting.

    Raises:
        ConfigError: one is not; the message names the nearest.
    """
    known = set(setting_names(Recipe))
    for name in found:
        if name not in known:
            hint = nearest(name, known) or f"; the sections are {', '.join(known_sections())}"
            raise ConfigError(f"{where}: setting", name, f"be one of the recipe's{hint}")


def known_sections() -> list[str]:
    """Names of the recipe's sections."""
    return [field.name for field in fields(Recipe)]


def read_yaml(path: Path, including: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe file as a nested dictionary, over the file that its `include` names.

    Raises:
        ConfigError: no such file, not YAML, YAML with tags, an unknown setting, or a circle.
    """
    if path in including:
        raise ConfigError("include", str(path), "not include itself")
    try:
        values = yaml.safe_load(path.read_text("utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError("--config", str(path), f"be a YAML file ({error})") from error
    if not isinstance(values, dict):
        raise ConfigError("--config", str(path), "hold sections and settings")
    included = values.pop("include", None)
    check_names(dotted(values), str(path))
    if included is None:
        return values
    return merge(read_yaml(path.parent / included, (*including, path)), values)


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Nested settings of two recipes; those above win."""
    merged = dict(below)
    for name, value in above.items():
        nested = isinstance(value, dict) and isinstance(below.get(name), dict)
        merged[name] = merge(below[name], value) if nested else value
    return merged


def recipe_parser(**options: Any) -> ArgumentParser:
    """A parser of every setting of a recipe, and of --config."""
    parser = ArgumentParser(exit_on_error=False, **options)
    parser.add_argument("--config", metavar="YAML", help="a recipe; none: the sample recipe")
    for field in fields(Recipe):
        parser.add_class_arguments(field.type, field.name)
    return parser


def override_names(arguments: Sequence[str]) -> Iterator[str]:
    """Names of the recipe settings that a command line sets."""
    for argument in arguments:
        name = argument.removeprefix("--").split("=")[0]
        if argument.startswith("--") and "." in name:
            yield name


def config_path(arguments: Sequence[str]) -> Path | None:
    """The file of --config, if there is one."""
    for place, argument in enumerate(arguments):
        if argument.startswith("--config="):
            return Path(argument.removeprefix("--config="))
        if argument == "--config" and place + 1 < len(arguments):
            return Path(arguments[place + 1])
    return None


def parse_recipe(parser: ArgumentParser, arguments: Sequence[str]) -> tuple[Recipe, Namespace]:
    """The recipe of a command line over its --config file, and the parser's other values.

    Raises:
        ConfigError: an unknown or ill-typed setting, or one outside its range.
    """
    path = config_path(arguments)
    try:
        if "--help" in arguments or "-h" in arguments:
            parser.parse_args(list(arguments))
        check_names(override_names(arguments), "command line")
        base = parser.parse_object(read_yaml(path)) if path else None
        values = parser.parse_args(list(arguments), namespace=base)
        made = parser.instantiate(values)
    except ArgumentError as error:
        raise ConfigError(*type_error(str(error))) from error
    return Recipe(**{name: made[name] for name in known_sections()}), values


def type_error(text: str) -> tuple[str, str, str]:
    """Key, value and demand of jsonargparse's message about a value of a wrong type."""
    found = re.search(r'key "(.+?)":\s*(.*?)\.? Got value: (.*)', text, re.DOTALL)
    if found is None:
        return "command line", text, "be understood; see --help"
    key, demand, value = (part.strip() for part in found.groups())
    allowed = re.sub(r"<class '(\w+)'>", r"\1", demand).replace("Expected a ", "be a ")
    return key, value, re.sub(r"typing\.Literal\[(.*)\]", r"value of \1", allowed)


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a file (none: the sample recipe), with dotted overrides."""
    arguments = [*overrides, *([f"--config={path}"] if path else [])]
    return parse_recipe(recipe_parser(), arguments)[0]
