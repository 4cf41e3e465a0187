"""Settings from plain data: frozen dataclasses, checked by their type hints before one is built.

Nothing but these dataclasses is constructed: values have plain types, and no key names a class.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from functools import cache, reduce
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from alignmlm.errors import ConfigError, nearest
from alignmlm.storage.docstrings import docstrings
from alignmlm.storage.plain_data import merged
from alignmlm.storage.plain_yaml import parse_yaml
from alignmlm.storage.registry import Names
from alignmlm.storage.variables import expanded

DataPath = Annotated[str, "$VARIABLES are looked up where it is opened, and recorded as written"]
FolderPath = Annotated[str, "$VARIABLES are looked up where it is read"]  # or the path of a file
Verbatim = Annotated[str, "as it stands in the data"]
Layer = tuple[str, dict[str, Any]]  # the name to show in errors, and settings by section
Settings = TypeVar("Settings")

SCALARS = {
    str: "text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    Any: "a value",
    object: "a value",
}
ANYTHING = (str, int, float, bool, list, dict, NoneType)
ACCEPTED: dict[Any, tuple[type, ...]] = {
    float: (int, float),
    Any: ANYTHING,
    object: ANYTHING,
}
VARIABLE = re.compile(r"\$[A-Za-z_{]")
INTEGER_BITS = 63


@cache
def hints_of(settings: type) -> dict[str, Any]:
    """The type of each setting of a dataclass."""
    hints = get_type_hints(settings, include_extras=True)
    return {field.name: hints[field.name] for field in fields(settings)}


def is_section(hint: Any) -> bool:
    """Whether a type is a dataclass."""
    return isinstance(hint, type) and is_dataclass(hint)


def setting_hints(settings: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and types of all settings of a dataclass, those of its sections included."""
    for name, hint in hints_of(settings).items():
        if is_section(hint):
            yield from setting_hints(hint, f"{prefix}{name}.")
        else:
            yield prefix + name, hint


def explanation(settings: type, key: str) -> str:
    """What a dotted setting is: the docstring under its field; "" where there is none."""
    name, _, rest = key.partition(".")
    name = name.partition("[")[0]
    hint = hints_of(settings).get(name)
    if not rest:
        return docstrings(settings.__module__).get(f"{settings.__name__}.{name}", "")
    section = next((part for part in (hint, *get_args(hint)) if is_section(part)), None)
    return explanation(section, rest) if section else ""


def arms(hint: Any) -> tuple[Any, ...]:
    """The types that a union joins, or the one type itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def accepted_types(hint: Any) -> tuple[type, ...]:
    """The plain types that a setting of a type accepts."""
    origin = get_origin(hint)
    if origin is Annotated:
        return accepted_types(get_args(hint)[0])
    if origin is Literal:
        return tuple({type(value) for value in get_args(hint)})
    if is_section(hint):
        return (dict,)
    if origin is tuple:
        return (list,)
    return ACCEPTED.get(hint, (origin or hint,))


def arm_of(hint: Any, value: object) -> Any:
    """The arm of a union that accepts a value, or None. A Boolean is not an integer."""
    return next((arm for arm in arms(hint) if type(value) in accepted_types(arm)), None)


def names_of(hint: Any) -> Names | None:
    """The names of records that a setting may have; None: any text."""
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((mark for mark in marks if isinstance(mark, Names)), None)


def described(hint: Any) -> str:
    """What a type allows, in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(map(described, inner))
    if (names := names_of(hint)) is not None:
        return f"one of {list(names.built_in)}"
    if origin is Annotated:
        return described(inner[0])
    if origin is Literal:
        return f"one of {list(inner)}"
    if origin in (list, tuple):
        return f"a list, each item {described(inner[0])}"
    if origin is dict:
        return f"a mapping, each value {described(inner[1])}"
    if is_section(hint):
        return f"a mapping with settings of {list(hints_of(hint))}"
    return "null" if hint is NoneType else SCALARS[hint]


def check(hint: Any, value: Any, key: str, place: str, *, whole: bool = True) -> None:
    """Raise unless a value fits a setting's type; `whole`: what has no default must be there.

    Raises:
        ConfigError: it does not; the message names place and key.
    """
    arm = arm_of(hint, value)
    inner = get_args(arm)
    if arm is None or (get_origin(arm) is Literal and value not in inner):
        requirement = f"be {described(hint)}{advice(hint, value)}"
        raise ConfigError(f"{place}: {key}", value, requirement)
    if (names := names_of(arm)) is not None and value not in names:
        requirement = f"be one of {list(names)}{nearest(str(value), names)}"
        raise ConfigError(f"{place}: {key}", value, requirement)
    if is_section(arm):
        check_section(arm, value, f"{key}.", place, whole=whole)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            check(inner[0] if inner else Any, item, f"{key}[{number}]", place)
    elif isinstance(value, dict):
        for name, item in value.items():
            check(inner[-1] if inner else Any, item, f"{key}.{name}", place)
    elif isinstance(value, str):
        check_text(value, f"{place}: {key}", variables=arm is not str)
    elif value is not None:
        check_number(value, f"{place}: {key}")


def advice(hint: Any, value: object) -> str:
    """A hint at what may have gone wrong where a value does not have the type of its setting."""
    if isinstance(value, (int, float)) and str in sum(map(accepted_types, arms(hint)), ()):
        return "; put it in quotes"
    return "; leave out the quotes" if isinstance(value, str) and value.isdecimal() else ""


def check_text(text: str, key: str, *, variables: bool) -> None:
    """Raise unless a text can be written to a file; without `variables` it may name no $VARIABLE.

    Raises:
        ConfigError: it cannot, or it names one.
    """
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConfigError(key, text, "hold no NUL and no lone surrogate")
    if not variables and VARIABLE.search(text):
        requirement = "name no $VARIABLE: only paths look them up"
        raise ConfigError(key, text, requirement)


def check_number(value: int | float, key: str) -> None:
    """Raise unless a number is finite and, if it is whole, fits into 64 bits.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, int) and not -(2**INTEGER_BITS) <= value < 2**INTEGER_BITS:
        raise ConfigError(key, value, f"lie in [-2**{INTEGER_BITS}, 2**{INTEGER_BITS})")
    if not isfinite(value):
        raise ConfigError(key, value, "be finite")


def check_section(
    settings: type, values: dict[str, Any], prefix: str, place: str, *, whole: bool
) -> None:
    """Raise unless a mapping holds settings of a dataclass, each of its type.

    Raises:
        ConfigError: an unknown setting, one of another type, or (whole) one without a default is
            missing.
    """
    hints = hints_of(settings)
    for name, value in values.items():
        if name not in hints:
            requirement = f"be one of {list(hints)}{nearest_setting(name, settings, prefix)}"
            raise ConfigError(f"{place}: setting", prefix + name, requirement)
        check(hints[name], value, prefix + name, place, whole=whole)
    if whole:
        check_complete(settings, values, prefix, place)


def nearest_setting(name: str, settings: type, prefix: str) -> str:
    """A hint that names the setting with the closest name, even if it belongs in a section."""
    known = {dotted.rpartition(".")[2]: dotted for dotted, _ in setting_hints(settings, prefix)}
    known |= {each: prefix + each for each in hints_of(settings)}
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {known[close[0]]!r}?" if close else ""


def check_complete(settings: type, values: dict[str, Any], prefix: str, place: str) -> None:
    """Raise unless a mapping has all settings of a dataclass that have no default.

    Raises:
        ConfigError: one is missing.
    """
    needed = [
        field.name
        for field in fields(settings)
        if field.default is field.default_factory is MISSING
    ]
    if missing := [prefix + name for name in needed if name not in values]:
        raise ConfigError(f"{place}: settings", list(values), f"include {missing}")


def construct(hint: Any, value: Any, prefix: str = "") -> Any:
    """A checked value as the setting's type: mappings as dataclasses, whole numbers as floats.

    `prefix` is that of a section's settings, for errors.

    Raises:
        ConfigError: a path names a variable that is not set, or a section refuses its settings.
    """
    arm = arm_of(hint, value)
    if is_section(arm):
        hints = hints_of(arm)
        return arm(
            **{
                name: expanded(item, prefix + name)
                if arm_of(hints[name], item) == FolderPath
                else construct(hints[name], item, f"{prefix}{name}.")
                for name, item in value.items()
            }
        )
    if (origin := get_origin(arm)) in (list, tuple):
        return origin(construct(get_args(arm)[0], item) for item in value)
    if get_origin(arm) is dict:
        return {name: construct(get_args(arm)[1], item) for name, item in value.items()}
    return float(value) if arm is float else value


def build(settings: type[Settings], *layers: Layer, prefix: str = "") -> Settings:
    """A dataclass from plain data in layers, the upper ones last; `prefix` goes before its keys.

    Raises:
        ConfigError: an unknown, missing or ill-typed setting, or one outside its range; the message
            names the layer that set it.
    """
    for place, values in layers:
        try:
            check_section(settings, values, prefix, place, whole=False)
        except ConfigError as error:
            raise explained(error, settings, f"{place}: {prefix}") from error
    together: dict[str, Any] = reduce(merged, [values for _, values in layers], {})
    check_complete(settings, together, prefix, layers[-1][0] if layers else "settings")
    try:
        made: Settings = construct(settings, together, prefix)
    except ConfigError as error:  # of a __post_init__, which does not know the file
        key, value, requirement = error.args
        setter = place_of(layers, key.removeprefix(prefix))
        if setter is None:
            raise
        named = ConfigError(f"{setter}: {key}", value, requirement)
        raise explained(named, settings, f"{setter}: {prefix}") from error
    return made


def explained(error: ConfigError, settings: type, place: str) -> ConfigError:
    """The error with the explanation of its setting added, where one setting is wrong."""
    key, value, requirement = error.args
    about = explanation(settings, key.removeprefix(place))
    return ConfigError(key, value, f"{requirement} ({about.rstrip('.')})" if about else requirement)


def place_of(layers: Sequence[Layer], key: str) -> str | None:
    """The uppermost layer that sets a dotted key; None where it has its default."""
    names = key.split(",")[0].split(".")
    for place, values in reversed(layers):
        at: Any = values
        for name in names:
            at = at.get(name, MISSING) if isinstance(at, dict) else at
        if at is not MISSING:
            return place
    return None


def from_text(hint: Any, text: str, key: str, place: str) -> Any:
    """The plain value of a setting's text on a command line; null stands for None.

    Raises:
        ConfigError: it is not YAML, and the setting is not text.
    """
    choices = arms(hint)
    if NoneType in choices and text == "null":
        return None
    if any(str in accepted_types(arm) for arm in choices):
        return text
    return parse_yaml(text, f"{place}: {key}", ConfigError)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Settings with dotted names as nested mappings."""
    together: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        at = together
        for section in sections:
            at = at.setdefault(section, {})
        at[name] = value
    return together
