"""What --help shows of a recipe: the settings that a command reads."""

from argparse import SUPPRESS
from typing import Any

LEFT_OUT = "Other settings of a recipe are taken too: see `train.py --help`."


def show_settings(parser: Any, *shown: str) -> None:
    """Leave out of --help all recipe settings but those of these names and sections ("mask.").

    They can be set all the same, so that the options of a run can be given to any command.
    """
    sections = tuple(name for name in shown if name.endswith("."))
    for action in parser._actions:
        wanted = action.dest in shown or action.dest.startswith(sections)
        if "." in action.dest and not wanted:
            action.help = SUPPRESS
    for group in parser._action_groups:
        if all(action.help == SUPPRESS for action in group._group_actions):
            group.description = None
    parser.epilog = LEFT_OUT
