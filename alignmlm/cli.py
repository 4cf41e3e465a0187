"""The command line: `alignmlm <command>`, and what train.py runs."""

import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from alignmlm import __version__
from alignmlm.commands.guard import guarded
from alignmlm.errors import AlignMLMError, ConfigError, ExitCode, nearest
from alignmlm.storage.docstrings import docstrings

COMMANDS = {  # where each command is; its module is imported when it runs
    "init": "init:init_command",
    "train": "runs:train_command",
    "data build": "build:data_build",
    "data verify": "data:data_verify",
    "data show": "data:data_show",
    "data stats": "data:data_stats",
    "data dictionary": "data:data_dictionary",
    "data import": "interchange:data_import",
    "data export": "interchange:data_export",
    "data fetch": "interchange:data_fetch",
    "data train-parser": "syntax:data_train_parser",
    "data parse": "syntax:data_parse",
    "data fit-order": "syntax:data_fit_order",
    "data order": "syntax:data_order",
    "eval run": "evaluation:eval_run",
    "eval ls": "evaluation:eval_ls",
    "eval show": "preview:eval_show",
    "eval validate": "evaluation:eval_validate",
    "eval compare": "transfer:eval_compare",
    "eval figures": "transfer:eval_figures",
    "eval export": "transfer:eval_export",
    "eval map": "transfer:eval_map",
    "study plan": "study:study_plan",
    "study run": "study:study_run",
    "study status": "study:study_status",
    "study stop": "study:study_stop",
    "study report": "study:study_report",
    "launch pretrain": "launch:launch_pretrain",
    "launch evaluate": "launch:launch_evaluate",
    "launch study": "launch:launch_study",
    "doctor": "doctor:doctor_command",
    "export": "runs:export_command",
    "plan": "plan:plan_command",
    "probe": "probe:probe_command",
    "report": "runs:report_command",
    "settings": "reference:settings_command",
    "completion": "reference:completion_command",
}
GROUPS = {
    "": "Pre-train multilingual encoders, and measure how well they transfer.",
    "data": "Stores: build, check, show, exchange; parses and orders of their sentences.",
    "eval": "Tasks, and the transfer of models on them.",
    "study": "Objectives, settings and seeds, pre-trained and measured together.",
    "launch": "Hand work to SLURM.",
}


class Commands(click.Group):
    """A group of commands, whose --help imports none of them."""

    def __init__(self, path: str) -> None:
        self.path = path
        names = {"help_option_names": ["-h", "--help"]}
        super().__init__(
            path,
            help=GROUPS[path],
            context_settings=names,
        )
        if not path:
            click.version_option(__version__, message="%(version)s")(self)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The words that may follow."""
        start = f"{self.path} ".lstrip()
        names = (name.removeprefix(start) for name in COMMANDS if name.startswith(start))
        return list(dict.fromkeys(name.split()[0] for name in names))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command or group of a word; None where there is none."""
        name = f"{self.path} {cmd_name}".lstrip()
        if cmd_name and name in GROUPS:
            return Commands(name)
        return load_command(name) if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, each with the first line of its docstring."""
        rows = []
        for word in self.list_commands(ctx):
            name = f"{self.path} {word}".lstrip()
            rows.append((word, GROUPS[name] if name in GROUPS else summary(name)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options before the command; without a command the help is printed.

        Raises:
            ConfigError: an unknown option.
            AlignMLMError: an option with a value that it does not take.
        """
        try:
            return super().parse_args(ctx, args or ([] if ctx.resilient_parsing else ["--help"]))
        except click.NoSuchOption as error:
            requirement = (
                f"be a command or --help{nearest(error.option_name, ['--help', '--version'])}"
            )
            raise ConfigError("command line: option", error.option_name, requirement) from error
        except click.UsageError as error:
            raise AlignMLMError(f"command line: {error.format_message()}") from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the next word, and the words after it.

        Raises:
            ConfigError: there is no such command; the message names the nearest.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            typed = f"{self.path} {args[0]}".lstrip()
            words = [f"{self.path} {word}".lstrip() for word in self.list_commands(ctx)]
            by_word = {name.split()[-1]: name for name in (*COMMANDS, *words)}
            close = get_close_matches(args[0], by_word, n=1)
            hint = f"; did you mean {by_word[close[0]]!r}?" if close else ""
            raise ConfigError("command", typed, f"be one of: {', '.join(words)}{hint}") from error


def load_command(name: str) -> Any:
    """A command, with its module imported."""
    module, _, function = COMMANDS[name].partition(":")
    return getattr(import_module(f"alignmlm.commands.{module}"), function)


def summary(name: str) -> str:
    """The first line of a command's docstring, read without importing it."""
    module, _, function = COMMANDS[name].partition(":")
    return docstrings(f"alignmlm.commands.{module}").get(function, "").partition("\n")[0]


def dispatch(arguments: Sequence[str]) -> int:
    """Run the command that the first one or two words name."""
    group = Commands("")
    try:
        with group.make_context("alignmlm", list(arguments)) as context:
            return group.invoke(context) or 0
    except click.exceptions.Exit as end:  # after --help
        return end.exit_code


def main() -> None:
    """Entry point of `alignmlm`."""
    if "_ALIGNMLM_COMPLETE" in os.environ:
        Commands("").main(prog_name="alignmlm")
    words = sys.argv[1:]
    if " ".join(words) in GROUPS:
        words.append("--help")
    end_with_reader_of_help(words)
    escape_unencodable()
    limit_spinning()
    leave(guarded(dispatch, words))


def end_with_reader_of_help(words: Sequence[str]) -> None:
    """Let `--help | head` end as other programs do: by SIGPIPE."""
    if {"-h", "--help", "--version"} & set(words):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def escape_unencodable() -> None:
    """Print characters that a stream's encoding lacks, as Latin-1 lacks most, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def limit_spinning() -> None:
    """Let waiting OpenMP threads yield their cores soon, unless the user has set a policy.

    libgomp, the OpenMP runtime in torch's wheels, reads this when torch is imported; by default a
    waiting thread spins 300,000 times. On a busy machine it thereby occupies a core that the thread
    it waits for needs. On an otherwise idle one, training is just as fast (docs/decisions.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def train() -> None:
    """Entry point of train.py."""
    end_with_reader_of_help(sys.argv[1:])
    escape_unencodable()
    limit_spinning()
    leave(guarded(train_words, ["train", *sys.argv[1:]]))


def train_words(words: Sequence[str]) -> int:
    """Run `train` with the words after the first one; returns its exit code."""
    code: int = load_command("train")(words[1:], "train.py")
    return code


def leave(code: int) -> None:
    """End this process; after training, skip the teardown, in which ZeRO-3 sometimes aborts."""
    torch = sys.modules.get("torch")
    saved = code in (ExitCode.DONE, ExitCode.REQUEUE)
    if saved and torch is not None and torch.distributed.is_initialized():
        torch.distributed.barrier()
        with suppress(OSError):  # a launcher that is told to end closes the pipes first
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
