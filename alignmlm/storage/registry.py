"""Extensible tables: built-in records, and those of other packages' entry points.

A built-in record may be given as a place, "module:NAME", like that of an entry point. It is then
imported on first use, so that a table of names needs neither torch nor the packages above this one.
Another package adds a record by an entry point, read only when a name is looked up that is not
built in, or all names are listed:

    [project.entry-points."alignmlm.orders"]
    rot = "my_package:ROTATION"
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from alignmlm.errors import AlignMLMError

Record = TypeVar("Record")


def at_place(place: str) -> Any:
    """The object at a place such as "alignmlm.objectives.mlm:MLM"."""
    return EntryPoint("", place, "").load()


def source_of(point: EntryPoint) -> str:
    """The package and the place of an entry point, for errors."""
    package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
    return f"{point.name} = {point.value!r} of {package}"


@cache
def plugins(kind: str, built_in: tuple[str, ...]) -> dict[str, EntryPoint]:
    """The entry points of other packages for a kind of record, by name; none is loaded.

    Raises:
        AlignMLMError: one has a name that is built in, or two have the same.
    """
    points: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"alignmlm.{kind}"):
        if point.name in built_in:
            raise AlignMLMError(
                f"entry point alignmlm.{kind}: {source_of(point)} has a name that is built in; "
                f"remove that package, or rename it there"
            )
        if point.name in points and points[point.name].value != point.value:
            raise AlignMLMError(
                f"entry point alignmlm.{kind}: {source_of(point)} and "
                f"{source_of(points[point.name])} have the same name; remove one package"
            )
        points[point.name] = point
    return points


class Names:
    """The names of one kind of record."""

    def __init__(self, kind: str, *built_in: str) -> None:
        self.kind, self.built_in = kind, built_in

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in plugins(self.kind, self.built_in)

    def __iter__(self) -> Iterator[str]:
        return iter((*self.built_in, *plugins(self.kind, self.built_in)))


class Registry(Mapping[str, Record], Generic[Record]):
    """The records of one kind by name."""

    def __init__(
        self, kind: str, types: tuple[type | str, ...], built_in: Mapping[str, Record | str]
    ) -> None:
        self.names, self.types, self.built_in = Names(kind, *built_in), types, dict(built_in)
        self.loaded: dict[str, Record] = {}

    def __getitem__(self, name: str) -> Record:
        """The record of a name, imported on first use.

        Raises:
            KeyError: there is none.
            AlignMLMError: a package's record cannot be loaded, or is not of this kind.
        """
        if name not in self.loaded:
            if name not in self.built_in:
                record = self.load(plugins(self.names.kind, self.names.built_in)[name])
            elif isinstance(place := self.built_in[name], str):
                record = at_place(place)
            else:
                record = place
            self.loaded[name] = record
        return self.loaded[name]

    def load(self, point: EntryPoint) -> Record:
        """The record of another package.

        Raises:
            AlignMLMError: it cannot be loaded, or is no record of this kind.
        """
        place = f"entry point alignmlm.{self.names.kind}: {source_of(point)}"
        try:
            record: Record = point.load()
        except Exception as error:  # of code that is not ours
            what = f"{type(error).__name__}: {error}"
            raise AlignMLMError(
                f"{place} cannot be loaded ({what}); mend or remove that package"
            ) from error
        types = tuple(at_place(each) if isinstance(each, str) else each for each in self.types)
        if not isinstance(record, types):
            kind, allowed = type(record).__name__, " or ".join(t.__name__ for t in types)
            raise AlignMLMError(f"{place} is of type {kind}, but must be {allowed}")
        return record

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return sum(1 for _ in self.names)
