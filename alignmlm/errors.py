"""Errors that a user can fix: each names the place, what was found and what is allowed."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from enum import IntEnum

QUOTED_CHARACTERS = 300
LISTED = 10
ERROR_FILE = "ALIGNMLM_ERROR_FILE"  # variable: file for a copy of the error that ends a command


class ExitCode(IntEnum):
    """How a command ends; docs/commands.md lists them."""

    DONE = 0
    DAMAGED = 1  # also Python's own after a traceback
    ERROR = 2
    PARTIAL = 3
    REQUEUE = 85
    INTERRUPTED = 130


class AlignMLMError(Exception):
    """Root of everything that a user can fix; any other exception is a bug."""


class ConfigError(AlignMLMError):
    """A setting that cannot be honoured."""

    def __init__(self, key: str, value: object, requirement: str) -> None:
        super().__init__(key, value, requirement)  # all three, so that other ranks can unpickle it

    def __str__(self) -> str:
        key, value, requirement = self.args
        return f"{key} = {quoted(value)}, but it must {requirement}"


class DataError(AlignMLMError):
    """A corpus, shard, dictionary or manifest that cannot be used."""


class CheckpointError(AlignMLMError):
    """A checkpoint that is damaged, or that belongs to another run."""


def quoted(value: object) -> str:
    """A value as shown in error messages, truncated if it is long."""
    text = repr(value)
    return text if len(text) <= QUOTED_CHARACTERS else f"{text[:QUOTED_CHARACTERS]}..."


def listed(values: Collection[object]) -> str:
    """Values as shown in error messages; if there are many, their number and the first ones."""
    texts = [quoted(value) for value, _ in zip(values, range(LISTED), strict=False)]
    shown = f"[{', '.join(texts)}]"
    return shown if len(values) <= LISTED else f"{len(values):,}, the first: {shown}"


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint like "; did you mean 'alpha'?", or nothing where no name is close."""
    close = get_close_matches(name, list(allowed), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
