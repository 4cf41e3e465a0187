"""How a command ends: its exit code, and one message, not a traceback, for what users can fix."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from alignmlm.errors import ERROR_FILE, AlignMLMError, ExitCode
from alignmlm.ranks.signals import SavedAndStoppedError
from alignmlm.storage.system_errors import storage_error

GOES_ON = (  # commands that keep what they have done and go on from there
    "data build", "data fetch", "data parse", "eval run", "launch evaluate", "launch study",
    "study run", "train",
)  # fmt: skip


def guarded(work: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """The exit code of a command; an error that a user can fix is one message, not a traceback."""
    try:
        return work(arguments)
    except AlignMLMError as error:
        notes = getattr(error, "__notes__", [])  # set by one rank; without, all have the error
        if notes or os.environ.get("RANK", "0") == "0":
            show_error(error, notes)
        return ExitCode.ERROR
    except SavedAndStoppedError:
        return ExitCode.REQUEUE
    except KeyboardInterrupt:
        show(interrupted(arguments))
        return ExitCode.INTERRUPTED
    except Exception as error:
        if (fault := storage_error(error)) is None:
            raise
        show_error(fault, [f"rank {rank}"] if (rank := os.environ.get("RANK", "0")) != "0" else [])
        return ExitCode.ERROR


def show(text: str) -> None:
    """Print why a command ends."""
    from rich.text import Text

    from alignmlm.console.terminal import messages

    messages.print(Text(f"alignmlm: {text}", "bold red"), soft_wrap=True)


def show_error(error: AlignMLMError, notes: Sequence[str]) -> None:
    """Print an error, and where it arose if only one rank knows of it."""
    show(f"error on {notes[0]}: {error}" if notes else f"error: {error}")
    if path := os.environ.get(ERROR_FILE):
        Path(path).write_text(str(error), encoding="utf-8")


def interrupted(arguments: Sequence[str]) -> str:
    """The message after Ctrl-C: whether the same command resumes from what is finished."""
    if " ".join(arguments[:2]) in GOES_ON or arguments[:1] == ["train"]:
        return "stopped by Ctrl-C; the same command goes on from what is finished"
    return "stopped by Ctrl-C; nothing was left half-written"
