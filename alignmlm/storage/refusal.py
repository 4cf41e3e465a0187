"""Checks for what is not plain data, and the error that they raise."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alignmlm.errors import AlignMLMError, ConfigError, quoted

MAX_DEPTH = 64  # lists and mappings inside each other


class NotPlainError(Exception):
    """A part of a text that is not plain data; refused_by_name() makes it an error on the file."""

    def __init__(self, what: str, value: str, requirement: str, line: int | None = None) -> None:
        super().__init__(what, value, requirement)
        self.what, self.value, self.requirement, self.line = what, value, requirement, line


def refusal(kind: type[AlignMLMError], key: str, value: object, requirement: str) -> AlignMLMError:
    """An error of type `kind` that says what was found and what is allowed."""
    return (
        ConfigError(key, value, requirement)
        if kind is ConfigError
        else kind(f"{key} = {quoted(value)}, but it must {requirement}")
    )


@contextmanager
def refused_by_name(place: str, kind: type[AlignMLMError]) -> Iterator[None]:
    """Turn a NotPlainError into an error of type `kind` that names the file, and the line if known.

    Raises:
        AlignMLMError: of type `kind`.
    """
    try:
        yield
    except NotPlainError as error:
        where = place if error.line is None else f"{place}:{error.line}"
        key = f"{where}: {error.what}" if error.what else where
        raise refusal(kind, key, error.value, error.requirement) from error


def check_texts(value: Any) -> None:
    """Refuse texts that cannot be written as UTF-8, and deep nesting.

    Raises:
        NotPlainError: a lone surrogate, or more than 64 levels.
    """
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for each in level:
            if isinstance(each, str):
                check_text(each)
            elif isinstance(each, dict):
                below += [*each.keys(), *each.values()]
            elif isinstance(each, list):
                below += each
        level, depth = below, depth + 1
        if depth > MAX_DEPTH + 1:
            raise NotPlainError("nesting", f"more than {MAX_DEPTH} levels", f"end at {MAX_DEPTH}")


def check_text(text: str) -> None:
    """Refuse half of a surrogate pair, which no UTF-8 text can hold.

    Raises:
        NotPlainError: there is one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        requirement = f"have no lone surrogate (U+{ord(text[error.start]):04X})"
        raise NotPlainError("text", text, requirement) from error
