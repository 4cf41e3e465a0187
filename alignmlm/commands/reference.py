"""Commands about the command line: settings, completion."""

from dataclasses import fields
from typing import Any

import click
from click.shell_completion import get_completion_class

from alignmlm.commands.options import SHELLS, as_json, command
from alignmlm.config import default_text, setting_keys
from alignmlm.console.terminal import print_json, print_line
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.pretraining.recipe import Recipe
from alignmlm.storage.typed_settings import described, explanation, hints_of

REFERENCE = (("", Recipe), ("evaluation.", EvaluationConfig))


@command("settings")
@as_json
def settings_command(as_json: bool) -> None:
    """Print every setting of recipes and evaluations: its type, its default, what it is."""
    if as_json:
        print_json(setting_rows())
    else:
        print_line(settings_markdown())


def setting_rows() -> list[dict[str, str]]:
    """The settings of recipes and evaluations."""
    rows = []
    for prefix, settings in REFERENCE:
        for section, key in setting_keys(settings):
            owner: Any = settings
            for name in section.split(".")[:-1]:
                owner = hints_of(owner)[name]
            field = next(each for each in fields(owner) if each.name == key.rpartition(".")[2])
            row = {
                "section": (prefix + section).rstrip("."),
                "setting": prefix + key,
                "type": described(hints_of(owner)[field.name]),
                "default": default_text(field),
                "explanation": explanation(owner, field.name),
            }
            rows.append(row)
    return rows


def settings_markdown() -> str:
    """The settings as Markdown tables, one per section."""
    lines = ["## All settings"]
    section = None
    for row in setting_rows():
        if row["section"] != section:
            section = row["section"]
            lines += [
                "",
                f"### {section}",
                "",
                "| setting | type | default | |",
                "|---|---|---|---|",
            ]
        cells = (
            f"`{row['setting']}`",
            row["type"],
            f"`{row['default']}`",
            row["explanation"].replace("<", "&lt;"),
        )
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


@command("completion")
@click.argument("shell", type=SHELLS, metavar="{bash|zsh|fish}")
def completion_command(shell: str) -> None:
    """Print the script that completes commands, options and settings in a shell."""
    complete = get_completion_class(shell)
    if complete is not None:
        command = click.Command("alignmlm")
        print_line(complete(command, {}, "alignmlm", "_ALIGNMLM_COMPLETE").source())
