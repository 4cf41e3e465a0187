"""YAML and JSON files as plain data: dict, list, str, int, float, bool and None, nothing else.

Every file that holds settings, records or results is read here. No text can name code: tags,
anchors and repeated keys are refused, and so is what is too large, too deep or not UTF-8.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import isinf
from pathlib import Path
from typing import Any

from alignmlm.errors import AlignMLMError, ConfigError, DataError
from alignmlm.storage.plain_yaml import parse_yaml
from alignmlm.storage.refusal import (
    MAX_DEPTH,
    NotPlainError,
    check_texts,
    refusal,
    refused_by_name,
)

YAML_MIB, JSON_MIB = 1, 256  # largest files
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
INCLUDE = "include"
Kind = type[AlignMLMError]


def read_text(path: Path, max_mib: int, kind: Kind) -> str:
    """The text of a file without its byte-order mark.

    Raises:
        AlignMLMError: it cannot be read, is larger than max_mib, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_mib * 2**20 + 1)
    except (OSError, ValueError) as error:
        requirement = f"be an existing file that can be read ({getattr(error, 'strerror', error)})"
        raise refusal(kind, "file", str(path), requirement) from error
    if len(data) > max_mib * 2**20:
        raise refusal(kind, "file", str(path), f"have at most {max_mib} MiB")
    return decoded(data, str(path), kind)


def decoded(data: bytes, place: str, kind: Kind) -> str:
    """UTF-8 as text without a byte-order mark.

    Raises:
        AlignMLMError: it is not UTF-8; the message names the line.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        requirement = f"be UTF-8 ({error.reason} at byte {error.start})"
        wrong = data[error.start : error.start + 8]
        raise refusal(kind, f"{place}:{line}", wrong, requirement) from error


def parse_json(text: str | bytes, place: str, kind: Kind = DataError, *, nan: bool = False) -> Any:
    """The plain data of a JSON text; `place` names it in errors, which are of type `kind`.

    `nan` says whether NaN and Infinity may occur in it, as they do in records of measurements.

    Raises:
        AlignMLMError: not JSON, repeated keys, a lone surrogate, or too deep.
    """
    if isinstance(text, bytes):
        text = decoded(text, place, kind)
    with refused_by_name(place, kind), json_named(text):
        value = json.loads(
            text,
            object_pairs_hook=unrepeated,
            parse_constant=float if nan else refuse_constant,
            parse_float=float if nan else finite,
        )
        if SURROGATE.search(text) or text.count("[") + text.count("{") > MAX_DEPTH:
            check_texts(value)
    return value


@contextmanager
def json_named(text: str) -> Iterator[None]:
    """Turn errors of the JSON parser into ones that quote the line.

    Raises:
        NotPlainError: the text is not JSON.
    """
    try:
        yield
    except json.JSONDecodeError as error:
        quoted = error.doc[error.pos - error.colno + 1 :].partition("\n")[0]
        raise NotPlainError("", quoted, f"be JSON ({error.msg})", error.lineno) from error
    except RecursionError as error:
        requirement = f"end at {MAX_DEPTH}"
        raise NotPlainError("nesting", "more levels than can be read", requirement) from error
    except ValueError as error:  # an integer with thousands of digits
        raise NotPlainError("number", "thousands of digits", "be shorter") from error


def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The JSON object of some pairs.

    Raises:
        NotPlainError: it has a key twice.
    """
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in mapping if names.count(name) > 1)
        raise NotPlainError("key", twice, "occur only once in its object")
    return mapping


def refuse_constant(text: str) -> float:
    """Refuse NaN and Infinity, which are no JSON numbers.

    Raises:
        NotPlainError: always, for NaN and Infinity.
    """
    raise NotPlainError("number", text, "be finite")


def finite(text: str) -> float:
    """A number of a JSON text.

    Raises:
        NotPlainError: it is larger than any float.
    """
    if isinf(value := float(text)):
        raise NotPlainError("number", text, "be finite")
    return value


def mapping(value: Any, place: str, kind: Kind) -> dict[str, Any]:
    """The value itself, if it is a mapping.

    Raises:
        AlignMLMError: it is something else.
    """
    if not isinstance(value, dict):
        raise refusal(kind, place, value, "be a mapping of keys to values")
    return value


def read_json(path: Path, kind: Kind = DataError, *, nan: bool = False) -> dict[str, Any]:
    """The JSON object of a file; errors are of type `kind`.

    Raises:
        AlignMLMError: it cannot be read, or holds something else.
    """
    text = read_text(path, JSON_MIB, kind)
    return mapping(parse_json(text, str(path), kind, nan=nan), str(path), kind)


def read_yaml(path: Path, kind: Kind = ConfigError) -> dict[str, Any]:
    """The mapping of a YAML file, empty where the file is; errors are of type `kind`.

    Raises:
        AlignMLMError: it cannot be read, or holds something else.
    """
    value = parse_yaml(read_text(path, YAML_MIB, kind), str(path), kind)
    return {} if value is None else mapping(value, str(path), kind)


def read_layered_yaml(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Path and mapping of a YAML file and of those that it includes, the lowest layer first.

    Raises:
        ConfigError: one cannot be read, or they include each other.
    """
    layers: list[tuple[str, dict[str, Any]]] = []
    including: set[Path] = set()
    following: Path | None = path
    while following is not None:
        here, following = following, None
        values = read_yaml(here)
        if here.resolve() in including:
            raise ConfigError(f"{layers[0][0]}: {INCLUDE}", str(here), "not include itself")
        including.add(here.resolve())
        if INCLUDE in values:
            included = values.pop(INCLUDE)
            if not isinstance(included, str):
                raise ConfigError(f"{here}: {INCLUDE}", included, "be the path of a YAML file")
            following = here.parent / included
        layers.insert(0, (str(here), values))
    return layers


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The lower mapping, recursively updated by the upper one."""
    both = {
        key: merged(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return {**below, **above, **both}
