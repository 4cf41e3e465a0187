"""Commands about results of transfer: compare, figures, map."""

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from alignmlm.terminal import console, new_table, print_json, print_line

MEASURES = ("bs", "bz", "delta", "source")
WORDS = ("in dictionary", "held out", "all words")


def eval_compare(arguments: Sequence[str]) -> int:
    """Say which cells of two results differ beyond noise: 95 % intervals, Holm over the cells."""
    parser = ArgumentParser(prog="alignmlm eval compare", description=eval_compare.__doc__)
    parser.add_argument("a", type=Path, help="a run, an evaluation, a study or results.json")
    parser.add_argument("b", type=Path, help="another; differences are B - A")
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=list(MEASURES[:3]))
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    values = parser.parse_args(arguments)
    from alignmlm.evaluation.compare import compare_paths
    from alignmlm.reporting.transfer_tables import comparison_cells, shared_cells

    found = compare_paths(values.a, values.b, tuple(values.measures))
    if values.json:
        cells = [{**row.cell._asdict(), **asdict(row), "verdict": row.verdict()} for row in found]
        print_json({"a": str(values.a), "b": str(values.b), "cells": cells})
        return 0
    shared, titles, lines = shared_cells(*comparison_cells(found))
    for name, value in {"A": values.a, "B": values.b, **shared}.items():
        print_line(f"{name}: {value}")
    console.print(comparison_table(titles, lines))
    return 0


def comparison_table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """A comparison as a table."""
    table = new_table()
    for title in titles:
        table.add_column(title)
    for line in lines:
        table.add_row(*map(Text, line))
    return table


def eval_figures(arguments: Sequence[str]) -> int:
    """Draw results as bars, matrix, scatter and confusions, and write CSV, Markdown and LaTeX."""
    parser = ArgumentParser(prog="alignmlm eval figures", description=eval_figures.__doc__)
    parser.add_argument("results", type=Path, help="a run, an evaluation, a study or results.json")
    parser.add_argument("--output", type=Path, help="folder; none: figures/ beside the results")
    parser.add_argument("--alignment", choices=WORDS, help="whose alignment the scatter shows")
    values = parser.parse_args(arguments)
    from alignmlm.reporting.transfer_report import write_transfer_report

    show_paths(write_transfer_report(values.results, values.output, values.alignment))
    return 0


def eval_map(arguments: Sequence[str]) -> int:
    """Draw two languages' word embeddings in the plane, with the pairs of a dictionary joined."""
    parser = ArgumentParser(prog="alignmlm eval map", description=eval_map.__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a run or an export")
    parser.add_argument("--output", type=Path, required=True, help="folder of the picture")
    parser.add_argument("--languages", nargs=2, help="of the model; none: its first two")
    parser.add_argument("--dictionary", type=Path, help="MUSE format, for natural languages")
    parser.add_argument("--pairs", type=int, default=60, help="how many are shown")
    values = parser.parse_args(arguments)
    from alignmlm.reporting.map_words import write_model_map

    languages = tuple(values.languages) if values.languages else None
    show_paths(
        write_model_map(values.model, values.output, languages, values.dictionary, values.pairs)
    )
    return 0


def show_paths(paths: Sequence[Path]) -> None:
    """Tell where something was written."""
    for path in paths:
        print_line(str(path))
