"""JSON of files as frozen dataclasses; types, counts and sizes are checked, not trusted."""

from pathlib import Path
from typing import Any, TypeVar

from alignmlm.errors import AlignMLMError, ConfigError, DataError
from alignmlm.storage.typed_settings import build

Record = TypeVar("Record")


def record(
    kind: type[Record], value: object, place: str | Path, error: type[AlignMLMError] = DataError
) -> Record:
    """A dataclass from a JSON object with exactly its fields, each of its type.

    Raises:
        AlignMLMError: of type `error`: a field is unknown, missing or of another type, or the
            class refuses its value.
    """
    if not isinstance(value, dict):
        raise error(f"{place} must be an object, found {value!r:.80}")
    try:
        return build(kind, (str(place), value))
    except ConfigError as refused:
        raise error(str(refused)) from refused


def check_keys(
    value: object,
    kinds: dict[str, Any],
    place: str | Path,
    error: type[AlignMLMError] = DataError,
    optional: dict[str, Any] | None = None,
) -> None:
    """Raise unless a value is an object with the given keys and types; it may have more keys.

    Raises:
        AlignMLMError: of type `error`: it is not an object, or a key is missing or has another
            type; an optional key may be missing.
    """
    if not isinstance(value, dict):
        raise error(f"{place} must be an object, found {value!r:.80}")
    present = {key: kind for key, kind in (optional or {}).items() if key in value}
    for key, kind in {**present, **kinds}.items():
        if key not in value or not isinstance(value[key], kind):
            names = getattr(kind, "__name__", str(kind))
            value_text = repr(value[key])[:80] if key in value else "nothing"
            raise error(f"{place}: {key} must be of type {names}, found {value_text}")


def check_count(key: str, value: int, most: int) -> None:
    """Raise unless a count lies in [0, most].

    Raises:
        ConfigError: it does not.
    """
    if not 0 <= value <= most:
        raise ConfigError(key, value, f"lie in [0, {most}]")
