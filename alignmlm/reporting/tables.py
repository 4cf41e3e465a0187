"""The rows of a study, or of one evaluation, as a table for terminals and for Markdown."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

Row = dict[str, Any]
MISSING = "–"  # noqa: RUF001 - shown where nothing was measured


@dataclass(frozen=True, slots=True)
class Column:
    """A measure, and where a row has it."""

    title: str
    value: Callable[[Row], float | None]
    digits: int


GROUP = {"objective": "objective", "task": "task", "language": "tested on"}


def loss_column(language: str) -> Column:
    """Validation loss of one language."""
    title = f"loss {language} (nats)"
    return Column(title, lambda row: row.get("validation_loss_nats", {}).get(language), 3)


ALIGNMENT = (
    Column("aligned, in dictionary (%)", lambda row: row.get("alignment_in_dictionary_percent"), 1),
    Column("aligned, held out (%)", lambda row: row.get("alignment_held_out_percent"), 1),
)
TRANSFER = (
    Column("source (%)", lambda row: row.get("source"), 1),
    Column("BS (%)", lambda row: row.get("bs"), 1),
    Column("BZ (%)", lambda row: row.get("bz"), 1),
    Column("Delta (points)", lambda row: row.get("delta"), 1),
    Column("retrieved (P@1, %)", lambda row: row.get("retrieved"), 1),
)


def columns_of(rows: list[Row]) -> list[Column]:
    """Losses of every language, alignment, transfer; what no row has is left out."""
    languages = dict.fromkeys(name for row in rows for name in row.get("validation_loss_nats", {}))
    every = [*map(loss_column, languages), *ALIGNMENT, *TRANSFER]
    return [column for column in every if any(column.value(row) is not None for row in rows)]


def groups_of(rows: list[Row]) -> dict[tuple[str, ...], list[Row]]:
    """The rows of all seeds by objective, task and language, in the order of the rows."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[key]) for key in GROUP), []).append(row)
    return groups


def values_of(group: list[Row], value: Callable[[Row], float | None]) -> list[float]:
    """What was measured of one thing in some rows."""
    return [found for row in group if (found := value(row)) is not None]


def cell(values: list[float], digits: int) -> str:
    """The mean, and lowest to highest where there are several: "3.1 (2.9 to 3.3)"."""
    if not values:
        return MISSING
    mean = f"{sum(values) / len(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def cells(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """Titles, and one line of text a group; means over pre-training seeds with their range."""
    columns = columns_of(rows)
    lines = []
    for names, group in groups_of(rows).items():
        numbers = [cell(values_of(group, column.value), column.digits) for column in columns]
        lines.append([*names, *numbers])
    return [*GROUP.values(), *(column.title for column in columns)], lines


def broken(text: str) -> str:
    """A title or cell with line breaks where a narrow terminal should break it."""
    return text.replace("-x-", "\n-x-").replace(" (", "\n(")


def study_table(rows: list[Row]) -> Table:
    """A table of the rows for a terminal: one line a measure, as terminals are narrow."""
    titles, lines = cells(rows)
    table = Table("\n".join(GROUP.values()))
    for line in lines:
        names = "\n".join(map(broken, line[: len(GROUP)]))
        table.add_column(Text(names), justify="right", overflow="fold")
    for place in range(len(GROUP), len(titles)):
        table.add_row(Text(titles[place]), *(Text(broken(line[place])) for line in lines))
    return table


def with_interval(row: Row, measure: str) -> str:
    """A score, and half the width of its 95 % interval where it has one: "61.2 ± 1.3"."""
    if row[measure] is None:
        return MISSING
    interval = row.get(f"{measure}_ci95")
    half = f" ± {(interval[1] - interval[0]) / 2:.1f}" if interval else ""
    return f"{row[measure]:.1f}{half}"


def transfer_table(rows: list[Row]) -> Table:
    """One line a task and target of one model, 95 % intervals over seeds of fine-tuning."""
    sources, seeds = ({str(row[key]) for row in rows} for key in ("source_language", "n_seeds"))
    told = f"fine-tuned on {', '.join(sorted(sources))}; seeds: {', '.join(sorted(seeds))}"
    table = Table(title=str(rows[0]["objective"]), caption=told)
    table.add_column("task", overflow="fold")
    table.add_column("tested on", overflow="fold")
    for title in ("source %", "BS %", "BZ %", "Delta"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        numbers = [with_interval(row, name) for name in ("source", "bs", "bz", "delta")]
        table.add_row(row["task"], row["language"], *numbers)
    return table


def retrieval_table(rows: list[Row]) -> Table:
    """One line a task and pair of languages: P@1 both ways, by cosine and by CSLS, in percent."""
    table = Table(title="Retrieval, P@1 (%)")
    for title in ("task", "from", "to"):
        table.add_column(title, overflow="fold")
    for title in ("layer", "there", "back", "CSLS"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        prefix = "" if row["layer"] is None else f"layer_{row['layer']}/"
        keys = ("forward/cosine", "backward/cosine", "forward/csls")
        found = [row["metrics"].get(f"{prefix}{key}_p1_percent") for key in keys]
        numbers = [MISSING if value is None else f"{value:.1f}" for value in found]
        layer = "words" if row["layer"] is None else str(row["layer"])
        table.add_row(row["task"], row["source"], row["target"], layer, *numbers)
    return table


def markdown_table(rows: list[Row]) -> str:
    """A table of the rows in Markdown, one line each."""
    titles, lines = cells(rows)
    rules = ["---" if place < len(GROUP) else "---:" for place in range(len(titles))]
    escaped = [[part.replace("|", "\\|") for part in line] for line in (titles, *lines)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (escaped[0], rules, *escaped[1:]))
