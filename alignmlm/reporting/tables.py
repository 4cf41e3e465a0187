"""The rows of a study, or of one evaluation, as tables for terminals and pages."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from alignmlm.console.terminal import new_table
from alignmlm.reporting.transfer_names import objective_name

Row = dict[str, Any]
MISSING = "–"  # noqa: RUF001 - shown where nothing was measured


@dataclass(frozen=True, slots=True)
class MeasureColumn:
    """A measure, and how to read it from a row."""

    title: str
    value: Callable[[Row], float | None]
    digits: int


MODEL = {"objective": "objective"}
TARGET = {"task": "task", "language": "tested on", **MODEL}
ALIGNMENT = (
    MeasureColumn(
        "aligned, in dictionary (%)", lambda row: row.get("alignment_in_dictionary_percent"), 1
    ),
    MeasureColumn("aligned, held out (%)", lambda row: row.get("alignment_held_out_percent"), 1),
)
TRANSFER = (
    MeasureColumn("source (%)", lambda row: row.get("source"), 1),
    MeasureColumn("BS (%)", lambda row: row.get("bs"), 1),
    MeasureColumn("BZ (%)", lambda row: row.get("bz"), 1),
    MeasureColumn("Delta (points)", lambda row: row.get("delta"), 1),
    MeasureColumn("retrieved (P@1, %)", lambda row: row.get("retrieved"), 1),
)


@dataclass(frozen=True, slots=True)
class Cells:
    """A table as text: names, then measures, in each line."""

    title: str
    names: list[str]  # of the first columns
    measures: list[str]  # of the others
    lines: list[list[str]]


def loss_column(language: str) -> MeasureColumn:
    """Validation loss of one language."""
    title = f"loss {language} (nats)"
    return MeasureColumn(title, lambda row: row.get("validation_loss_nats", {}).get(language), 3)


def groups_of(rows: list[Row], names: Iterable[str]) -> dict[tuple[str, ...], list[Row]]:
    """The rows grouped by their values under some names, in order of first appearance."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[name]) for name in names), []).append(row)
    return groups


def values_of(group: list[Row], value: Callable[[Row], float | None]) -> list[float]:
    """The values of one measure, in the rows that have it."""
    return [number for row in group if (number := value(row)) is not None]


def cell(values: list[float], digits: int) -> str:
    """The mean, and lowest to highest where they differ: "3.1 (2.9 to 3.3)"."""
    if not values:
        return MISSING
    mean = f"{sum(values) / len(values):z.{digits}f}"
    if len(set(values)) == 1:
        return mean
    return f"{mean} ({min(values):z.{digits}f} to {max(values):z.{digits}f})"


def cells(
    title: str, rows: list[Row], names: dict[str, str], columns: Iterable[MeasureColumn]
) -> Cells:
    """One line per group: means and ranges over its rows; measures without values are left out."""
    shown = [column for column in columns if values_of(rows, column.value)]
    lines = [
        [*group_names, *(cell(values_of(group, column.value), column.digits) for column in shown)]
        for group_names, group in groups_of(rows, names).items()
    ]
    return Cells(title, list(names.values()), [column.title for column in shown], lines)


def by_target(rows: list[Row]) -> list[Row]:
    """The rows, reordered so that those of one task and target are adjacent."""
    return [row for group in groups_of(rows, ("task", "language")).values() for row in group]


def pretraining_table(rows: list[Row]) -> Cells:
    """Losses and alignment by objective, over pre-training seeds, each of which counts once."""
    rows = list({(row["objective"], row.get("seed")): row for row in rows}.values())
    languages = dict.fromkeys(name for row in rows for name in row.get("validation_loss_nats", {}))
    return cells("Pre-training", rows, MODEL, [*map(loss_column, languages), *ALIGNMENT])


def tables_of(rows: list[Row]) -> list[Cells]:
    """Pre-training by objective, and transfer by task and target, over pre-training seeds."""
    tables = [pretraining_table(rows), cells("Transfer", by_target(rows), TARGET, TRANSFER)]
    return [table for table in tables if table.measures]


def page_tables(rows: list[Row]) -> list[Cells]:
    """Pre-training by objective, and retrieval by task and pair of languages."""
    rows = [{**row, "objective": objective_name(row["objective"])} for row in rows]
    retrieval = by_target([row for row in rows if "retrieved" in row])
    tables = [pretraining_table(rows), cells("Retrieval", retrieval, TARGET, TRANSFER)]
    return [table for table in tables if table.measures]


def terminal_table(content: Cells) -> Table:
    """A table for a terminal."""
    table = new_table(content.title)
    for title in content.names:
        table.add_column(title)
    for title in content.measures:
        table.add_column(title, justify="right")
    for line in content.lines:
        table.add_row(*line)
    return table


def with_interval(row: Row, measure: str) -> str:
    """A score, and half the width of its 95 % interval where it has one: "61.2 ± 1.3"."""
    if row[measure] is None:
        return MISSING
    interval = row.get(f"{measure}_ci95")
    half = f" ± {(interval[1] - interval[0]) / 2:.1f}" if interval else ""
    return f"{row[measure]:z.1f}{half}"


def transfer_table(rows: list[Row]) -> Table:
    """One line per task and target of one model, with 95 % intervals over fine-tuning seeds."""
    sources, seeds = ({str(row[key]) for row in rows} for key in ("source_language", "n_seeds"))
    caption = f"fine-tuned on {', '.join(sorted(sources))}; seeds: {', '.join(sorted(seeds))}"
    table = new_table(str(rows[0]["objective"]), caption)
    table.add_column("task")
    table.add_column("tested on")
    for title in ("source %", "BS %", "BZ %", "Delta"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        numbers = [with_interval(row, name) for name in ("source", "bs", "bz", "delta")]
        table.add_row(row["task"], row["language"], *numbers)
    return table


def retrieval_table(rows: list[Row]) -> Table:
    """One line per task and language pair: P@1 in percent, by cosine both ways, by CSLS forward."""
    table = new_table("Retrieval, P@1 (%)")
    for title in ("task", "languages"):
        table.add_column(title)
    for title in ("layer", "there", "back", "CSLS"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        prefix = "" if row["layer"] is None else f"layer_{row['layer']}/"
        keys = ("forward/cosine", "backward/cosine", "forward/csls")
        percents = [row["metrics"].get(f"{prefix}{key}_p1_percent") for key in keys]
        numbers = [MISSING if value is None else f"{value:.1f}" for value in percents]
        layer = "words" if row["layer"] is None else str(row["layer"])
        table.add_row(row["task"], row["language"], layer, *numbers)
    return table
