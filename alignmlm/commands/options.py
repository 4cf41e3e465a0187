"""Options that several commands have."""

from pathlib import Path
from typing import Any, Literal

import click

from alignmlm.artifacts.names import RECIPE
from alignmlm.config import Command, Value, load_recipe
from alignmlm.errors import ConfigError
from alignmlm.shipped import shipped_file


class Shipped(click.Path):
    """A file of the user's, or the name of one that comes with alignmlm."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path of the file.

        Raises:
            ConfigError: there is no such file.
        """
        return shipped_file(self.kind, value)


class NewFile(click.Path):
    """A file that the command writes or replaces."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path of the file.

        Raises:
            ConfigError: a folder is there.
        """
        if Path(value).is_dir():
            raise ConfigError(param.opts[0] if param else "file", str(value), "not be a folder")
        return Path(value)


class AtLeast(Value):
    """A whole number with a lower bound."""

    def __init__(self, least: int) -> None:
        super().__init__(int)
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            ConfigError: it is not a whole number, or is below the bound.
        """
        number = super().convert(value, param, ctx)
        if number < self.least:
            key = param.opts[0] if param else "value"
            raise ConfigError(key, number, f"be at least {self.least}")
        return number


PATH = click.Path(path_type=Path)
WHOLE, NUMBER = Value(int), Value(float)
SHELLS = Value(Literal["bash", "zsh", "fish"])

as_json = click.option("--json", "as_json", is_flag=True, help="Print results as one JSON value.")
language = click.option(
    "--language", required=True, metavar="ID", help="Natural language: eng-Latn."
)
store = click.argument("store", type=click.Path(), required=False)
store_config = click.option(
    "--config", type=click.Path(), metavar="YAML", help="Recipe whose store it is, without STORE."
)
deepspeed = click.option(
    "--deepspeed",
    type=Shipped("--deepspeed"),
    metavar="JSON",
    help="ds_configs file, or the name of one of alignmlm's: ZeRO stage, buckets, offload.",
)
sample_folder = click.option(
    "--sample-folder",
    type=PATH,
    default=Path("data/sample_tasks"),
    show_default=True,
    help="Folder of the sample world's tasks.",
)
models = click.option("--models", metavar="FOLDER", help="Ordering models of syntax languages.")
parser = click.option("--parser", metavar="FILE", help="Parser of sentences without a gold tree.")


def command(name: str, *settings: click.Parameter) -> Any:
    """A decorator that turns a function into a command, with options for settings."""
    return click.command(name, cls=Command, params=list(settings))


def opened_store(folder: str | None, config: str | None) -> Any:
    """The store of a folder, or of a recipe.

    Raises:
        ConfigError: both are given.
    """
    if folder is not None and config is not None:
        raise ConfigError("--config", config, f"be left out where the store is named: {folder}")
    from alignmlm.corpus.sources import expand_path
    from alignmlm.data.store import Store

    if folder is not None:
        return Store(Path(folder))
    return Store(expand_path(load_recipe(Path(config) if config else None).data.store))


def run_recipe(run: Path) -> Any:
    """The recipe of a run's folder.

    Raises:
        ConfigError: it is not the folder of a run.
    """
    if not (run / RECIPE).is_file():
        raise ConfigError("run", str(run), f"be the folder of a run; it has no {RECIPE}")
    return load_recipe(run / RECIPE)
