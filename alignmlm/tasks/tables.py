"""Tables of labelled examples: files of any format, plain or compressed, and hub datasets."""

from collections.abc import Iterator, Sequence

from alignmlm.corpus.hub import hub_rows
from alignmlm.corpus.sources import CorpusFile, SourceConfig
from alignmlm.storage.cells import as_label, as_text, cell
from alignmlm.storage.compression import inner_suffix
from alignmlm.storage.tables import (
    PlacedRow,
    Row,
    cell_rows,
    even_rows,
    json_rows,
    named_rows,
    parquet_rows,
)
from alignmlm.tasks.examples import SplitFile


def table_rows(file: SplitFile) -> Iterator[PlacedRow]:
    """The rows of a table; its first line is a header where a column is asked for by its name.

    Raises:
        DataError: the table is damaged.
    """
    if file.is_hub:
        source = SourceConfig(language=file.language, files=[file.path])
        rows = hub_rows(CorpusFile(file.path, 0), source)
        yield from ((f"{file.path}, row {i}", dict(row)) for i, row in enumerate(rows))
        return
    ending = inner_suffix(file.file).lower()
    if ending in (".jsonl", ".json"):
        yield from json_rows(file.file)
    elif ending == ".parquet":
        yield from parquet_rows(file.file)
    else:
        cells = cell_rows(file.file, is_csv=ending == ".csv")
        if any(isinstance(column, str) for column in file.columns.values()):
            yield from named_rows(cells)
        else:
            yield from ((place, numbered(row)) for place, row in even_rows(cells))


def numbered(cells: Sequence[str]) -> Row:
    """The cells of a row by number: from 1, and from -1 backwards."""
    return dict(enumerate(cells, start=1)) | dict(enumerate(cells, start=-len(cells)))


def row_id(row: Row, file: SplitFile, number: int, place: str, default: str = "") -> str:
    """The id in a row, or else its number.

    Raises:
        DataError: a column was asked for that is not there, or its cell cannot be an id.
    """
    column = file.column("id", default if default in row else "")
    return as_label(cell(row, column, place), "id", place) if column else str(number)


def row_text(row: Row, file: SplitFile, role: str, default: str | int, place: str) -> str | None:
    """The text in the column of a role; None where it is null.

    Raises:
        DataError: the row lacks the column, or its cell is not text.
    """
    column = file.column(role, default)
    value = cell(row, column, place)
    return None if value is None else as_text(value, f"{role} ({column!r})", place)
