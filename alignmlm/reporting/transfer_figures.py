"""Figures of transfer: bars of BS, BZ and Delta, matrices, alignment against Delta, confusions."""

import math
from collections.abc import Iterable, Sequence
from textwrap import fill
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from alignmlm.errors import DataError
from alignmlm.evaluation.scores.score_rows import (
    MEASURES,
    Cell,
    Measure,
    ScoreRow,
    alignments_of,
    by_cell,
    mean_alignment,
    measured,
    values,
)
from alignmlm.evaluation.scores.statistics import Correlation, Interval, correlation
from alignmlm.reporting.figure_files import MARKS, colour, pattern
from alignmlm.reporting.transfer_names import MEASURES as TITLES
from alignmlm.reporting.transfer_names import (
    UNITS,
    language_name,
    objective_name,
    task_name,
)
from alignmlm.reporting.transfer_tables import p_text, signless

NAME_WIDTH = 14  # characters of a language's name on one line
WIDEST_BAR = 0.3  # as a share of the distance between two languages
DARK = 0.55  # share of a heat map's scale from which text is white
MOST_BESIDE = 4  # languages in a panel that has others beside it
FILLS: tuple[Literal["full", "none", "left", "top"], ...] = ("full", "none", "left", "top")
Group = dict[Cell, list[ScoreRow]]
Matrix = tuple[list[str], list[str], Float[np.ndarray, "source target"]]


def names_of(cells: Iterable[Cell], field: str) -> list[str]:
    """The different values of one field of the cells, in their order."""
    return list(dict.fromkeys(getattr(cell, field) for cell in cells))


def drawn_cells(rows: Iterable[ScoreRow]) -> Group:
    """The rows by cell.

    Raises:
        DataError: there are none.
    """
    cells = by_cell(rows)
    if not cells:
        raise DataError("there are no scores to draw")
    return cells


def pairs_of(cells: Iterable[Cell]) -> list[tuple[str, str]]:
    """The different source and target languages of the cells, in their order."""
    return list(dict.fromkeys((cell.source_language, cell.language) for cell in cells))


def pair_name(pair: tuple[str, str], several_sources: bool) -> str:
    """Target language, and source where there are several, on short lines."""
    source = f"{language_name(pair[0])} to " if several_sources else ""
    return fill(source + language_name(pair[1]), NAME_WIDTH, break_long_words=False)


def plain(axes: Axes, title: str = "", x: str = "", y: str = "") -> Axes:
    """The axes with a title, labels with units, and no top or right spine."""
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def mark_interval(axes: Axes, x: float, interval: Interval) -> None:
    """A line from the lower to the upper bound, if there are any."""
    if interval.known:
        below, above = interval.estimate - interval.low, interval.high - interval.estimate
        axes.errorbar(
            x, interval.estimate, [[below], [above]], color="black", capsize=2, linewidth=0.9
        )


def say_unmeasured(axes: Axes) -> None:
    """Say that nothing was measured, in place of a drawing."""
    axes.text(0.5, 0.5, "not measured:\nno training data", transform=axes.transAxes, ha="center")
    axes.set_axis_off()


def draw_bars(axes: Axes, group: Group, measure: Measure) -> None:
    """Bars of one measure of one task, by language and within it by objective."""
    if all(np.isnan(values(rows, measure)).all() for rows in group.values()):
        say_unmeasured(axes)
        return
    objectives, pairs = names_of(group, "objective"), pairs_of(group)
    width = min(WIDEST_BAR, 0.84 / len(objectives))
    for cell, rows in group.items():
        place = objectives.index(cell.objective)
        middle = pairs.index((cell.source_language, cell.language))
        x = middle + (place + 0.5 - len(objectives) / 2) * width
        interval = measured(rows, measure)
        axes.bar(
            x, interval.estimate, width, color=colour(place), hatch=pattern(place),
            edgecolor="black", linewidth=0.7,
        )  # fmt: skip
        mark_interval(axes, x, interval)
    several = len(names_of(group, "source_language")) > 1
    axes.set_xticks(range(len(pairs)), [pair_name(pair, several) for pair in pairs], fontsize=8)
    axes.set_xlim(-0.6, len(pairs) - 0.4)
    axes.axhline(0, color="black", linewidth=0.7)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def objective_legend(figure: Figure, axes: Axes, objectives: Sequence[str]) -> None:
    """Colours and patterns of the objectives above the panels."""
    handles = [
        axes.bar(
            0, 0, color=colour(place), hatch=pattern(place), edgecolor="black", linewidth=0.7,
            label=objective_name(name),
        )
        for place, name in enumerate(objectives)
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)


def seeds_text(cells: Group) -> str:
    """How many seeds the cells have and what the lines on bars are."""
    counts = sorted({len(rows) for rows in cells.values()})
    if counts[-1] > 1:
        seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
        over = f"{seeds} seeds"
    elif any(row.ci95 for rows in cells.values() for row in rows):
        over = "seeds of fine-tuning one pre-trained model"
    else:
        return "one seed in each cell, so no intervals"
    return f"means over {over}; lines: 95 % intervals (Student's t)"


def bars_figure(rows: Iterable[ScoreRow]) -> Figure:
    """BS, BZ and Delta of every cell with intervals: one panel per task and measure.

    Raises:
        DataError: there are no rows.
    """
    cells = drawn_cells(rows)
    tasks, objectives = names_of(cells, "task"), names_of(cells, "objective")
    wide, pairs = len(MEASURES), len(pairs_of(cells))
    if pairs > MOST_BESIDE:
        wide = 1  # one panel a line
    high, inches = len(tasks) * len(MEASURES) // wide, max(3.4, 0.6 + 1.2 * pairs)
    figure = Figure(figsize=(max(6.0, wide * inches), 0.9 + 2.9 * high), layout="constrained")
    panels = figure.subplots(high, wide, squeeze=False).reshape(len(tasks), len(MEASURES))
    for line, task in zip(panels, tasks, strict=True):
        group = {cell: of_cell for cell, of_cell in cells.items() if cell.task == task}
        for axes, measure in zip(line, MEASURES, strict=True):
            draw_bars(axes, group, measure)
            plain(axes, f"{task_name(task)}: {TITLES[measure]}", "", UNITS[measure])
        top = max(axes.get_ylim()[1] for axes in line[:2])
        for axes in line[:2]:
            axes.set_ylim(0, top)
    objective_legend(figure, panels[0, 0], objectives)
    figure.supxlabel(seeds_text(cells), fontsize="small")
    return figure


def transfer_matrix(
    group: Group,
) -> tuple[list[str], list[str], Float[np.ndarray, "source target"]]:
    """Sources, targets, and the zero-shot score in percent; nan where nothing was measured.

    A source tested on itself has its own score.
    """
    sources = names_of(group, "source_language")
    targets = list(dict.fromkeys([*sources, *names_of(group, "language")]))
    matrix = np.full((len(sources), len(targets)), math.nan)
    for cell, rows in group.items():
        line = sources.index(cell.source_language)
        matrix[line, targets.index(cell.language)] = measured(rows, "bz").estimate
        matrix[line, targets.index(cell.source_language)] = measured(rows, "source").estimate
    shown = ~np.isnan(matrix).all(axis=0)
    tested = [name for name, keep in zip(targets, shown, strict=True) if keep]
    return sources, tested, matrix[:, shown]


def draw_cells(
    axes: Axes,
    values: Float[np.ndarray, "line column"],
    texts: list[list[str]],
    limits: tuple[float, float],
) -> None:
    """A grey heat map with a text in each cell; cells without a number are hatched."""
    axes.imshow(values, cmap="Greys", vmin=limits[0], vmax=limits[1], aspect="auto")
    span = (limits[1] - limits[0]) or 1.0
    for line, column in np.ndindex(*values.shape):
        value = values[line, column]
        if math.isnan(value):
            axes.fill_between(
                [column - 0.5, column + 0.5], line - 0.5, line + 0.5, hatch="///",
                facecolor="none", edgecolor="grey", linewidth=0,
            )  # fmt: skip
            continue
        dark = (value - limits[0]) / span > DARK
        axes.text(
            column, line, texts[line][column], ha="center", va="center", fontsize=8,
            color="white" if dark else "black",
        )  # fmt: skip
    axes.set_xticks(np.arange(values.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(values.shape[0] + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="black", linewidth=0.5)
    axes.tick_params(which="both", length=0)


def matrix_figure(rows: Iterable[ScoreRow]) -> Figure:
    """Heat maps of zero-shot scores from each source to each target, one per task and objective.

    Raises:
        DataError: there are no rows.
    """
    cells = drawn_cells(rows)
    tasks, objectives = names_of(cells, "task"), names_of(cells, "objective")
    every = {
        (task, objective): transfer_matrix(
            {c: r for c, r in cells.items() if (c.task, c.objective) == (task, objective)}
        )
        for task in tasks
        for objective in objectives
    }
    lines = max(len(sources) for sources, _, _ in every.values())
    columns = max(len(targets) for _, targets, _ in every.values())
    wide = len(objectives) if columns <= MOST_BESIDE else 1
    high = len(every) // wide
    size = (max(4.5, 1.4 + (0.9 + columns) * wide), 0.6 + (1.5 + 0.5 * lines) * high)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(high, wide, squeeze=False)
    for (task, objective), axes in zip(every, panels.flat, strict=True):
        draw_matrix(axes, every[task, objective], limits_of(task, every))
        axes.set_title(f"{task_name(task)}, {objective_name(objective)}")
    figure.supxlabel("tested on", fontsize="medium")
    figure.supylabel("fine-tuned on", fontsize="medium")
    own = any(set(sources) & set(targets) for sources, targets, _ in every.values())
    title = "Zero-shot scores (percent)" + ("; a language on itself: its own score" if own else "")
    figure.suptitle(fill(title, round(11 * size[0])), fontsize="medium")
    return figure


def draw_matrix(axes: Axes, matrix: Matrix, limits: tuple[float, float]) -> None:
    """One heat map with the names of its languages."""
    sources, targets, scores = matrix
    draw_cells(axes, scores, [[f"{value:.1f}" for value in line] for line in scores], limits)
    axes.set_xticks(range(len(targets)), [short(name) for name in targets], fontsize=7)
    axes.set_yticks(range(len(sources)), [short(name) for name in sources], fontsize=7)


def short(name: str) -> str:
    """A language's name on short lines."""
    return fill(language_name(name), NAME_WIDTH, break_long_words=False)


def limits_of(task: str, every: dict[tuple[str, str], Matrix]) -> tuple[float, float]:
    """The lowest and the highest score of a task, for any objective; 0 and 100 without scores."""
    parts = [scores.ravel() for (name, _), (_, _, scores) in every.items() if name == task]
    known = np.concatenate(parts)
    known = known[~np.isnan(known)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 100.0)


def correlation_text(measured: Correlation) -> str:
    """Rho, its interval, n and p in words."""
    if math.isnan(measured.rho):
        return f"no rho: one side is constant, n = {measured.pairs}"
    rho, p = signless(f"{measured.rho:.3f}"), p_text(measured.p)
    if math.isnan(measured.p):
        return f"Spearman's rho {rho}, n = {measured.pairs}: too few"
    low, high = (signless(f"{b:.2f}") for b in (measured.interval.low, measured.interval.high))
    interval = f"[{low}, {high}]" if measured.interval.known else "(no interval)"
    equals = "" if p.startswith("<") else "= "
    return f"Spearman's rho {rho} {interval}\nn = {measured.pairs}, permutation p {equals}{p}"


def draw_scatter(axes: Axes, group: Group, words: str) -> None:
    """Delta against alignment of one task's cells: marks by objective, filled by language."""
    objectives, pairs = names_of(group, "objective"), pairs_of(group)
    for cell, rows in group.items():
        x, interval = mean_alignment(rows, words), measured(rows, "delta")
        mark_interval(axes, x, interval)
        place = objectives.index(cell.objective)
        axes.plot(
            x, interval.estimate, MARKS[place % len(MARKS)], color=colour(0), markersize=8,
            fillstyle=FILLS[pairs.index((cell.source_language, cell.language)) % len(FILLS)],
            markerfacecoloralt="white",
        )  # fmt: skip
    aligned = np.array([mean_alignment(rows, words) for rows in group.values()])
    delta = np.array([measured(rows, "delta").estimate for rows in group.values()])
    task = next(iter(group)).task
    text = correlation_text(correlation(aligned, delta, task, words))
    plain(axes, f"{task_name(task)}\n{text}", f"aligned, {words} (%)", "Delta (percentage points)")
    axes.title.set_fontsize(10)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.axhline(0, color="grey", linewidth=0.7)
    axes.grid(alpha=0.3)


def legend_mark(marker: str, fill: int, label: str) -> Line2D:
    """A mark that stands for an objective or a language."""
    return Line2D(
        [], [], marker=marker, label=label, linestyle="none", color=colour(0), markersize=8,
        fillstyle=FILLS[fill % len(FILLS)], markerfacecoloralt="white",
    )  # fmt: skip


def scatter_legend(figure: Figure, cells: Iterable[Cell]) -> None:
    """A legend of the marks and their fill styles, below the panels."""
    cells = list(cells)
    several = len(names_of(cells, "source_language")) > 1
    handles = [
        legend_mark(MARKS[place % len(MARKS)], 0, objective_name(name))
        for place, name in enumerate(names_of(cells, "objective"))
    ]
    handles += [
        legend_mark("h", place, pair_name(pair, several).replace("\n", " "))
        for place, pair in enumerate(pairs_of(cells))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)


def scatter_figure(rows: Iterable[ScoreRow], words: str | None = None) -> Figure:
    """Alignment against Delta of every cell, one panel per task, with Spearman's rho.

    `words` names the set of words whose alignment is drawn; None: the first that the rows have.

    Raises:
        DataError: no row has an alignment, none has this one, or none has a Delta beside it.
    """
    rows = list(rows)
    known = alignments_of(rows)
    if not known or (words is not None and words not in known):
        wanted = "an alignment" if words is None else f"the alignment {words!r}"
        raise DataError(f"no row has {wanted}; there are {known}; studies and probes measure it")
    words = words or known[0]
    drawn = [r for r in rows if words in r.alignment_percent and not math.isnan(r.delta)]
    if not drawn:
        raise DataError(f"no row has a Delta beside the alignment {words!r}")
    cells = by_cell(drawn)
    tasks = names_of(cells, "task")
    figure = Figure(figsize=(max(6.5, 4.2 * len(tasks)), 4.6), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
        draw_scatter(axes, {c: of_cell for c, of_cell in cells.items() if c.task == task}, words)
    scatter_legend(figure, cells)
    return figure


def confusion_figure(
    labels: list[str], counts: Int[np.ndarray, "label label"], title: str
) -> Figure:
    """How often each right label got each answer, in percent; labels that never occur are hatched.

    Raises:
        DataError: nothing was answered.
    """
    if not counts.sum():
        raise DataError(f"{title}: there are no answers to draw")
    totals = counts.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        percents = np.where(totals > 0, 100 * counts / totals, math.nan)
    texts = [[share_text(value) for value in line] for line in percents]
    side = 2.2 + 0.5 * len(labels)
    figure = Figure(figsize=(max(4.5, side + 0.6), max(3.6, side)), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="answer", ylabel="right label (number of times)")
    figure.suptitle(fill(title, round(9 * figure.get_figwidth())), fontsize="large")
    draw_cells(axes, percents, texts, (0.0, 100.0))
    axes.set_xticks(range(len(labels)), labels, fontsize=8, rotation=90 if len(labels) > 4 else 0)
    names = [f"{label} ({total:,})" for label, total in zip(labels, totals[:, 0], strict=True)]
    axes.set_yticks(range(len(labels)), names, fontsize=8)
    figure.supxlabel("cells: percent of the right label", fontsize="small")
    return figure


def share_text(percent: float) -> str:
    """A share for a small cell: a dot for what was never answered."""
    if percent == 0:
        return "·"
    if percent < 0.05:
        return "<0.1"
    return f"{percent:.0f}" if percent >= 0.95 else f"{percent:.1f}"
