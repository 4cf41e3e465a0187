"""The two consoles: one for results, one for messages, which log lines and progress share.

Nothing that is printed loses a digit or a word: if standard output is not a terminal, a table is as
wide as it needs to be; on a narrow terminal its columns are broken between words, and where that is
not enough each row becomes a record.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.logging import RichHandler
from rich.table import Column, Table
from rich.text import Text

UNLIMITED_COLUMNS = 2**20  # of a file or a pipe
LEAST_TEXT_COLUMNS = 16  # of a column of running text on a terminal, which breaks longer words
MOST_TEXT_COLUMNS = 60  # of a column of running text in a file or a pipe, which breaks no word


def clock(seconds: float) -> str:
    """A duration as 1:02:03 or 2:03."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class DataConsole(Console):
    """A console that ignores a closed pipe, where rich would end the process.

    Text is printed as it is: names of files and words of data may look like rich's markup.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Print nothing more: a run whose output nobody reads still has to save itself."""
        self.quiet = True


class ResultConsole(DataConsole):
    """A console whose lines are never cut or broken where it writes to no terminal."""

    @property
    def size(self) -> ConsoleDimensions:
        """The size of the terminal; files and pipes have room for any line."""
        measured = super().size
        if self.file.isatty():
            return measured
        return ConsoleDimensions(UNLIMITED_COLUMNS, measured.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        Console.size.fset(self, new_size)  # type: ignore[attr-defined]


class WholeTable(Table):
    """A table that loses no digit and no word, however narrow the terminal.

    Columns are broken between words. Words of columns that fold, which hold running text, may be
    broken too. Where a row still does not fit, each of its cells gets a line, with its title.
    """

    def __init__(self, heading: str | Text, note: str, lines: bool) -> None:
        super().__init__(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_lines=lines)
        self.heading, self.note = heading, note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        """The heading, the table or its rows as records, and the note."""
        if self.heading:
            yield Text(str(self.heading), "table.title")
        if self.fit(console, options.max_width):
            yield from super().__rich_console__(console, options)
        else:
            yield from self.records(console)
        if self.note:
            yield Text(self.note, "table.caption")

    def fit(self, console: Console, width: int) -> bool:
        """Set the widths of the columns, a space or two apart; returns whether they fit."""
        bounds = [column_bounds(console, column, width) for column in self.columns]
        for padding in (1, 0):
            room = width - self._extra_width - padding * len(bounds)
            if (widths := column_widths(bounds, room)) is not None:
                self.padding = (0, padding, 0, 0)
                for column, chosen in zip(self.columns, widths, strict=True):
                    column.width = chosen
                return True
        return False

    def records(self, console: Console) -> Iterator[Text]:
        """Each row as its first cell, and a line for each other one that is not empty."""
        titles = [" ".join(plain(console, column.header).plain.split()) for column in self.columns]
        longest = max(map(cell_len, titles), default=0)
        for row in zip(*(column.cells for column in self.columns), strict=True):
            first, *others = (plain(console, cell) for cell in row)
            yield Text.assemble((titles[0] and f"{titles[0]} ", "table.header"), first)
            for title, cell in zip(titles[1:], others, strict=True):
                if cell.plain.strip():
                    yield Text.assemble((f"  {title:<{longest}}  ", "table.header"), cell)


def plain(console: Console, cell: RenderableType) -> Text:
    """A cell as text on one line."""
    text = cell if isinstance(cell, Text) else console.render_str(str(cell))
    return Text(" ").join(text.split("\n"))


def column_bounds(console: Console, column: Column, width: int) -> tuple[int, int]:
    """The least and the most characters that a table's column can use on a terminal of a width."""
    least = most = 1
    for cell in (column.header, *column.cells):
        text = cell if isinstance(cell, Text) else console.render_str(str(cell))
        least = max(least, *map(cell_len, text.plain.split()), 1)
        most = max(most, *map(cell_len, text.plain.splitlines()), 1)
    if column.overflow == "fold" and width == UNLIMITED_COLUMNS:
        most = max(least, min(most, MOST_TEXT_COLUMNS))
    elif column.overflow == "fold":
        least = min(least, LEAST_TEXT_COLUMNS)
    return least, most


def column_widths(bounds: Sequence[tuple[int, int]], room: int) -> list[int] | None:
    """Widths within the bounds that fit the room, the widest narrowed first; None: none fit."""
    if sum(least for least, _ in bounds) > room:
        return None
    widths = [most for _, most in bounds]
    while sum(widths) > room:
        spare = [n for n, (least, _) in enumerate(bounds) if widths[n] > least]
        widths[max(spare, key=widths.__getitem__)] -= 1
    return widths


def new_table(heading: str | Text = "", note: str = "", *, lines: bool = False) -> WholeTable:
    """An empty table as all commands show it: without a frame, so that 80 columns hold more.

    A column of running text has overflow="fold".
    """
    return WholeTable(heading, note, lines)


console = ResultConsole()
messages = DataConsole(stderr=True)


def print_line(text: str | Text) -> None:
    """Print one line of results; a terminal may wrap it, but nothing breaks or cuts it."""
    console.print(text, soft_wrap=True)


def without_nan(value: Any) -> Any:
    """Plain values with None in place of the numbers that JSON lacks: NaN and infinities."""
    if isinstance(value, dict):
        return {str(key): without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def print_json(value: Any) -> None:
    """Print results for programs: one JSON value, in ASCII, so that no character is invisible."""
    print_line(json.dumps(without_nan(value), indent=1, allow_nan=False, default=str))


def set_up_logging() -> None:
    """Let rank 0 log from INFO and the others from WARNING; libraries are kept quiet."""
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    if messages.is_terminal:
        handler = RichHandler(
            console=messages, show_path=False, show_level=False, log_time_format="%H:%M:%S"
        )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    first = os.environ.get("RANK", "0") == "0"
    logging.getLogger("alignmlm").setLevel(logging.INFO if first else logging.WARNING)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler tells of its start otherwise
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="torch.*")
