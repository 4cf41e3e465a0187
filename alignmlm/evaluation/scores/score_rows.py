"""Transfer scores, one row per seed, from any source: results, studies, the paper.

The rows of one cell differ in seed: the fine-tuning seed within one model's results, the
pre-training seed within a study, whose rows are means over fine-tuning seeds.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from alignmlm.artifacts.names import STUDY
from alignmlm.errors import DataError
from alignmlm.evaluation.scores.results import RESULTS, read_results
from alignmlm.evaluation.scores.statistics import Interval, mean_interval
from alignmlm.evaluation.scores.study_file import study_document
from alignmlm.evaluation.scores.upstream import PAPER_TABLE, paper_records

Measure = Literal["source", "bs", "bz", "delta"]
MEASURES: tuple[Measure, ...] = ("bs", "bz", "delta")
IN_DICTIONARY, HELD_OUT, ALL_WORDS = "in dictionary", "held out", "all words"
STUDY_ALIGNMENTS = {
    IN_DICTIONARY: "alignment_in_dictionary_percent",
    HELD_OUT: "alignment_held_out_percent",
}


class Cell(NamedTuple):
    """What the rows of all seeds have in common."""

    objective: str
    task: str
    source_language: str
    language: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRow:
    """Transfer of one seed in one cell, in percent."""

    cell: Cell
    seed: int
    source: float = math.nan  # fine-tuned and tested on the source; nan if not recorded
    bs: float  # fine-tuned and tested on the target
    bz: float  # fine-tuned on the source, tested on the target
    delta: float  # percentage points; the paper's as printed, so only about bs - bz
    alignment_percent: dict[str, float] = field(default_factory=dict)  # by kind of words
    ci95: dict[str, tuple[float, float]] = field(default_factory=dict)  # by measure, where written


def number(value: float | None) -> float:
    """A score, nan where there is none."""
    return math.nan if value is None else value


def result_score_rows(document: dict[str, Any]) -> list[ScoreRow]:
    """The rows of a results document, one per task, target and seed of fine-tuning."""
    objective = str(document["model"]["objective"])
    return [
        ScoreRow(
            cell=Cell(objective, task, row["source"], row["target"]),
            seed=row["seed"],
            source=row["source_test"],
            bs=number(row["bs"]),
            bz=row["bz"],
            delta=number(row["delta"]),
        )
        for task, rows in document["per_seed"].items()
        for row in rows
    ]


def study_score_rows(rows: Iterable[dict[str, Any]]) -> list[ScoreRow]:
    """The transfer rows of a study, one per task, target and seed of pre-training."""
    return [
        ScoreRow(
            cell=Cell(row["objective"], row["task"], row["source_language"], row["language"]),
            seed=row["seed"],
            **{name: number(row[name]) for name in ("source", "bs", "bz", "delta")},
            alignment_percent={
                name: row[key] for name, key in STUDY_ALIGNMENTS.items() if row.get(key) is not None
            },
            ci95={
                name: tuple(bounds)
                for name in ("source", *MEASURES)
                if (bounds := row.get(f"{name}_ci95")) is not None
            },
        )
        for row in rows
        if "retrieved" not in row
    ]


def paper_score_rows(folder: Path) -> list[ScoreRow]:
    """The paper's published scores, one per task and cell; the seed, which it does not give, is 0.

    Raises:
        DataError: a file is missing, or has other columns or numbers.
    """
    return [
        ScoreRow(
            cell=Cell(*record.cell),
            seed=0,
            bs=record.bs,
            bz=record.bz,
            delta=record.delta,
            alignment_percent={ALL_WORDS: record.alignment_percent},
        )
        for record in paper_records(folder)
    ]


def study_rows_of(path: Path) -> list[ScoreRow]:
    """The rows of study.json.

    Raises:
        DataError: it is damaged, or has another schema version.
    """
    return study_score_rows(study_document(path)["rows"])


def results_folder(path: Path) -> Path | None:
    """The folder whose results.json a path refers to: its own, itself, or a run's "evaluation"."""
    path = path.parent if path.name == RESULTS else path
    folders = (path, path / "evaluation", path.parent / "evaluation")
    shown = folders if path.name == "export" else folders[:2]
    return next((folder for folder in shown if (folder / RESULTS).is_file()), None)


def score_rows(path: Path) -> list[ScoreRow]:
    """The rows of a folder with results, a run, a study or the paper's published files.

    Raises:
        DataError: there is none of them, or what is there is damaged.
    """
    folder = path.parent if path.name in (RESULTS, STUDY, PAPER_TABLE) else path
    if (folder / STUDY).is_file():
        return study_rows_of(folder / STUDY)
    if (folder / PAPER_TABLE).is_file():
        return paper_score_rows(folder)
    evaluated = results_folder(folder)
    document = read_results(evaluated) if evaluated else None
    if document is None:
        names = f"{RESULTS} (nor evaluation/{RESULTS}), {STUDY} or {PAPER_TABLE}"
        raise DataError(f"{path} holds no scores: there is no {names}")
    return result_score_rows(document)


def by_cell(rows: Iterable[ScoreRow]) -> dict[Cell, list[ScoreRow]]:
    """The rows of each cell by rising seed; cells in the order of the rows.

    Raises:
        DataError: a cell has the same seed twice.
    """
    cells: dict[Cell, list[ScoreRow]] = {}
    for row in rows:
        cells.setdefault(row.cell, []).append(row)
    for cell, cell_rows in cells.items():
        cell_rows.sort(key=lambda row: row.seed)
        seeds = [row.seed for row in cell_rows]
        if len(set(seeds)) < len(seeds):
            raise DataError(f"{' / '.join(cell)} has a seed more than once: {seeds}")
    return cells


def values(rows: list[ScoreRow], measure: Measure) -> Float[np.ndarray, " seed"]:
    """One measure of each row."""
    return np.array([getattr(row, measure) for row in rows], np.float64)


def measured(rows: list[ScoreRow], measure: Measure) -> Interval:
    """Mean of one measure over seeds and its 95 % interval, clipped to the range of scores.

    A single pre-training seed has the interval over its fine-tuning seeds, where recorded.
    """
    interval = mean_interval(values(rows, measure))
    bounds = rows[0].ci95.get(measure) if len(rows) == 1 else None
    low, high = (interval.low, interval.high) if bounds is None else bounds
    least = -100.0 if measure == "delta" else 0.0
    return Interval(interval.estimate, max(low, least), min(high, 100.0))  # max and min keep nan


def mean_alignment(rows: list[ScoreRow], words: str) -> float:
    """Mean alignment over seeds in percent; nan where a row has none."""
    return float(np.mean([row.alignment_percent.get(words, math.nan) for row in rows]))


def alignments_of(rows: Iterable[ScoreRow]) -> list[str]:
    """The kinds of words that any row has an alignment for, in the order of the rows."""
    return list(dict.fromkeys(name for row in rows for name in row.alignment_percent))
