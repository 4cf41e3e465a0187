"""Rows of tables: tab-separated, CSV and JSON Lines files, plain or compressed, and the hub."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alignmlm.corpus.hub import hub_rows
from alignmlm.corpus.sources import CorpusFile, SourceConfig
from alignmlm.errors import DataError
from alignmlm.storage.compression import FORMS as COMPRESSED
from alignmlm.storage.compression import damage_named, open_text
from alignmlm.tasks.splits import SplitFile

Row = Mapping[Any, Any]
PlacedRow = tuple[str, Row]  # "file:line", and the cells by name or by number from 1


def ending(path: Path) -> str:
    """What a file's name ends in, the mark of its compression aside."""
    inner = path.with_suffix("") if path.suffix in COMPRESSED else path
    return inner.suffix


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text file that are not empty, each with its number from 1.

    Raises:
        DataError: the file is not UTF-8 or is damaged.
    """
    with damage_named(path), open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip("\r\n"):
                yield number, line.rstrip("\r\n")


def split_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of each line; commas and quotes in .csv files, tabs alone in all others."""
    if ending(path) == ".csv":
        with damage_named(path), open_text(path) as file:
            yield from ((f"{path}:{i}", row) for i, row in enumerate(csv.reader(file), 1) if row)
        return
    yield from ((f"{path}:{number}", line.split("\t")) for number, line in numbered_lines(path))


def named_rows(rows: Iterator[tuple[str, list[str]]]) -> Iterator[PlacedRow]:
    """Rows below a line of names.

    Raises:
        DataError: a row has more or fewer cells than there are names.
    """
    _, names = next(rows, ("", []))
    for place, cells in rows:
        if len(cells) != len(names):
            raise DataError(f"{place}: {len(cells)} cells, but the header has {len(names)}")
        yield place, dict(zip(names, cells, strict=True))


def json_rows(path: Path) -> Iterator[PlacedRow]:
    """Objects of a JSON Lines file.

    Raises:
        DataError: a line is no JSON object.
    """
    for number, line in numbered_lines(path):
        try:
            found = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: a line is a JSON object: {error}") from error
        if not isinstance(found, dict):
            raise DataError(f"{path}:{number}: a line is a JSON object, found {line[:80]!r}")
        yield f"{path}:{number}", found


def table_rows(file: SplitFile) -> Iterator[PlacedRow]:
    """The rows of a table; its first line is a header where a column is asked for by its name.

    Raises:
        DataError: the table is damaged.
    """
    if file.is_hub:
        source = SourceConfig(language=file.language, files=[file.path])
        found = hub_rows(CorpusFile(file.path, 0), source)
        yield from ((f"{file.path}, row {i}", dict(row)) for i, row in enumerate(found))
    elif ending(file.file) in (".jsonl", ".json"):
        yield from json_rows(file.file)
    elif any(isinstance(column, str) for column in file.columns.values()):
        yield from named_rows(split_rows(file.file))
    else:
        numbered = split_rows(file.file)
        yield from ((place, dict(enumerate(cells, start=1))) for place, cells in numbered)


def cell(row: Row, column: str | int, place: str) -> Any:
    """One cell of a row.

    Raises:
        DataError: the row lacks the column.
    """
    if column not in row:
        raise DataError(f"{place}: no column {column!r}; there are {list(row)}")
    return row[column]
