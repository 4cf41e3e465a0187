"""Tables of BS, BZ and Delta by source, target and objective; the holes in them, with reasons."""

from collections.abc import Sequence
from dataclasses import dataclass

from alignmlm.evaluation.scores import score_rows
from alignmlm.evaluation.scores.score_rows import MEASURES, Cell, Measure, ScoreRow, by_cell
from alignmlm.reporting.contrasts import Standing, TransferPlace, standings
from alignmlm.reporting.records import Row
from alignmlm.reporting.run_facts import RunFacts
from alignmlm.reporting.tables import MISSING
from alignmlm.reporting.transfer_names import MEASURES as TITLES
from alignmlm.reporting.transfer_names import language_name, objective_name, task_name
from alignmlm.reporting.transfer_tables import shown


@dataclass(frozen=True, slots=True)
class Score:
    """One measure in one cell: its text and how it stands among the objectives of its place."""

    title: str  # "BS"
    mean: str
    interval: str  # "[54.0, 59.0]", empty if unknown
    look: str  # "better", "worse", "between", "tied", "alone"
    told: str  # the same in words


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """The scores from one source to one target by one objective."""

    scores: tuple[Score, ...]
    seeds: int
    hole: str = ""  # why there are none


@dataclass(frozen=True, slots=True)
class MatrixTable:
    """One task: lines are objectives by source, columns are targets."""

    title: str
    targets: list[str]
    lines: list[tuple[str, str, list[MatrixCell]]]  # source, objective, cells


@dataclass(frozen=True, slots=True)
class Hole:
    """What was not measured, and why."""

    objective: str
    task: str
    languages: str
    seeds: str
    reason: str


def look_of(standing: Standing) -> tuple[str, str]:
    """How a score is shown among those of its place, and that in words."""
    beats = ", ".join(map(objective_name, standing.beats))
    beaten = ", ".join(map(objective_name, standing.beaten_by))
    if beats and beaten:
        return "between", f"better than {beats}, worse than {beaten}"
    if beats:
        return "better", f"better than {beats}"
    if beaten:
        return "worse", f"worse than {beaten}"
    return ("tied", "tied") if standing.compared else ("alone", "")


def score(rows: list[ScoreRow], measure: Measure, standing: Standing) -> Score:
    """One measure over the seeds of a cell."""
    mean, _, interval = shown(score_rows.measured(rows, measure)).partition(" ")
    look, in_words = look_of(standing)
    return Score(TITLES[measure], mean, interval, look, in_words)


def matrices(rows: list[ScoreRow], why: dict[tuple[str, str], str]) -> list[MatrixTable]:
    """One table per task; `why` has the reasons for empty cells, by objective and task.

    Raises:
        DataError: a cell has the same seed twice.
    """
    cells, ranked = by_cell(rows), standings(rows)
    names = [*(cell.objective for cell in cells), *(objective for objective, _ in why)]
    objectives = list(dict.fromkeys(names))
    tables = []
    for task in dict.fromkeys(cell.task for cell in cells):
        own = [cell for cell in cells if cell.task == task]
        targets = list(dict.fromkeys(cell.language for cell in own))
        lines = []
        for source in dict.fromkeys(cell.source_language for cell in own):
            for objective in objectives:
                line = []
                for target in targets:
                    group = cells.get(Cell(objective, task, source, target), [])
                    place = TransferPlace(task, source, target)
                    line.append(matrix_cell(group, place, objective, ranked, why))
                lines.append((language_name(source), objective_name(objective), line))
        tables.append(MatrixTable(task_name(task), list(map(language_name, targets)), lines))
    return tables


def matrix_cell(
    group: list[ScoreRow],
    place: TransferPlace,
    objective: str,
    ranked: dict[tuple[TransferPlace, Measure, str], Standing],
    why: dict[tuple[str, str], str],
) -> MatrixCell:
    """One cell, or why there is none."""
    if not group:
        return MatrixCell((), 0, why.get((objective, place.task), "not measured"))
    scores = (score(group, measure, ranked[place, measure, objective]) for measure in MEASURES)
    return MatrixCell(tuple(scores), len(group))


def reason(run: RunFacts | None, task: str) -> str:
    """Why a run has no score of a task."""
    if run is None:
        return "not pre-trained"
    if not run.summary:
        return run.state
    return run.skipped().get(task, "not evaluated on this task")


def reasons(
    rows: list[ScoreRow], runs: list[RunFacts], missing: Sequence[Row] = ()
) -> tuple[list[Hole], dict[tuple[str, str], str]]:
    """The holes in a study, and why nothing was measured, by objective and task.

    A study is whole where every objective has every seed in every place that any of them has;
    `missing` are runs that it lacks, with reasons.
    """
    lacking = {(run["objective"], run["seed"]): run["reason"] for run in missing}
    by_name = {(run.label, run.seed): run for run in runs}
    keys = [*((row.cell.objective, row.seed) for row in rows), *by_name, *lacking]
    names, seeds = dict.fromkeys(name for name, _ in keys), sorted({seed for _, seed in keys})
    places = list(
        dict.fromkeys((r.cell.task, r.cell.source_language, r.cell.language) for r in rows)
    )
    known = {(row.cell, row.seed) for row in rows}
    seeds_of: dict[tuple[str, str, str, str, str], list[int]] = {}
    why: dict[tuple[str, str], str] = {}
    for objective in names:
        for task, source, target in places:
            for seed in seeds:
                if (Cell(objective, task, source, target), seed) in known:
                    continue
                key = objective, seed
                why_not = lacking.get(key) or reason(by_name.get(key), task)
                why[objective, task] = why_not
                seeds_of.setdefault((objective, task, source, target, why_not), []).append(seed)
    holes = [
        hole(objective, task, (source, target), without, why_not)
        for (objective, task, source, target, why_not), without in seeds_of.items()
    ]
    if not places:
        holes = [
            Hole(objective_name(name), MISSING, MISSING, str(seed), why_not)
            for (name, seed), why_not in lacking.items()
        ]
    return holes + without_supervision(rows) + skipped_tasks(rows, runs), why


def hole(objective: str, task: str, pair: tuple[str, str], seeds: list[int], why: str) -> Hole:
    """A hole in words."""
    languages = " → ".join(map(language_name, pair))
    numbers = ", ".join(map(str, seeds))
    return Hole(objective_name(objective), task_name(task), languages, numbers, why)


def without_supervision(rows: list[ScoreRow]) -> list[Hole]:
    """The places without BS, so without Delta; objectives are named where others have it."""
    lacking: dict[tuple[str, str, str], dict[str, list[int]]] = {}
    measured = {row.cell for row in rows if row.bs == row.bs}
    some = {(cell.task, cell.source_language, cell.language) for cell in measured}
    for row in rows:
        if row.bs != row.bs:
            place = (row.cell.task, row.cell.source_language, row.cell.language)
            name = row.cell.objective if place in some else "every objective"
            lacking.setdefault(place, {}).setdefault(name, []).append(row.seed)
    why = f"no BS and no Delta ({MISSING}): no training data in the target language"
    return [
        hole(name, task, (source, target), sorted(set(seeds)), why)
        for (task, source, target), names in lacking.items()
        for name, seeds in names.items()
    ]


def skipped_tasks(rows: list[ScoreRow], runs: list[RunFacts]) -> list[Hole]:
    """The tasks that no run could be measured on."""
    measured = {row.cell.task for row in rows}
    skipped: dict[tuple[str, str, str], list[int]] = {}
    for run in runs:
        for task, why in run.skipped().items():
            if task not in measured:
                skipped.setdefault((run.label, task, why), []).append(run.seed)
    return [
        Hole(objective_name(label), task_name(task), MISSING, ", ".join(map(str, seeds)), why)
        for (label, task, why), seeds in skipped.items()
    ]
