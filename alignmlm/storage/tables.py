"""Rows of tables, each with its place: CSV, tab-separated, JSON Lines, JSON and Parquet files."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from alignmlm.errors import DataError, quoted
from alignmlm.storage.cells import as_list, as_object, cell, check_names
from alignmlm.storage.plain_data import parse_json
from alignmlm.storage.text import Line, lines_of, numbered_lines, open_text, whole_text

CELL_CHARACTERS = 2**26  # of a cell in a CSV file
Row = Mapping[Any, Any]
PlacedRow = tuple[str, Row]  # "file:line", and the cells by name or by number from 1


def cell_rows(path: Path, is_csv: bool) -> Iterator[tuple[str, list[str]]]:
    """Place and cells of each line that is not empty, separated by commas (with quotes) or tabs.

    Raises:
        DataError: the file cannot be read, or a quote has no end.
    """
    if is_csv:
        yield from csv_rows(path)
        return
    for number, line in numbered_lines(path):
        if line:
            yield f"{path}:{number}", line.split("\t")


def csv_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Place of the first line and cells of each row of a CSV file; a cell may hold line breaks.

    Raises:
        DataError: the file cannot be read, a quote has no end, or a cell is too long.
    """
    csv.field_size_limit(CELL_CHARACTERS)
    lines = (f"{line}\n" for _, line in numbered_lines(path))
    reader = csv.reader(lines, strict=True)
    first = 1
    try:
        for row in reader:
            if row:
                yield f"{path}:{first}", row
            first = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{first}: not a row of a CSV file: {error}") from error


def check_width(cells: Sequence[str], count: int, place: str) -> None:
    """Raise unless a row has as many cells as the first one of its file.

    Raises:
        DataError: it has more or fewer.
    """
    if len(cells) != count:
        said = f"{place}: {len(cells)} columns, but the first row has {count}"
        raise DataError(f"{said}: {quoted(list(cells))}")


def even_rows(rows: Iterator[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    """The rows of a file without a header.

    Raises:
        DataError: a row has more or fewer cells than the first one.
    """
    count = 0
    for place, cells in rows:
        count = count or len(cells)
        check_width(cells, count, place)
        yield place, cells


def named_rows(rows: Iterator[tuple[str, list[str]]]) -> Iterator[PlacedRow]:
    """The rows below a header line, with their cells by name.

    Raises:
        DataError: a name is repeated, or a row has more or fewer cells than there are names.
    """
    start, names = next(rows, ("", []))
    check_names(names, start)
    for place, cells in rows:
        if len(cells) != len(names):
            raise DataError(f"{place}: {len(cells)} cells, but the header has {len(names)}")
        yield place, dict(zip(names, cells, strict=True))


def json_object(text: str, place: str) -> Row:
    """The object of a JSON text.

    Raises:
        DataError: it is not JSON, or not an object.
    """
    return as_object(parse_json(text, place, nan=True), "a row", place)


def is_array(path: Path) -> bool:
    """Whether a JSON file holds one list."""
    with open_text(path) as (text, _):
        return next(filter(str.strip, iter(partial(text.read, 1), "")), "") == "["


def array_rows(path: Path) -> list[PlacedRow]:
    """The objects of a JSON file that holds a list of them.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    rows = as_list(parse_json(whole_text(path), str(path), nan=True), "its content", str(path))
    places = [f"{path}, row {number}" for number in range(len(rows))]
    return [
        (place, as_object(row, "a row", place)) for place, row in zip(places, rows, strict=True)
    ]


def json_lines(path: Path) -> Iterator[tuple[str, Line]]:
    """The lines of a JSON Lines file that are not blank, each with its place."""
    for line in lines_of(path):
        if line.text.strip(" \t"):
            yield f"{path}:{line.number}", line


def json_rows(path: Path) -> Iterator[PlacedRow]:
    """The objects of a JSON Lines file, or of a JSON file that holds a list of them.

    Raises:
        DataError: a line is no JSON object.
    """
    if is_array(path):
        yield from array_rows(path)
        return
    for place, line in json_lines(path):
        yield place, json_object(line.text, place)


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """A Parquet file whose columns have different names.

    Raises:
        DataError: it is not one, is damaged, or has two columns of the same name.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as table:
            check_names(table.schema_arrow.names, str(path))
            yield table
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        said = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read as Parquet: {said}") from error


def parquet_length(path: Path) -> int:
    """Number of rows of a Parquet file."""
    with open_parquet(path) as table:
        return table.metadata.num_rows


def column_values(column: Any, place: str) -> list[Any]:
    """The values of a column of a Parquet file.

    Raises:
        DataError: one is out of Python's range, as a date after the year 9999 is.
    """
    try:
        return list(column.to_pylist())
    except OverflowError as error:
        raise DataError(f"{place} has a value that cannot be read: {error}") from error


def parquet_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[PlacedRow]:
    """The rows of a Parquet file, with all columns or some.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    number = 0
    with open_parquet(path) as table:
        for column in columns or ():
            cell(dict.fromkeys(table.schema_arrow.names), column, str(path))
        for batch in table.iter_batches(batch_size=256, columns=columns):
            columns_by_name = {
                name: column_values(column, f"{path}: column {quoted(name)}")
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }
            for cells in zip(*columns_by_name.values(), strict=True):
                yield f"{path}, row {number}", dict(zip(columns_by_name, cells, strict=True))
                number += 1
