"""The curves of a run as a PNG: losses, alignment, speed."""

from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alignmlm.artifacts.names import CURVES
from alignmlm.reporting.figure_files import set_fonts
from alignmlm.reporting.records import RunCurves, Series, run_curves, summary_of
from alignmlm.storage.atomic import new_file

DOTS_PER_INCH = 150
LINE_CHARACTERS = 72  # of a title; matplotlib's own wrapping reads dollar signs as mathematics
STYLES = ("-", "--", "-.", ":")  # lines and marks differ without colour, too
MARKS = ("o", "s", "^", "D")
COLOURS = ("#1f4e79", "#c55a11", "#4f7f3b", "#7b4397")


def draw_lines(axes: Axes, lines: list[Series], suffix: str = "") -> None:
    """Add one line a series, each in a style of its own."""
    for number, line in enumerate(lines):
        turn = number % len(STYLES)
        style, colour = STYLES[turn], COLOURS[turn]
        axes.plot(line.steps, line.values, linestyle=style, color=colour, label=line.name + suffix)


def draw_points(axes: Axes, lines: list[Series], suffix: str = "") -> None:
    """Add the points of each series, with a marker of its own."""
    for number, line in enumerate(lines):
        turn = number % len(MARKS)
        (points,) = axes.plot(line.steps, line.values, MARKS[turn], label=line.name + suffix)
        points.set(color=COLOURS[turn], markerfacecolor="none")


def draw_loss(axes: Axes, curves: RunCurves) -> None:
    """Loss by language: lines in training, marks in validation."""
    draw_lines(axes, curves.train_loss, ", training")
    draw_points(axes, curves.validation_loss, ", validation")
    axes.set(title="Loss at masked positions", ylabel="loss (nats)")


def draw_alignment(axes: Axes, curves: RunCurves) -> None:
    """Share of words whose nearest neighbour is their translation."""
    draw_lines(axes, curves.alignment)
    draw_points(axes, [Series("_", line.steps, line.values) for line in curves.alignment])
    axes.set(title="Alignment of word embeddings", ylabel="nearest is translation (%)")
    axes.set_ylim(-3, 103)


def draw_speed(axes: Axes, curves: RunCurves) -> None:
    """Tokens a second, over all ranks."""
    draw_lines(axes, [curves.speed])
    axes.set(title="Speed", ylabel="tokens/s")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")


def title_of(run: Path) -> str:
    """A run's folder and, where it is finished, its objective."""
    objective = summary_of(run).get("objective")
    return f"{run.name}: {objective}" if objective else run.name


def figure_of(run: Path) -> Figure:
    """One panel each for losses, alignment and speed; a panel without numbers is left out."""
    curves = run_curves(run)
    panels = [
        (draw_loss, curves.train_loss + curves.validation_loss),
        (draw_alignment, curves.alignment),
        (draw_speed, curves.speed.steps),
    ]
    shown = [draw for draw, lines in panels if lines]
    figure = Figure(figsize=(8, 0.6 + 3 * max(1, len(shown))), layout="constrained")
    figure.suptitle(fill(title_of(run), LINE_CHARACTERS), fontsize="large", fontweight="bold")
    for place, draw in enumerate(shown, start=1):
        first = figure.axes[0] if figure.axes else None
        axes = figure.add_subplot(len(shown), 1, place, sharex=first)
        draw(axes, curves)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[1][1:]:
            axes.legend(fontsize="small", frameon=False)
    return figure


def plot_curves(run: Path) -> Path:
    """Draw a run's metrics.jsonl as curves.png in its folder; returns the path.

    Raises:
        DataError: it is not a run, or its metrics are damaged.
    """
    figure = figure_of(run)
    set_fonts(figure)
    with new_file(run / CURVES) as partial:
        figure.savefig(partial, format="png", dpi=DOTS_PER_INCH)
    return run / CURVES
