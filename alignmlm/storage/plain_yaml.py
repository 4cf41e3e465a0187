"""YAML text as plain data: it is built from the parser's events, so no tag can name a class.

Scalars follow YAML 1.2: only true and false are booleans, `no` is a word, `1e-3` is a number, `010`
and `1:30` are words, and dates stay text. Keys are text as written. Tags, anchors, aliases and
merge keys are refused.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.reader import ReaderError

from alignmlm.errors import AlignMLMError
from alignmlm.storage.refusal import MAX_DEPTH, NotPlainError, check_texts, refused_by_name

MAX_NUMBER_CHARACTERS = 300
NULLS = ("", "~", "null", "Null", "NULL")
BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)")
FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")  # an identifier, or YAML 1.1's octal number: text
PLAIN = "be left out: values are plain data"


def parse_scalar(text: str) -> str | int | float | bool | None:
    """The value of an unquoted YAML scalar.

    Raises:
        NotPlainError: a number of more than 300 characters.
    """
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    is_integer = INTEGER.fullmatch(text) is not None
    if LEADING_ZERO.fullmatch(text) or not (is_integer or FLOAT.fullmatch(text)):
        return text
    if len(text) > MAX_NUMBER_CHARACTERS:
        requirement = f"be a number of at most {MAX_NUMBER_CHARACTERS} characters"
        raise NotPlainError("number", text, requirement)
    if is_integer:
        return int(text.replace("_", ""), 16 if "x" in text else 10)
    return float(re.sub(r"\.(?=[inIN])", "", text))  # .inf and .nan


def line_of(event: yaml.Event) -> int:
    """The line, from 1, on which an event begins."""
    return event.start_mark.line + 1 if event.start_mark else 1


@dataclass(slots=True)
class OpenNode:
    """A list or mapping whose end has not been read."""

    value: list[Any] | dict[str, Any]
    key: str | None = None  # of the value that comes next
    key_lines: dict[str, int] = field(default_factory=dict)

    @property
    def wants_key(self) -> bool:
        """Whether the next scalar is a key."""
        return isinstance(self.value, dict) and self.key is None

    def take_key(self, event: yaml.ScalarEvent) -> None:
        """Keep a key for the value that follows.

        Raises:
            NotPlainError: it is there already, or asks to merge mappings.
        """
        if event.value == "<<" and event.implicit[0]:
            raise NotPlainError("key", "<<", "be left out; `include` names a file to go over")
        if event.value in self.key_lines:
            first = self.key_lines[event.value]
            requirement = f"occur only once in its section; line {first} has it too"
            raise NotPlainError("key", event.value, requirement)
        self.key, self.key_lines[event.value] = event.value, line_of(event)

    def add(self, value: Any) -> None:
        """Add an item, or the value of the key."""
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key], self.key = value, None


class Builder:
    """Builds plain data from the parser's events."""

    def __init__(self) -> None:
        self.open: list[OpenNode] = []
        self.root: Any = None
        self.documents = 0

    def take(self, event: Any) -> None:
        """Process one event.

        Raises:
            NotPlainError: it is not plain data.
        """
        self.check(event)
        if isinstance(event, yaml.ScalarEvent):
            if self.open and self.open[-1].wants_key:
                self.open[-1].take_key(event)
            else:
                self.add(parse_scalar(event.value) if event.implicit[0] else event.value)
        elif isinstance(event, yaml.CollectionStartEvent):
            self.open.append(OpenNode([] if isinstance(event, yaml.SequenceStartEvent) else {}))
        elif isinstance(event, yaml.CollectionEndEvent):
            self.add(self.open.pop().value)

    def check(self, event: Any) -> None:
        """Refuse anything but lists, mappings and scalars.

        Raises:
            NotPlainError: a tag, an anchor, an alias, a key that is no text, or deep nesting.
        """
        self.documents += isinstance(event, yaml.DocumentStartEvent)
        if self.documents > 1:
            raise NotPlainError("document", "---", "be the only one in the file")
        if isinstance(event, yaml.AliasEvent):
            raise NotPlainError("alias", f"*{event.anchor}", "be written out: no value is shared")
        if getattr(event, "tag", None) is not None:
            raise NotPlainError("tag", event.tag, PLAIN)
        if getattr(event, "anchor", None) is not None:
            raise NotPlainError("anchor", f"&{event.anchor}", PLAIN)
        if isinstance(event, yaml.CollectionStartEvent):
            if self.open and self.open[-1].wants_key:
                raise NotPlainError("key", "a list or mapping", "be text")
            if len(self.open) == MAX_DEPTH:
                raise NotPlainError("nesting", f"{MAX_DEPTH + 1} levels", f"end at {MAX_DEPTH}")

    def add(self, value: Any) -> None:
        """Add a finished value to the innermost open node, or make it the root."""
        if self.open:
            self.open[-1].add(value)
        else:
            self.root = value


@contextmanager
def yaml_named(text: str) -> Iterator[None]:
    """Turn errors of the YAML parser into ones that quote the line.

    Raises:
        NotPlainError: the text is not YAML.
    """
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        number = mark.line if mark else 0
        quoted = dict(enumerate(text.splitlines())).get(number, "")
        raise NotPlainError("", quoted, f"be YAML ({error.problem})", number + 1) from error
    except ReaderError as error:
        number = text.count("\n", 0, error.position)
        reason = f"U+{ord(text[error.position]):04X} may not be in it"
        raise NotPlainError(
            "", text.split("\n")[number], f"be YAML ({reason})", number + 1
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        problem = str(error).splitlines()[0]
        raise NotPlainError("text", text, f"be YAML ({problem})") from error


def parse_yaml(text: str, place: str, kind: type[AlignMLMError]) -> Any:
    """The plain data of a YAML text; `place` names it in errors, which are of type `kind`.

    Raises:
        AlignMLMError: it is not YAML, or not plain data.
    """
    builder = Builder()
    with refused_by_name(place, kind), yaml_named(text):
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            try:
                builder.take(event)
            except NotPlainError as error:
                error.line = line_of(event)
                raise
        check_texts(builder.root)
    return builder.root


class Dumper(yaml.SafeDumper):
    """Quotes each text that parse_yaml() would read as something else."""


for tag, pattern in (("int", INTEGER), ("float", FLOAT)):
    Dumper.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern.pattern})$"), list("-+.0123456789")
    )


def yaml_text(values: dict[str, Any]) -> str:
    """Plain data as YAML, in the order given; parse_yaml() gives it back."""
    return yaml.dump(values, Dumper=Dumper, sort_keys=False)
