"""Table cells and JSON values, checked and converted: text, labels, numbers, lists, objects."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from alignmlm.errors import DataError, listed, nearest, quoted

NAMES: list[tuple[type | tuple[type, ...], str]] = [
    (bool, "a truth value"),
    (str, "text"),
    (int, "a whole number"),
    (float, "a number"),
    ((bytes, bytearray), "bytes"),
    ((list, tuple), "a list"),
    (Mapping, "an object"),
]


def described(value: object) -> str:
    """A value with its type, for errors: "a list, [1, 2]"."""
    if value is None:
        return "null"
    kind = next((name for type_, name in NAMES if isinstance(value, type_)), type(value).__name__)
    return f"{kind}, {quoted(value)}"


def as_text(value: object, what: str, place: str) -> str:
    """The value as text; a whole number becomes its digits.

    Raises:
        DataError: it is something else, or null.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{place}: {what} must be text, found {described(value)}")


def as_label(value: object, what: str, place: str) -> str:
    """A label: text without space around it, a whole number (2.0 is "2"), "true" or "false".

    Raises:
        DataError: it is something else, or null.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int):
        return str(value).strip()
    requirement = "must be text or a whole number"
    raise DataError(f"{place}: {what} {requirement}, found {described(value)}")


def as_number(value: object, what: str, place: str) -> int:
    """A whole number.

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise DataError(f"{place}: {what} must be a whole number, found {described(value)}")


def as_list(value: object, what: str, place: str) -> list[Any]:
    """A list.

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, list | tuple):
        return list(value)
    raise DataError(f"{place}: {what} must be a list, found {described(value)}")


def as_object(value: object, what: str, place: str) -> Mapping[str, Any]:
    """A mapping of names to values.

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, Mapping):
        return value
    raise DataError(f"{place}: {what} must be an object, found {described(value)}")


def cell(row: Mapping[Any, Any], column: str | int, place: str) -> Any:
    """One cell of a row.

    Raises:
        DataError: the row lacks the column; the message has the nearest name.
    """
    if column not in row:
        hint = nearest(str(column), [str(name) for name in row])
        raise DataError(f"{place}: no column {quoted(column)}; there are {listed(list(row))}{hint}")
    return row[column]


def check_names(names: Iterable[str], place: str) -> None:
    """Raise unless column names are distinct; empty ones may be repeated.

    Raises:
        DataError: a name is repeated.
    """
    counts = Counter(name for name in names if name)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise DataError(f"{place}: column names must differ, repeated are {listed(twice)}")
