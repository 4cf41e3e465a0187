"""The command line: `alignmlm <command>`, and what train.py runs."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from alignmlm import __version__
from alignmlm.commands.build import data_build
from alignmlm.commands.data import data_show, data_stats, data_verify
from alignmlm.commands.dictionary import data_dictionary
from alignmlm.commands.doctor import doctor_command
from alignmlm.commands.evaluation import eval_ls, eval_run, eval_validate
from alignmlm.commands.interchange import data_export, data_fetch, data_import
from alignmlm.commands.launch import launch_evaluate, launch_pretrain, launch_study
from alignmlm.commands.plan import plan_command
from alignmlm.commands.preview import eval_show
from alignmlm.commands.probe import probe_command
from alignmlm.commands.runs import export_command, report_command, study_run, train_command
from alignmlm.commands.syntax import data_fit_order, data_order, data_parse, data_train_parser
from alignmlm.commands.transfer import eval_compare, eval_figures, eval_map
from alignmlm.errors import ConfigError, nearest
from alignmlm.guard import guarded
from alignmlm.ranks.signals import REQUEUE_EXIT_CODE
from alignmlm.terminal import WholeTable, console, new_table, print_line

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train_command,
    "data build": data_build,
    "data verify": data_verify,
    "data show": data_show,
    "data stats": data_stats,
    "data dictionary": data_dictionary,
    "data import": data_import,
    "data export": data_export,
    "data fetch": data_fetch,
    "data train-parser": data_train_parser,
    "data parse": data_parse,
    "data fit-order": data_fit_order,
    "data order": data_order,
    "eval run": eval_run,
    "eval ls": eval_ls,
    "eval show": eval_show,
    "eval validate": eval_validate,
    "eval compare": eval_compare,
    "eval figures": eval_figures,
    "eval map": eval_map,
    "study run": study_run,
    "launch pretrain": launch_pretrain,
    "launch evaluate": launch_evaluate,
    "launch study": launch_study,
    "doctor": doctor_command,
    "export": export_command,
    "plan": plan_command,
    "probe": probe_command,
    "report": report_command,
}


def usage(group: str = "") -> WholeTable:
    """One line for each command, or for those of a group."""
    title = f"alignmlm {__version__}: pre-train multilingual encoders, measure transfer"
    table = new_table(title, "Each command has --help.")
    table.show_header = False
    for name, work in COMMANDS.items():
        if group in ("", name.split()[0]):
            table.add_row(f"alignmlm {name}", (work.__doc__ or "").splitlines()[0])
    return table


def asked_for_help(arguments: Sequence[str]) -> str | None:
    """The group of commands whose usage a command line asks for; "" is all; None: it does not."""
    group, *rest = arguments or [""]
    if group in ("", "-h", "--help"):
        return ""
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    return group if group in groups and rest[:1] in ([], ["-h"], ["--help"]) else None


def dispatch(arguments: Sequence[str]) -> int:
    """Run the command that the first one or two words name."""
    if (group := asked_for_help(arguments)) is not None:
        console.print(usage(group))
        return 0
    if arguments[0] == "--version":
        print_line(__version__)
        return 0
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in COMMANDS:
            return COMMANDS[name](arguments[words:])
    must = f"be one of: {', '.join(COMMANDS)}{nearest(' '.join(arguments[:2]), COMMANDS)}"
    raise ConfigError("command", " ".join(arguments[:2]), must)


def main() -> None:
    """Entry point of `alignmlm`."""
    leave(guarded(dispatch, sys.argv[1:]))


def train() -> None:
    """Entry point of train.py."""
    leave(guarded(train_command, sys.argv[1:]))


def leave(code: int) -> None:
    """End this process; after training at once, as ZeRO-3 sometimes aborts while torn down."""
    torch = sys.modules.get("torch")
    if code in (0, REQUEUE_EXIT_CODE) and torch is not None and torch.distributed.is_initialized():
        torch.distributed.barrier()
        with suppress(OSError):  # a launcher that is told to end closes the pipes first
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
