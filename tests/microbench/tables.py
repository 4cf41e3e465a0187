"""Rows of one comparison as a table, each time beside the floor of its mode."""

from collections.abc import Sequence

from compare import BANDWIDTH
from records import BenchRow
from rich.console import Console
from rich.table import Table

WIDTH = 170
SHORT = {
    "loss": "loss",
    "largest_nats": "max nats",
    "hidden": "dX",
    "weight": "dW",
    "bias": "db",
    "embedding": "dE",
}


def floor_ms(rows: Sequence[BenchRow], mode: str) -> float:
    """The larger of two times: of the matrix products alone, and of moving the least bytes."""
    moved = [row.bytes_per_s for row in rows if row.bytes_per_s]
    mine = [row for row in rows if row.mode == mode and row.p50_ms is not None]
    products = [row.p50_ms for row in mine if row.impl.startswith("floor")]
    bytes_ms = [1e3 * row.least_bytes / moved[0] for row in mine[:1] if moved]
    return max([0.0, *products, *bytes_ms])


def cells(row: BenchRow, errors: Sequence[str], floor: float) -> list[str]:
    """A row of results as cells of the table."""
    name = row.impl + (" *" if row.gradients_in_forward and row.mode == "forward" else "")
    times = [f"{value:,.2f}" for value in (row.p50_ms, row.p20_ms, row.p80_ms)]
    share = f"{100 * floor / row.p50_ms:.0f} %" if row.p50_ms else ""
    peak = "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:,.1f}"
    bits = {None: "", True: "same", False: "differ"}[row.repeatable]
    found = [f"{row.errors[key]:.1e}" if key in row.errors else "" for key in errors]
    return [name, row.mode, *times, share, peak, *found, bits]


def table_of(title: str, rows: Sequence[BenchRow]) -> Table:
    """The rows of one comparison as a table."""
    known = {key for row in rows for key in row.errors}
    errors = [key for key in SHORT if key in known]
    table = Table("implementation", "mode", title=title, box=None)
    named = [SHORT[key] for key in errors]
    for column in ("p50, ms", "20 %", "80 %", "floor", "peak, MiB", *named, "bits"):
        table.add_column(column, justify="right")
    for row in rows:
        if row.impl != BANDWIDTH and not row.skipped:
            table.add_row(*cells(row, errors, floor_ms(rows, row.mode)))
    return table


def show(console: Console, title: str, rows: Sequence[BenchRow], clock: str) -> None:
    """Print the table of one comparison, and who did not take part."""
    note = "" if clock == "real" else " (Triton's interpreter: times mean nothing)"
    console.print(table_of(title + note, rows))
    for row in rows:
        if row.skipped:
            console.print(f"  without {row.impl}: {row.skipped}", highlight=False, markup=False)
    moved = [row.bytes_per_s for row in rows if row.bytes_per_s]
    console.print(
        f"  a copy moves {moved[0] / 1e9:,.1f} GB/s; floor: share of the larger of that time and "
        "of the matrix products alone; * its forward pass makes the gradients too"
    )
