"""What the page's own script reads: tables, curves and points as plain values for JSON."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from alignmlm.evaluation.scores.score_rows import (
    MEASURES,
    Cell,
    ScoreRow,
    alignments_of,
    by_cell,
    mean_alignment,
    measured,
)
from alignmlm.evaluation.scores.statistics import correlation, spearman
from alignmlm.evaluation.scores.upstream import CHANGE, METHOD, TASKS
from alignmlm.reporting.records import Series, curves_of
from alignmlm.reporting.run_facts import RunFacts
from alignmlm.reporting.tables import MISSING
from alignmlm.reporting.transfer_figures import correlation_text
from alignmlm.reporting.transfer_names import (
    language_name,
    objective_name,
    paper_change,
    paper_method,
    task_name,
)
from alignmlm.reporting.transfer_tables import (
    aligned_text,
    bare_mean,
    caption,
    head,
    shown,
    signless,
    transfer_table,
)

Plain = dict[str, Any]
POINTS = 60  # of a curve, at most
CSV_MEASURES = {"bs": ("BS", 1), "bz": ("BZ", 1), "delta": ("BZ-BS", -1)}


def table_data(rows: list[ScoreRow]) -> Plain:
    """The transfer table, its cells as texts, for Markdown, LaTeX and the paper's CSV."""
    table = transfer_table(rows)
    printed = {ours: theirs for theirs, ours in TASKS.items()}
    titles = head(table)
    aligned = titles[3 + len(table.columns) :]
    columns = [
        {
            "task": task_name(column.task),
            "measure": column.measure,
            "title": title,
            "csv": f"{printed.get(column.task, column.task)} {CSV_MEASURES[column.measure][0]}",
        }
        for column, title in zip(table.columns, titles[3:], strict=False)
    ]
    words = dict.fromkeys(name for known in table.alignments.values() for name in known)
    lines = []
    for line, cells in table.cells.items():
        known = table.alignments[line]
        means = [bare_mean(cells.get(c), CSV_MEASURES[c.measure][1]) for c in table.columns]
        lines.append(
            {
                "names": [objective_name(line.objective), *map(language_name, line[1:])],
                "paper": [paper_method(line.objective), paper_change(line.language)],
                "cells": [shown(cells.get(column)) for column in table.columns],
                "means": means,
                "bold": [(line, column) in table.bold for column in table.columns],
                "aligned": [aligned_text(known, name) for name in words],
            }
        )
    return {
        "columns": columns, "lines": lines, "aligned": aligned, "caption": caption(table),
        "paper": [METHOD, CHANGE], "missing": MISSING,
    }  # fmt: skip


def number(value: float) -> float | None:
    """A number to five significant digits; None where it is not finite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def thinned(line: Series) -> tuple[list[int], list[float | None]]:
    """At most POINTS of a curve's points, the first and the last among them.

    Every n-th point is kept, n a power of 2: runs of different length share most of their steps.
    """
    count, every = len(line.steps), 1
    while count / every > POINTS - 1:
        every *= 2
    places = sorted({*range(0, count, every), *range(count)[-1:]})
    return [line.steps[i] for i in places], [number(line.values[i]) for i in places]


def curve_data(run: RunFacts) -> dict[str, Any]:
    """The curves of a run by name, each as steps and values."""
    curves = curves_of(run.metrics)
    named = {
        **{f"training loss, {one.name} (nats)": one for one in curves.train_loss},
        **{f"validation loss, {one.name} (nats)": one for one in curves.validation_loss},
        **{f"aligned, {one.name} (%)": one for one in curves.alignment},
    }
    if curves.speed.steps:
        named["speed (tokens/s)"] = curves.speed
    return {name: thinned(one) for name, one in named.items()}


def leave_one_out(cells: dict[Cell, list[ScoreRow]], words: str) -> tuple[float, float] | None:
    """The lowest and highest Spearman's rho as each target language is left out in turn."""
    targets = dict.fromkeys(cell.language for cell in cells)
    if len(targets) < 2:
        return None
    rhos = []
    for left_out in targets:
        groups = [rows for cell, rows in cells.items() if cell.language != left_out]
        x = np.array([mean_alignment(rows, words) for rows in groups])
        y = np.array([measured(rows, "delta").estimate for rows in groups])
        rhos.append(spearman(x, y))
    known = [rho for rho in rhos if not math.isnan(rho)]
    return (min(known), max(known)) if known else None


def point(cell: Cell, rows: list[ScoreRow], words: str) -> Plain:
    """Alignment and Delta of one cell."""
    interval = measured(rows, "delta")
    return {
        "objective": objective_name(cell.objective),
        "languages": f"{language_name(cell.source_language)} → {language_name(cell.language)}",
        "x": number(mean_alignment(rows, words)),
        "y": number(interval.estimate),
        "low": number(interval.low),
        "high": number(interval.high),
    }


def scatter_data(rows: list[ScoreRow]) -> list[Plain]:
    """Alignment against Delta by set of words and by task, with Spearman's rho as text."""
    panels = []
    for words in alignments_of(rows):
        own = by_cell(r for r in rows if words in r.alignment_percent and r.delta == r.delta)
        for task in dict.fromkeys(cell.task for cell in own):
            cells = {cell: group for cell, group in own.items() if cell.task == task}
            x = np.array([mean_alignment(group, words) for group in cells.values()])
            y = np.array([measured(group, "delta").estimate for group in cells.values()])
            text = correlation_text(correlation(x, y, task, words)).replace("\n", ", ")
            if (bounds := leave_one_out(cells, words)) is not None:
                low, high = (signless(f"{bound:.2f}") for bound in bounds)
                text += f"; leaving one target language out: rho {low} to {high}"
            points = [point(cell, group, words) for cell, group in cells.items()]
            panels.append({"task": task_name(task), "words": words, "text": text, "points": points})
    return panels


def run_data(runs: Iterable[RunFacts], names: list[str], titles: dict[Path, str]) -> list[Plain]:
    """Name, label and curves of each run, and the title of its study where there are several."""
    return [
        {
            "name": name, "label": objective_name(run.label), "study": titles.get(run.folder, ""),
            "curves": curve_data(run),
        }
        for name, run in zip(names, runs, strict=True)
    ]  # fmt: skip


def group_data(title: str, rows: list[ScoreRow]) -> Plain:
    """What the script needs of the scores of one study."""
    return {
        "title": title,
        "table": table_data(rows) if rows else None,
        "scatter": scatter_data(rows),
        "measures": list(MEASURES),
    }
