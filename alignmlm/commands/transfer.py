"""Commands about results of transfer: compare, figures, export, map."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click
from rich.table import Table
from rich.text import Text

from alignmlm.commands.options import PATH, AtLeast, as_json, command
from alignmlm.config import Several, Value
from alignmlm.console.terminal import console, new_table, print_json, print_line

MEASURE = Value(Literal["bs", "bz", "delta", "source"])
WORDS = Value(Literal["in dictionary", "held out", "all words"])


@command("compare")
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@click.option(
    "--measures",
    cls=Several,
    type=MEASURE,
    default=("bs", "bz", "delta"),
    metavar="MEASURE...",
    help="Of bs, bz, delta and source (default: bs bz delta).",
)
@as_json
def eval_compare(a: Path, b: Path, measures: tuple[str, ...], as_json: bool) -> None:
    """Say which cells of A and B differ beyond noise: 95 % intervals of B - A, Holm-corrected.

    A and B: a run, an evaluation, a study or a results.json.
    """
    from alignmlm.evaluation.scores.compare import compare_paths
    from alignmlm.reporting.transfer_tables import comparison_cells, shared_cells

    differences = compare_paths(a, b, measures)
    if as_json:
        cells = [
            {**row.cell._asdict(), **asdict(row), "verdict": row.verdict()} for row in differences
        ]
        print_json({"a": str(a), "b": str(b), "cells": cells})
        return
    shared, titles, lines = shared_cells(*comparison_cells(differences))
    for name, value in {"A": a, "B": b, **shared}.items():
        print_line(f"{name}: {value}")
    console.print(comparison_table(titles, lines))


def comparison_table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """A comparison as a table."""
    table = new_table()
    for title in titles:
        table.add_column(title)
    for line in lines:
        table.add_row(*map(Text, line))
    return table


@command("figures")
@click.argument("results", type=PATH)
@click.option("--output", type=PATH, help="Folder; none: figures/ beside the results.")
@click.option(
    "--alignment", type=WORDS, help="in dictionary, held out or all words: the scatter's."
)
@as_json
def eval_figures(results: Path, output: Path | None, alignment: str | None, as_json: bool) -> None:
    """Draw RESULTS as bars, matrix, scatter and confusions, and write CSV, Markdown and LaTeX.

    RESULTS: a run, an evaluation, a study or a results.json.
    """
    from alignmlm.reporting.transfer_report import write_transfer_report

    show_paths(write_transfer_report(results, output, alignment), as_json)


@command("export")
@click.argument("results", type=PATH)
@click.option(
    "--model_id", metavar="ORG/NAME", required=True, help="Name of the model, as on hubs."
)
@click.option("--output", type=PATH, required=True, help="Folder of the collection's records.")
@as_json
def eval_export(results: Path, model_id: str, output: Path, as_json: bool) -> None:
    """Write the RESULTS of one model as a record of Every Eval Ever, for its public collection.

    RESULTS: a run, an evaluation or a results.json.
    """
    from alignmlm.reporting.every_eval_ever import write_evaluation_record

    show_paths([write_evaluation_record(results, model_id, output)], as_json)


@command("map")
@click.option("--model", type=PATH, required=True, help="Folder of a run or an export.")
@click.option("--output", type=PATH, required=True, help="Folder of the picture.")
@click.option("--languages", nargs=2, metavar="ID ID", help="Of the model; none: its first two.")
@click.option("--dictionary", type=PATH, help="MUSE format, for natural languages.")
@click.option("--pairs", type=AtLeast(2), default=60, show_default=True, help="Pairs to show.")
@as_json
def eval_map(
    model: Path,
    output: Path,
    languages: tuple[str, str] | None,
    dictionary: Path | None,
    pairs: int,
    as_json: bool,
) -> None:
    """Draw two languages' word embeddings in the plane, with the pairs of a dictionary joined."""
    from alignmlm.reporting.map_words import write_model_map

    show_paths(write_model_map(model, output, languages, dictionary, pairs), as_json)


def show_paths(paths: Sequence[Path], as_json: bool) -> None:
    """Print the files that were written."""
    if as_json:
        print_json({"files": [str(path) for path in paths]})
        return
    for path in paths:
        print_line(str(path))
