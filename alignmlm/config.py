"""Commands and their settings, built on click; recipes from YAML files and the command line.

Click hands over plain strings: storage.typed_settings checks them, and the values in files, against
the types of the settings.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from click.shell_completion import CompletionItem

from alignmlm.errors import AlignMLMError, ConfigError, nearest
from alignmlm.pretraining.recipe import Recipe
from alignmlm.shipped import shipped_file
from alignmlm.storage.plain_data import read_layered_yaml
from alignmlm.storage.typed_settings import (
    arms,
    build,
    check,
    described,
    explanation,
    from_text,
    hints_of,
    is_section,
    names_of,
    nested,
)

COMMAND_LINE = "command line"
GIVEN = "alignmlm.given"  # in a context's meta: the settings of the command line, as strings
CONFIG = click.Option(
    ["--config"],
    type=click.Path(),
    metavar="YAML",
    multiple=True,
    help="Recipe: a file, or the name of one of alignmlm's; none: the sample recipe.",
)


class Value(click.ParamType):
    """The value of an option, checked against a type as the settings of a file are."""

    name = "value"

    def __init__(self, hint: Any) -> None:
        self.hint = hint

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value that a string stands for.

        Raises:
            ConfigError: it is not of the type.
        """
        if not isinstance(value, str):
            return value  # a default
        key = param.opts[0] if param else "value"
        plain = from_text(self.hint, value, key, COMMAND_LINE)
        check(self.hint, plain, key, COMMAND_LINE)
        return plain

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The choices that the type allows; file names where it lists none."""
        choices = [
            str(choice)
            for arm in arms(self.hint)
            for choice in (get_args(arm) if get_origin(arm) is Literal else names_of(arm) or ())
        ]
        if bool in arms(self.hint):
            choices += ["true", "false"]
        if not choices:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(choice) for choice in choices if choice.startswith(incomplete)]


class Text(Value):
    """A setting's value as a string, which is checked later, together with the others."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The string, unchanged."""
        return value


class Setting(click.Option):
    """An option for one setting of a dataclass."""

    def __init__(self, target: str, settings: type, prefix: str, key: str, section: str) -> None:
        self.target, self.settings, self.prefix, self.key = target, settings, prefix, key
        self.section, self.full_name = section, prefix + key
        owner = settings
        *sections, name = key.split(".")
        for each in sections:
            owner = hints_of(owner)[each]
        self.hint = hints_of(owner)[name]
        field = next(field for field in fields(owner) if field.name == name)
        about = explanation(owner, name).rstrip(".")
        shown = f"{about} ({described(self.hint)}; default: {default_text(field)})"
        names = [f"--{self.full_name}", self.full_name.replace(".", "__")]
        super().__init__(names, type=Text(self.hint), metavar="VALUE", help=shown)


class Several(click.Option):
    """An option that takes all words up to the next option."""

    def __init__(self, names: Sequence[str], **options: Any) -> None:
        super().__init__(names, **options | {"multiple": True})


def default_text(field: Field) -> str:
    """The default of a setting as one would write it on the command line."""
    default = default_of(field)
    return default if isinstance(default, str) else json.dumps(default, default=changed_settings)


def changed_settings(settings: Any) -> dict[str, Any]:
    """The settings of a dataclass that are not at their defaults."""
    values = ((each, getattr(settings, each.name)) for each in fields(settings))
    return {each.name: value for each, value in values if value != default_of(each)}


def default_of(field: Field) -> Any:
    """The default of a setting; MISSING where it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def setting_options(
    target: str, settings: type, prefix: str = "", shown: Sequence[str] = ("",)
) -> list[click.Parameter]:
    """An option for each setting of a dataclass, its sections included.

    The command is given the dataclass as its parameter `target`. --help leaves out settings whose
    names do not start with any of `shown`; they can be set all the same, so that the options of a
    run can be given to any command.
    """
    options: list[click.Parameter] = []
    for section, key in setting_keys(settings):
        option = Setting(target, settings, prefix, key, prefix + section)
        option.hidden = not option.full_name.startswith(tuple(shown))
        options.append(option)
    return options


def setting_keys(settings: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The section and the dotted name of each setting of a dataclass."""
    for name, hint in hints_of(settings).items():
        if is_section(hint):
            yield from setting_keys(hint, f"{prefix}{name}.")
        else:
            yield prefix, prefix + name


def recipe_options(*shown: str) -> list[click.Parameter]:
    """--config and an option for each setting of a recipe; `shown` are those in --help, or all."""
    return [CONFIG, *setting_options("recipe", Recipe, "", shown or ("",))]


class Command(click.Command):
    """A command whose settings are dataclasses; invalid arguments raise an AlignMLMError.

    Called with its arguments on the command line, it returns its exit code.
    """

    def __init__(self, name: str, **options: Any) -> None:
        names = {"help_option_names": ["-h", "--help"]}
        super().__init__(name, **options | {"context_settings": names})

    def __call__(self, arguments: Sequence[str], program: str | None = None) -> int:
        """The exit code of the command."""
        try:
            with self.make_context(program or self.name, list(arguments)) as context:
                return self.invoke(context) or 0
        except click.exceptions.Exit as end:  # after --help
            return end.exit_code

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments of the command.

        Raises:
            ConfigError: an unknown option or setting, or a value of the wrong type.
            AlignMLMError: a missing option or argument, or one too many.
        """
        several = {name for each in self.params if isinstance(each, Several) for name in each.opts}
        try:
            return super().parse_args(ctx, list(spread(args, several)))
        except click.NoSuchOption as error:
            raise self.unknown_option(error.option_name, args) from error
        except click.UsageError as error:
            text = f"{error.format_message().rstrip('.')}; see `{ctx.command_path} --help`"
            raise AlignMLMError(f"{COMMAND_LINE}: {text}") from error

    def unknown_option(self, name: str, arguments: Sequence[str]) -> ConfigError:
        """The error for an unknown option, which suggests the nearest setting or option."""
        settings = [each.full_name for each in self.params if isinstance(each, Setting)]
        if "." in name and settings:
            typed = name.removeprefix("--")
            sections = sorted({each.partition(".")[0] for each in settings if "." in each})
            requirement = f"be a setting of the sections {sections}{nearest(typed, settings)}"
            return ConfigError(f"{COMMAND_LINE}: setting", typed, requirement)
        options = [name for each in self.params for name in each.opts if name.startswith("-")]
        typed = next((each for each in arguments if each.partition("=")[0] == name), name)
        requirement = f"be an option of this command{nearest(name, options)}"
        return ConfigError(f"{COMMAND_LINE}: option", typed, requirement)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command with its settings built.

        Raises:
            ConfigError: an ill-typed setting, or one outside its range.
        """
        from alignmlm.console.terminal import set_up_logging

        set_up_logging()
        settings = [each for each in self.params if isinstance(each, Setting)]
        texts = {each.full_name: ctx.params.pop(str(each.name)) for each in settings}
        ctx.meta[GIVEN] = {name: text for name, text in texts.items() if text is not None}
        targets = {each.target: each for each in settings}
        if "recipe" in targets:
            ctx.params["recipe"] = recipe_of(ctx.params.pop("config"), ctx.meta[GIVEN])
        for target, each in targets.items():
            if target != "recipe":
                ctx.params[target] = built(each.settings, each.prefix, ctx.meta[GIVEN])
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, and the settings by section."""
        groups: dict[str, list[tuple[str, str]]] = {"Options": []}
        for each in self.get_params(ctx):
            record = each.get_help_record(ctx)
            if record is not None:
                title = section_title(each) if isinstance(each, Setting) else "Options"
                groups.setdefault(title, []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)
        if any(isinstance(each, Setting) and each.hidden for each in self.params):
            formatter.write_paragraph()
            formatter.write_text("Other settings are taken too: see `alignmlm train --help`.")


def section_title(option: Setting) -> str:
    """The heading of a section of settings in --help."""
    settings = option.settings
    for name in option.section.removeprefix(option.prefix).split(".")[:-1]:
        settings = hints_of(settings)[name]
    about = (settings.__doc__ or "").partition("\n")[0].rstrip(".")
    return f"{option.section.rstrip('.')}: {about}" if option.section else about


def spread(arguments: Iterable[str], several: set[str]) -> Iterator[str]:
    """Expand `--tasks a b` to `--tasks a --tasks b`, for the options in `several`."""
    name, count = "", 0
    words = iter(arguments)
    for word in words:
        if word.startswith("-"):
            name, count = word if word in several else "", 0
        else:
            if name and count:
                yield name
            count += 1
        yield word
        if word == "--":
            yield from words


def plain_settings(settings: type, prefix: str, given: dict[str, str]) -> dict[str, Any]:
    """Settings of a command line as plain data.

    Raises:
        ConfigError: a value is not valid YAML, and its setting is not a string.
    """
    plain = {}
    for _, key in setting_keys(settings):
        if (text := given.get(prefix + key)) is not None:
            hint = hint_of(settings, key)
            plain[key] = from_text(hint, text, prefix + key, COMMAND_LINE)
    return nested(plain)


def hint_of(settings: type, key: str) -> Any:
    """The type of a dotted setting."""
    section, _, rest = key.partition(".")
    hint = hints_of(settings)[section]
    return hint_of(hint, rest) if rest else hint


def built(settings: type, prefix: str, given: dict[str, str]) -> Any:
    """A dataclass of settings from those that a command line gives.

    Raises:
        ConfigError: an ill-typed setting, or one outside its range.
    """
    plain = plain_settings(settings, prefix, given)
    return build(settings, (COMMAND_LINE, plain), prefix=prefix)


def recipe_of(paths: Sequence[str], given: dict[str, str]) -> Recipe:
    """The recipe of a --config file, if one is given, with the command line's settings on top.

    Raises:
        ConfigError: an unknown or ill-typed setting, or one outside its range.
    """
    if len(paths) > 1:
        raise ConfigError("--config", list(paths), "name one recipe; it may include others")
    plain = plain_settings(Recipe, "", given)
    layers = [layer for path in paths for layer in read_layered_yaml(shipped_file("recipe", path))]
    return build(Recipe, *layers, (COMMAND_LINE, plain))


def load_recipe(path: Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a file (none: the sample recipe), with dotted overrides."""
    command = Command(
        "recipe", params=recipe_options(), callback=lambda recipe: recipe, add_help_option=False
    )
    context = command.make_context("recipe", [*overrides, *([f"--config={path}"] if path else [])])
    recipe: Recipe = command.invoke(context)
    return recipe
