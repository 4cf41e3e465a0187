"""One split of a task: its files, and how to read them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignmlm.corpus.sources import HUB_PREFIX, expand_path
from alignmlm.errors import ConfigError
from alignmlm.storage.typed_settings import DataPath, Verbatim, check_section

IDS = ("file", "rows")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitFile:
    """A file of labelled examples, or two files that belong together line by line."""

    path: DataPath  # or "hub:<org>/<name>:<config>:<split>" of forms that are tables
    form: str
    language: str = "eng-Latn"  # of its text
    other: DataPath = ""  # second file of a form that has two
    columns: dict[str, Verbatim | int] = field(default_factory=dict)  # role: name, or number from 1
    strip_prefix: Verbatim = ""  # in front of every word: "en:"
    label_values: dict[str, Verbatim] = field(default_factory=dict)  # label in the file: its name
    drop_labels: list[Verbatim] = field(default_factory=list)  # examples with them are not used
    rows: list[int] = field(default_factory=list)  # first example, and the one after the last
    ids: str = "file"  # "rows": examples are numbered, whatever ids the file gives

    def __post_init__(self) -> None:
        if self.ids not in IDS:
            raise ConfigError(f"ids of {self.path}", self.ids, f"be one of {list(IDS)}")
        ordered = len(self.rows) == 2 and 0 <= self.rows[0] < self.rows[1]
        if self.rows and not ordered:
            requirement = "be the first row from 0 and the row after the last, as in [0, 500]"
            raise ConfigError(f"rows of {self.path}", self.rows, requirement)

    @property
    def is_hub(self) -> bool:
        """Whether it is a dataset of the hub, not a file."""
        return self.path.startswith(HUB_PREFIX)

    @property
    def file(self) -> Path:
        """The path of the file, with environment variables expanded."""
        return expand_path(self.path)

    @property
    def other_file(self) -> Path:
        """The path of the second file."""
        return expand_path(self.other)

    def column(self, role: str, default: str | int) -> str | int:
        """The name of a column, or its number from 1."""
        return self.columns.get(role, default)

    def number(self, role: str, default: int) -> int:
        """The number of a column, from 1, or from -1 backwards.

        Raises:
            ConfigError: it is a name, or 0.
        """
        column = self.column(role, default)
        if not isinstance(column, int) or isinstance(column, bool) or column == 0:
            requirement = "be a number: columns count from 1, the last one is -1"
            raise ConfigError(f"columns of {self.path}: {role}", column, requirement)
        return column

    def taken(self, examples: Iterator[Any]) -> Iterator[Any]:
        """The examples of the rows asked for."""
        start, stop = self.rows or (0, None)
        for number, example in enumerate(examples):
            if stop is not None and number >= stop:
                return
            if number >= start:
                yield example


def check_split_keys(mapping: dict[str, Any], place: str) -> None:
    """Raise unless a split's mapping has known keys, values of their types, and a path.

    Raises:
        ConfigError: it has not.
    """
    check_section(SplitFile, mapping, "", place, whole=False)
    if "path" not in mapping:
        raise ConfigError(f"{place}: keys", list(mapping), "include a path, or a hub dataset")
