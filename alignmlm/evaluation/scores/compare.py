"""Comparison of two sets of results: which cells differ by more than noise.

The noise comes from seeds and from test examples, as far as each can be estimated:
- samples on both sides and one seed: from examples, so that only these two models are compared;
- samples on both sides and several seeds: from both, combined;
- several seeds without samples: from seeds, with the test examples taken as given;
- one seed without samples, one example, or no spread at all: no p-value can be given.
Holm's adjustment counts the cells of one measure that have a p-value. Differences are B - A.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.scores.results import SAMPLES, read_results, recorded_metric
from alignmlm.evaluation.scores.score_rows import (
    MEASURES,
    Cell,
    Measure,
    ScoreRow,
    by_cell,
    results_folder,
    score_rows,
    values,
)
from alignmlm.evaluation.scores.scoring import (
    Answered,
    Arm,
    Sample,
    Whole,
    answered,
    recorded_samples,
)
from alignmlm.evaluation.scores.statistics import (
    Difference,
    Noise,
    difference,
    holm,
    jackknife_error,
    seed_noise,
)

Pair = tuple[list[ScoreRow], list[ScoreRow]]  # the rows of A and of B
Given = tuple[list[Sample], Whole | None]  # a side's answers, and their metric if it is no sum
LABELLED = ("token_classification", "pair_classification")  # right labels same for all models
ARMS_OF: dict[Measure, dict[Arm, int]] = {
    "source": {"source": 1},
    "bs": {"bs": 1},
    "bz": {"bz": 1},
    "delta": {"bs": 1, "bz": -1},
}


@dataclass(frozen=True, slots=True)
class ResultSet:
    """One set of results and the folder with its samples, if it has any."""

    name: str
    rows: list[ScoreRow]
    folder: Path | None = None
    recorded: dict[str, Any] = field(default_factory=dict)  # files of samples, by task and language
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)  # settings of each, by name

    @property
    def objectives(self) -> set[str]:
        """The objectives of its rows."""
        return {row.cell.objective for row in self.rows}

    def samples(self, cell: Cell) -> list[Sample]:
        """The samples of a cell, those on its source language included; none without files."""
        if self.folder is None:
            return []
        languages = (cell.language, cell.source_language)
        parts = (
            recorded_samples(self.folder, self.recorded, cell.task, language)
            for language in languages
        )
        return [sample for part in parts for sample in part]

    def given(self, cell: Cell) -> Given:
        """The samples of a cell, and its metric where that needs all examples at once.

        Raises:
            DataError: its metric is that of a package that is not installed.
        """
        name = self.tasks.get(cell.task, {}).get("metric")
        return self.samples(cell), None if name is None else recorded_metric(name, cell.task).whole


@dataclass(frozen=True, kw_only=True, slots=True)
class CellDifference:
    """How one measure of one cell differs between A and B, in percentage points."""

    cell: Cell  # its objective is "a -> b" where the sides have one each, and not the same
    measure: Measure
    a: float
    b: float
    seeds: int  # on each side
    difference: Difference  # of B - A
    p_holm: float = math.nan

    def beyond_noise(self, level: float = 0.05) -> bool:
        """Whether the difference is significant after Holm's adjustment."""
        return self.p_holm <= level

    def verdict(self, level: float = 0.05) -> str:
        """Either "differs", "within noise" or "unknown"."""
        if math.isnan(self.p_holm):
            return "unknown"
        return "differs" if self.beyond_noise(level) else "within noise"


def side_of(path: Path) -> ResultSet:
    """The results of a folder, a run, a study or the paper's published files.

    Raises:
        DataError: there are no transfer results, or they are damaged.
    """
    if not (rows := score_rows(path)):
        raise DataError(f"{path} holds no scores of transfer: no task there was fine-tuned")
    folder = results_folder(path)
    document = read_results(folder) if folder else None
    recorded, configs = (document[SAMPLES], document["configs"]) if document else ({}, {})
    tasks = {task: config["task"] for task, config in configs.items()}
    return ResultSet(str(path), rows, folder, recorded, tasks)


def check_same_measure(a: ResultSet, b: ResultSet, task: str) -> None:
    """Raise if the sides are known to have scored a task in different ways.

    Raises:
        DataError: its metric or its version differs.
    """
    if task in a.tasks and task in b.tasks:
        for key in ("metric", "version"):
            one, other = (side.tasks[task].get(key) for side in (a, b))
            if one != other:
                found = f"{task} has {key} {one!r} in {a.name}, but {other!r} in {b.name}"
                raise DataError(f"{found}; evaluate both again with the same task")


def check_same_labels(task: dict[str, Any], given: tuple[Given, Given]) -> None:
    """Raise unless the examples that both sides answered have the same right labels.

    Left out are questions, whose samples hold the right answer nearest to the one given; entities,
    which another word order may tear apart; and long sentences, which may be cut elsewhere.

    Raises:
        DataError: the labels of a task's files were changed between the two evaluations.
    """
    if task.get("kind") not in LABELLED or task.get("metric") == "entity_f1":
        return
    one, other = (
        {(s.arm, s.doc_id, s.doc_hash): sorted(s.target) for s in samples} for samples, _ in given
    )
    both = [key for key in one.keys() & other.keys() if len(one[key]) == len(other[key])]
    if changed := sum(one[key] != other[key] for key in both):
        found = f"the right labels of {changed} of {len(both)} answers differ between the two sides"
        raise DataError(f"{task['name']}: {found}; evaluate both again")


def matched(a: ResultSet, b: ResultSet) -> list[tuple[Cell, Pair]]:
    """The cells that both sides have; if each has a single objective, the two may differ.

    Raises:
        DataError: the sides have no cell in common.
    """
    names = [side.objectives for side in (a, b)]
    loose = all(len(objectives) == 1 for objectives in names) and names[0] != names[1]
    label = " -> ".join(name for objectives in names for name in objectives)

    def keyed(side: ResultSet) -> dict[Cell, list[ScoreRow]]:
        cells = by_cell(side.rows)
        return {c._replace(objective=label): r for c, r in cells.items()} if loose else cells

    cells_a, cells_b = keyed(a), keyed(b)
    common = [(cell, (rows, cells_b[cell])) for cell, rows in cells_a.items() if cell in cells_b]
    if not common:
        cells = "; ".join(f"{s.name}: {sorted({r.cell[1:] for r in s.rows})}" for s in (a, b))
        raise DataError(f"no task, source and target is in both: {cells}")
    return common


def same_seeds(rows_a: list[ScoreRow], rows_b: list[ScoreRow]) -> Pair:
    """The rows of the seeds that both sides have, in pairs; all rows if they share no seed.

    Raises:
        DataError: they share no seed, and one has more seeds than the other.
    """
    seeds = {row.seed for row in rows_a} & {row.seed for row in rows_b}
    if seeds:
        common_rows = [[row for row in rows if row.seed in seeds] for rows in (rows_a, rows_b)]
        return common_rows[0], common_rows[1]
    if len(rows_a) != len(rows_b):
        cell, counts = rows_a[0].cell, f"{len(rows_a)} and {len(rows_b)}"
        raise DataError(f"{' / '.join(cell)}: {counts} seeds, none of them on both sides")
    return rows_a, rows_b


def paired_answers(
    given: tuple[Given, Given],
    seeds: tuple[list[int], list[int]],
    measure: Measure,
) -> list[tuple[int, Answered]] | None:
    """The answers of each arm, with its sign in the difference B - A; None without samples.

    Raises:
        DataError: the sides answered different examples.
    """
    parts = [
        (sign * weight, answered(samples, arm, own, whole))
        for sign, (samples, whole), own in zip((-1, 1), given, seeds, strict=True)
        for arm, weight in ARMS_OF[measure].items()
    ]
    complete = [(sign, one) for sign, one in parts if one is not None]
    if len(complete) < len(parts):
        return None
    if len({one.documents for _, one in complete}) > 1:
        raise DataError("the two sides answered different test examples; evaluate both again")
    return complete


def example_noise(parts: list[tuple[int, Answered]]) -> Noise:
    """The noise of the examples in the sum of the arms, seeds taken as fixed."""
    left_out = np.zeros(len(parts[0][1].documents))  # percentage points, each without one example
    for sign, answers in parts:
        left_out += sign * answers.left_out().mean(axis=1)
    examples = len(left_out)
    source = f"{examples} example{'s' if examples > 1 else ''}"
    return Noise(source, jackknife_error(left_out), examples - 1)


def cell_difference(
    differences: Float[np.ndarray, " seed"], parts: list[tuple[int, Answered]] | None
) -> Difference:
    """The mean difference with all known noise: of seeds, of examples, or of both."""
    of_examples = [] if parts is None else [example_noise(parts)]
    return difference(float(differences.mean()), [*seed_noise(differences), *of_examples])


def compare(
    a: ResultSet, b: ResultSet, measures: Iterable[Measure] = MEASURES
) -> list[CellDifference]:
    """The differences B - A of all cells that both have, by measure, Holm-adjusted within each.

    Raises:
        DataError: the sides have no cell in common, scored a task by different metrics, or
            answered different examples or examples with different labels.
    """
    wanted = list(measures)
    by_measure: list[list[CellDifference]] = [[] for _ in wanted]
    for cell, rows in matched(a, b):
        check_same_measure(a, b, cell.task)
        pair = same_seeds(*rows)
        given = a.given(pair[0][0].cell), b.given(pair[1][0].cell)
        check_same_labels(a.tasks.get(cell.task, {}), given)
        for measure, cells in zip(wanted, by_measure, strict=True):
            cells.append(measured_cell(cell, pair, given, measure))
    return [row for cells in by_measure for row in adjusted(cells)]


def adjusted(cells: list[CellDifference]) -> list[CellDifference]:
    """The cells of one measure with p-values that account for their number."""
    p_values = holm([row.difference.p for row in cells])
    return [replace(row, p_holm=p) for row, p in zip(cells, p_values, strict=True)]


def measured_cell(
    cell: Cell, rows: Pair, given: tuple[Given, Given], measure: Measure
) -> CellDifference:
    """One cell, not yet adjusted."""
    scores_a, scores_b = (values(side, measure) for side in rows)
    seeds = [row.seed for row in rows[0]], [row.seed for row in rows[1]]
    parts = paired_answers(given, seeds, measure)
    return CellDifference(
        cell=cell,
        measure=measure,
        a=float(scores_a.mean()),
        b=float(scores_b.mean()),
        seeds=len(rows[0]),
        difference=cell_difference(scores_b - scores_a, parts),
    )


def known_measures(names: Iterable[str]) -> list[Measure]:
    """The measures of these names.

    Raises:
        ConfigError: one of the names is unknown.
    """
    by_name = {str(measure): measure for measure in ARMS_OF}
    names = list(names)
    for name in names:
        if name not in by_name:
            raise ConfigError("measures", name, f"be some of {list(by_name)}")
    return [by_name[name] for name in names]


def compare_paths(a: Path, b: Path, measures: Iterable[str] = MEASURES) -> list[CellDifference]:
    """The differences between two folders of results, runs or studies.

    Raises:
        ConfigError: an unknown measure.
        DataError: there are no results, or the two have no cell in common.
    """
    return compare(side_of(a), side_of(b), known_measures(measures))
