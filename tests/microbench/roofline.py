"""Times against their floors, as a picture and as numbers, from a file of results.

A floor is the larger of two times: the operations of the matrix products over the rate at which
this machine did them alone, and the least bytes over the rate of a large copy. Both rates were
measured in the same run, unless peaks are given.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from records import kept_rows
from rich.console import Console
from rich.table import Table
from tables import WIDTH

OURS_COLOR, PEER_COLOR, FLOOR_COLOR = "#1f6f8b", "#b0b7bc", "#c0392b"
BAR_INCHES, PANEL_INCHES, WIDTH_INCHES = 0.3, 1.3, 10.5
ROOM = 1.32  # right of the longest bar, for its numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Floor:
    """The two times that nothing can beat, in ms; nan where nothing tells."""

    products_ms: float
    bytes_ms: float

    @property
    def larger_ms(self) -> float:
        """The one that binds."""
        return max([0.0, *(ms for ms in (self.products_ms, self.bytes_ms) if ms == ms)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One set of inputs: its floor, and the rows of its implementations, the fastest first."""

    title: str
    floor: Floor
    rows: list[dict]


def shown_ms(ms: float) -> str:
    """Milliseconds with three digits, or all digits before the point."""
    return f"{ms:,.0f} ms" if ms >= 1000 else f"{ms:.3g} ms"


def ratio(amount: float, rate: float | None) -> float:
    """Milliseconds that an amount takes at a rate a second; nan without one of them."""
    return 1e3 * amount / rate if rate and amount else float("nan")


def floor_of(rows: list[dict], peak_flops: float | None, peak_bytes: float | None) -> Floor:
    """The floor of rows of the same inputs and mode, from given peaks or what was measured."""
    products = [row for row in rows if row["impl"].startswith("floor") and row.get("p50_ms")]
    moved = [row["bytes_per_s"] for row in rows if row.get("bytes_per_s")]
    first = rows[0]
    flops_per_s = peak_flops or max(
        (1e3 * row["least_flops"] / row["p50_ms"] for row in products), default=None
    )
    return Floor(
        products_ms=ratio(first["least_flops"], flops_per_s),
        bytes_ms=ratio(first["least_bytes"], peak_bytes or max(moved, default=None)),
    )


def inputs_of(row: dict) -> tuple:
    """What rows of one panel share."""
    sizes = dict(row["shape"])
    without = "" if sizes.pop("bias", True) else " without bias"
    if sizes.get("labelled") == sizes.get("positions"):
        sizes.pop("labelled", None)
    shape = " x ".join(f"{size:,}" for size in sizes.values())
    return row["op"], shape + without, row["dtype"], row["inputs"]


def last_run(rows: Sequence[dict], op: str | None) -> list[dict]:
    """The rows of the last run in a file, or of the last one of an operation."""
    wanted = [row for row in rows if op in (None, row["op"])]
    return [row for row in wanted if row["run"] == wanted[-1]["run"]]


def panels_of(
    rows: list[dict], mode: str, peak_flops: float | None, peak_bytes: float | None
) -> list[Panel]:
    """One panel for each set of inputs of some rows."""
    panels = []
    for inputs in dict.fromkeys(inputs_of(row) for row in rows):
        mine = [row for row in rows if inputs_of(row) == inputs]
        mine = [row for row in mine if row["mode"] == mode or row.get("bytes_per_s")]
        timed = [row for row in mine if row.get("p50_ms") and not row["impl"].startswith("floor")]
        floor = floor_of([row for row in mine if row["mode"] == mode], peak_flops, peak_bytes)
        timed.sort(key=lambda row: row["p50_ms"])
        panels.append(Panel(title=", ".join(inputs[1:]), floor=floor, rows=timed))
    return [panel for panel in panels if panel.rows]


def draw_panel(axes: Any, panel: Panel) -> None:
    """The bars of one panel, the fastest on top, with the floor's two times as lines."""
    rows, places = panel.rows, range(len(panel.rows))
    middles = [row["p50_ms"] for row in rows]
    spread = [
        [row["p50_ms"] - row["p20_ms"] for row in rows],
        [row["p80_ms"] - row["p50_ms"] for row in rows],
    ]
    colors = [OURS_COLOR if row["impl"].startswith("alignmlm") else PEER_COLOR for row in rows]
    axes.barh(places, middles, xerr=spread, color=colors, ecolor="#333333", height=0.7)
    axes.set_yticks(places, [row["impl"] for row in rows])
    axes.invert_yaxis()
    for place, row in zip(places, rows, strict=True):
        share = 100 * panel.floor.larger_ms / row["p50_ms"]
        told, end = f"{shown_ms(row['p50_ms'])}, {share:.0f} %", (row["p80_ms"], place)
        put = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(told, end, **put)
    draw_floor(axes, panel.floor)
    axes.set_xlim(0, ROOM * max(panel.floor.larger_ms, *(row["p80_ms"] for row in rows)))
    axes.set_title(panel.title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def draw_floor(axes: Any, floor: Floor) -> None:
    """The floor's two times as lines, told above the panel."""
    for label, ms, style in (
        ("matrix products", floor.products_ms, "-"),
        ("least bytes", floor.bytes_ms, ":"),
    ):
        if ms == ms:
            name = f"{label}: {shown_ms(ms)}"
            axes.axvline(ms, color=FLOOR_COLOR, linestyle=style, linewidth=1.2, label=name)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, frameon=False, borderpad=0
    )


def draw(panels: list[Panel], title: str, path: Path) -> None:
    """Write the panels below each other as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    heights = [PANEL_INCHES + BAR_INCHES * len(panel.rows) for panel in panels]
    figure, grid = pyplot.subplots(
        len(panels),
        figsize=(WIDTH_INCHES, sum(heights) + 0.4),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axes, panel in zip(grid[:, 0], panels, strict=True):
        draw_panel(axes, panel)
    grid[-1, 0].set_xlabel("ms: median, 20 and 80 % quantiles; % of the larger floor")
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def table_of(panel: Panel) -> Table:
    """The numbers of one panel."""
    table = Table("implementation", box=None)
    for column in ("p50, ms", "of the floor", "peak, MiB"):
        table.add_column(column, justify="right")
    for row in panel.rows:
        share = f"{100 * panel.floor.larger_ms / row['p50_ms']:.0f} %"
        peak = f"{row.get('peak_bytes', 0) / 2**20:,.1f}"
        table.add_row(row["impl"], f"{row['p50_ms']:,.3f}", share, peak)
    return table


def show(console: Console, panels: Sequence[Panel]) -> None:
    """Print the floors and the numbers of every panel."""
    for panel in panels:
        floor = panel.floor
        bounds = f"products {shown_ms(floor.products_ms)}, least bytes {shown_ms(floor.bytes_ms)}"
        console.print(f"{panel.title}: {bounds}", highlight=False)
        console.print(table_of(panel))


def title_of(row: dict, mode: str) -> str:
    """What was measured, on which device, at which commit."""
    mark = row["commit"] + ("+" if row["dirty"] else "")
    passes = "forward and backward" if mode == "both" else "forward"
    note = "" if row["clock"] == "real" else ", Triton's interpreter: times mean nothing"
    return f"{row['op']}, {passes} on {row['device']}, torch {row['torch']}, {mark}{note}"


def main(arguments: list[str]) -> None:
    """Draw the last run of a file of results, and print its numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, help="a PNG; beside the results by default")
    parser.add_argument("--op", choices=["masked_softmax", "alignment"])
    parser.add_argument("--inputs", help="only these, for instance trained")
    parser.add_argument("--mode", choices=["forward", "both"], default="both")
    parser.add_argument("--peak-tflops", type=float, help="instead of the measured rate")
    parser.add_argument("--peak-gb-per-s", type=float, help="instead of the measured rate")
    asked, console = parser.parse_args(arguments), Console(width=WIDTH)
    rows = last_run(kept_rows(asked.results), asked.op)
    rows = [row for row in rows if asked.inputs in (None, row["inputs"])]
    flops = asked.peak_tflops and 1e12 * asked.peak_tflops
    moved = asked.peak_gb_per_s and 1e9 * asked.peak_gb_per_s
    panels = panels_of(rows, asked.mode, flops, moved)
    show(console, panels)
    out = asked.out or asked.results.with_suffix(".png")
    draw(panels, title_of(rows[0], asked.mode), out)
    console.print(f"wrote {out}")


if __name__ == "__main__":
    main(sys.argv[1:])
