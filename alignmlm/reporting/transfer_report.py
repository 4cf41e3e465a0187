"""All tables and figures of some results in one folder; what cannot be drawn is logged, and why."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from alignmlm.errors import DataError
from alignmlm.evaluation.scores.compare import ResultSet, side_of
from alignmlm.evaluation.scores.score_rows import ScoreRow, by_cell
from alignmlm.evaluation.scores.scoring import Arm, confusion
from alignmlm.reporting.figure_files import save_figure
from alignmlm.reporting.transfer_figures import (
    bars_figure,
    confusion_figure,
    matrix_figure,
    scatter_figure,
)
from alignmlm.reporting.transfer_names import language_name, objective_name, task_name
from alignmlm.reporting.transfer_tables import latex_transfer, markdown_transfer, paper_csv
from alignmlm.storage.atomic import replace_text

log = logging.getLogger(__name__)

MOST_LABELS = 40  # of a confusion matrix that can still be read
ARM_NAMES: dict[Arm, str] = {"bs": "supervised", "bz": "zero-shot"}
TABLES: dict[str, Callable[[list[ScoreRow]], str]] = {
    "transfer.csv": paper_csv,
    "transfer.md": markdown_transfer,
    "transfer.tex": latex_transfer,
}


def write_tables(rows: list[ScoreRow], folder: Path) -> list[Path]:
    """Write the tables as CSV, Markdown and LaTeX; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in TABLES.items():
        replace_text(folder / name, text(rows))
    return [folder / name for name in TABLES]


def confusion_figures(side: ResultSet) -> dict[str, Callable[[], Figure]]:
    """A figure for each cell and arm of which there are samples, by file name."""
    figures: dict[str, Callable[[], Figure]] = {}
    for cell in by_cell(side.rows):
        samples = side.samples(cell)
        for arm, name in ARM_NAMES.items():
            labels, counts = confusion(samples, arm)
            if not 0 < len(labels) <= MOST_LABELS:
                continue
            languages = " to ".join(map(language_name, (cell.source_language, cell.language)))
            tested = languages if arm == "bz" else language_name(cell.language)
            title = f"{task_name(cell.task)}, {objective_name(cell.objective)}: {tested}, {name}"
            file = f"confusion_{cell.task}_{cell.language}_{arm}"
            figures[file] = partial(confusion_figure, labels, counts, title)
    return figures


def write_figures(side: ResultSet, folder: Path, words: str | None = None) -> list[Path]:
    """Write figures as PNG and SVG; returns the paths. `words`: those whose alignment is drawn."""
    rows = side.rows
    figures: dict[str, Callable[[], Figure]] = {
        "transfer_bars": lambda: bars_figure(rows),
        "transfer_matrix": lambda: matrix_figure(rows),
        "alignment_against_delta": lambda: scatter_figure(rows, words),
        **confusion_figures(side),
    }
    paths = []
    for name, draw in figures.items():
        try:
            paths += save_figure(draw(), folder, name)
        except DataError as error:
            log.warning("%s is not drawn: %s", name, error)
    return paths


def write_transfer_report(
    results: Path, output: Path | None = None, words: str | None = None
) -> list[Path]:
    """Write all tables and figures of a folder of results, a run or a study; returns the paths.

    The default output is the folder "figures" beside the scores.

    Raises:
        DataError: there are no scores, or they are damaged.
    """
    side = side_of(results)
    folder = output or (results if results.is_dir() else results.parent) / "figures"
    paths = [*write_tables(side.rows, folder), *write_figures(side, folder, words)]
    log.info("%d tables and figures in %s", len(paths), folder)
    return paths
