"""Recipes from YAML files and dotted overrides; it only assembles what others define.

The parser of the command line hands over texts alone: storage.typed_settings checks them, and
those of files, against the types of the settings.
"""

import json
from argparse import SUPPRESS
from collections.abc import Sequence
from dataclasses import MISSING, Field, asdict, fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from alignmlm.errors import ConfigError, nearest
from alignmlm.pretraining.recipe import Recipe
from alignmlm.storage.plain_data import read_layered_yaml
from alignmlm.storage.typed_settings import (
    Layer,
    build,
    described,
    from_text,
    hints_of,
    is_section,
    nested,
    setting_hints,
)

COMMAND_LINE = "command line"


def settings_parser(**options: Any) -> ArgumentParser:
    """A parser that raises what it cannot understand, and looks at nothing but its arguments."""
    return ArgumentParser(exit_on_error=False, default_env=False, allow_abbrev=False, **options)


def add_settings(parser: ArgumentParser, settings: type, prefix: str) -> None:
    """An option for each setting of a dataclass, its sections included; each takes a text."""
    about = (settings.__doc__ or "").partition("\n")[0]
    group = parser.add_argument_group(prefix.rstrip("."), about)
    for field in fields(settings):
        hint = hints_of(settings)[field.name]
        if is_section(hint):
            add_settings(parser, hint, f"{prefix}{field.name}.")
        else:
            shown = f"{described(hint)} (default: {default_text(field)})".replace("%", "%%")
            name = f"--{prefix}{field.name}"
            group.add_argument(name, metavar="VALUE", default=SUPPRESS, help=shown)


def default_text(field: Field) -> str:
    """The default of a setting as it could stand on the command line."""
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return default if isinstance(default, str) else json.dumps(default, default=asdict)


def recipe_parser(**options: Any) -> ArgumentParser:
    """A parser of every setting of a recipe, and of --config."""
    parser = settings_parser(**options)
    about = "a recipe; none: the sample recipe"
    parser.add_argument("--config", metavar="YAML", action="append", help=about)
    for name, section in hints_of(Recipe).items():
        add_settings(parser, section, f"{name}.")
    return parser


def check_names(arguments: Sequence[str], hints: dict[str, Any]) -> None:
    """Whether every dotted option of a command line is a setting.

    Raises:
        ConfigError: one is not; the message names the nearest.
    """
    for argument in arguments:
        name = argument.removeprefix("--").partition("=")[0]
        if argument.startswith("--") and "." in name and name not in hints:
            sections = sorted({each.partition(".")[0] for each in hints})
            must = f"be a setting of the sections {sections}{nearest(name, hints)}"
            raise ConfigError(f"{COMMAND_LINE}: setting", name, must)


def parse_settings(
    parser: ArgumentParser, arguments: Sequence[str], hints: dict[str, Any]
) -> tuple[Layer, Namespace]:
    """The settings of a command line as a layer of plain data, and the parser's other values.

    Raises:
        ConfigError: an unknown option or setting, or a value that is not YAML.
    """
    try:
        check_names(arguments, hints)
        values = parser.parse_args(list(arguments))
    except ArgumentError as error:
        raise ConfigError(COMMAND_LINE, str(error), "be understood; see --help") from error
    texts = {name: values.get(name) for name in hints if values.get(name) is not None}
    for name, text in texts.items():
        if not isinstance(text, str):  # the parser drops the value of --name=--
            raise ConfigError(f"{COMMAND_LINE}: {name}", "--", "be another value")
    plain = {name: from_text(hints[name], text, name, COMMAND_LINE) for name, text in texts.items()}
    return (COMMAND_LINE, nested(plain)), values


def parse_recipe(parser: ArgumentParser, arguments: Sequence[str]) -> tuple[Recipe, Namespace]:
    """The recipe of a command line over its --config file, and the parser's other values.

    Raises:
        ConfigError: an unknown or ill-typed setting, or one outside its range.
    """
    overrides, values = parse_settings(parser, arguments, dict(setting_hints(Recipe)))
    paths = values.config or []
    if len(paths) > 1:
        raise ConfigError("--config", paths, "name one recipe; it may include others")
    layers = [layer for path in paths for layer in read_layered_yaml(Path(path))]
    return build(Recipe, *layers, overrides), values


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a file (none: the sample recipe), with dotted overrides."""
    arguments = [*overrides, *([f"--config={path}"] if path else [])]
    return parse_recipe(recipe_parser(), arguments)[0]
