"""Tables of transfer: CSV shaped like the paper's, Markdown, and LaTeX for the package booktabs.

Cells are means over seeds with 95 % intervals (Student's t) where these can be estimated: not from
one seed, nor from equal scores.
The best objective of a column is bold only where its interval excludes the runner-up's mean.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from alignmlm.evaluation.scores import score_rows
from alignmlm.evaluation.scores.compare import CellDifference
from alignmlm.evaluation.scores.score_rows import MEASURES, Cell, Measure, ScoreRow
from alignmlm.evaluation.scores.statistics import Interval
from alignmlm.evaluation.scores.upstream import CHANGE, METHOD, TASKS
from alignmlm.reporting.escaping import csv_text, latex_text, markdown_text
from alignmlm.reporting.tables import MISSING
from alignmlm.reporting.transfer_names import (
    MEASURES as TITLES,
)
from alignmlm.reporting.transfer_names import (
    language_name,
    objective_name,
    paper_change,
    paper_method,
    task_name,
)

SMALLER_IS_BETTER = frozenset({"delta"})
SAID_ONCE = ("objective", "task", "source", "target", "noise")  # where all lines agree


class TransferLine(NamedTuple):
    """What the cells of one line of a table have in common."""

    objective: str
    source_language: str
    language: str


class TransferColumn(NamedTuple):
    """What the cells of one column have in common."""

    task: str
    measure: Measure


@dataclass(frozen=True, slots=True)
class TransferTable:
    """Intervals by line and column, and the mean alignments of each line in percent."""

    cells: dict[TransferLine, dict[TransferColumn, Interval]]
    columns: list[TransferColumn]
    bold: frozenset[tuple[TransferLine, TransferColumn]]
    alignments: dict[TransferLine, dict[str, float]] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()  # the different numbers of seeds per cell


def line_of(cell: Cell) -> TransferLine:
    """The line of a cell."""
    return TransferLine(cell.objective, cell.source_language, cell.language)


def best_of(intervals: dict[TransferLine, Interval], measure: Measure) -> TransferLine | None:
    """The best line if its interval excludes the runner-up's mean; None where none stands out."""
    sign = 1 if measure in SMALLER_IS_BETTER else -1
    known = [line for line, each in intervals.items() if not math.isnan(each.estimate)]
    order = sorted(known, key=lambda line: sign * intervals[line].estimate)
    if len(order) < 2 or not intervals[order[0]].excludes(intervals[order[1]].estimate):
        return None
    return order[0]


def bold_cells(
    cells: dict[TransferLine, dict[TransferColumn, Interval]], columns: list[TransferColumn]
) -> frozenset[tuple[TransferLine, TransferColumn]]:
    """The cells that stand out among the objectives of their source and target language."""
    bold = set()
    for languages in {line[1:] for line in cells}:
        lines = [line for line in cells if line[1:] == languages]
        for column in columns:
            intervals = {line: cells[line][column] for line in lines if column in cells[line]}
            if best := best_of(intervals, column.measure):
                bold.add((best, column))
    return frozenset(bold)


def transfer_table(
    rows: Iterable[ScoreRow], measures: tuple[Measure, ...] = MEASURES
) -> TransferTable:
    """The rows of all seeds as lines by objective and language, columns by task and measure."""
    groups = score_rows.by_cell(rows)
    cells: dict[TransferLine, dict[TransferColumn, Interval]] = {}
    alignments: dict[TransferLine, dict[str, float]] = {}
    for cell, group in groups.items():
        line = line_of(cell)
        intervals = {TransferColumn(cell.task, m): score_rows.measured(group, m) for m in measures}
        cells.setdefault(line, {}).update(intervals)
        known = {
            words: score_rows.mean_alignment(group, words)
            for words in score_rows.alignments_of(group)
        }
        alignments.setdefault(line, {}).update(known)
    columns = [
        TransferColumn(task, m) for task in dict.fromkeys(c.task for c in groups) for m in measures
    ]
    seeds = tuple(sorted({len(group) for group in groups.values()}))
    return TransferTable(cells, columns, bold_cells(cells, columns), alignments, seeds)


def shown(interval: Interval | None, digits: int = 1) -> str:
    """A mean and its bounds: "56.5 [54.0, 59.0]"; a dash where nothing was measured."""
    if interval is None or math.isnan(interval.estimate):
        return MISSING
    mean = signless(f"{interval.estimate:.{digits}f}")
    if not interval.known:
        return mean
    bounds = [signless(f"{bound:.{digits}f}") for bound in (interval.low, interval.high)]
    return f"{mean} [{bounds[0]}, {bounds[1]}]"


def bare_mean(interval: Interval | None, sign: int = 1) -> str:
    """A mean times 1 or -1 for a CSV file; empty where nothing was measured."""
    if interval is None or math.isnan(interval.estimate):
        return ""
    return signless(f"{sign * interval.estimate:.1f}")


def aligned_text(known: dict[str, float], words: str) -> str:
    """A mean alignment; a dash where a seed has none."""
    return shown(Interval(known.get(words, math.nan)))


def signless(number: str) -> str:
    """A printed number, without a sign where it was rounded to zero."""
    return number.lstrip("-") if float(number) == 0 else number


def paper_csv(rows: Iterable[ScoreRow]) -> str:
    """The means as CSV with the names and columns of the paper's table, so that both can be diffed.

    BZ-BS is minus Delta. Tasks and languages that the paper lacks keep their own names.
    """
    table = transfer_table(rows)
    printed = {ours: theirs for theirs, ours in TASKS.items()}
    tasks = list(dict.fromkeys(column.task for column in table.columns))
    parts: dict[str, tuple[Measure, int]] = {
        "BS": ("bs", 1),
        "BZ": ("bz", 1),
        "BZ-BS": ("delta", -1),
    }
    titles = [f"{printed.get(task, task)} {part}" for task in tasks for part in parts]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([METHOD, CHANGE, *map(csv_text, titles)])
    for line, cells in table.cells.items():
        numbers = [
            bare_mean(cells.get(TransferColumn(task, measure)), sign)
            for task in tasks
            for measure, sign in parts.values()
        ]
        names = (paper_method(line.objective), paper_change(line.language))
        writer.writerow([*map(csv_text, names), *numbers])
    return file.getvalue()


def head(table: TransferTable) -> list[str]:
    """Titles of the columns with their units."""
    alignments = dict.fromkeys(words for known in table.alignments.values() for words in known)
    scores = [
        f"{task_name(task)} {TITLES[measure]}{' (points)' if measure == 'delta' else ' (%)'}"
        for task, measure in table.columns
    ]
    aligned = [f"aligned, {words} (%)" for words in alignments]
    return ["objective", "source", "target", *scores, *aligned]


def body(
    table: TransferTable, text: Callable[[str], str], strong: Callable[[str], str]
) -> list[list[str]]:
    """The lines as text; `text` escapes a cell, `strong` marks it bold."""
    words = dict.fromkeys(name for known in table.alignments.values() for name in known)
    lines = []
    for line, cells in table.cells.items():
        names = (objective_name(line.objective), *map(language_name, line[1:]))
        scores = [text(shown(cells.get(column))) for column in table.columns]
        marked = [
            strong(score) if (line, column) in table.bold else score
            for score, column in zip(scores, table.columns, strict=True)
        ]
        known = table.alignments[line]
        aligned = [text(aligned_text(known, name)) for name in words]
        lines.append([*map(text, names), *marked, *aligned])
    return lines


def caption(table: TransferTable) -> str:
    """What the numbers of a table are."""
    count = " to ".join(map(str, dict.fromkeys((table.seeds[0], table.seeds[-1]))))
    known = any(interval.known for line in table.cells.values() for interval in line.values())
    if not known:
        seeds = "One seed" if table.seeds[-1] == 1 else "Seeds that agree"
        return f"{seeds} in each cell, so nothing says how sure a number is."
    over = f"{count} seeds" if table.seeds[-1] > 1 else "seeds of fine-tuning one pre-trained model"
    return (
        f"Means over {over} with 95 % intervals (Student's t) where seeds differ. "
        f"Bold: best of its language, and its interval excludes the runner-up's mean."
    )


def markdown_transfer(rows: Iterable[ScoreRow]) -> str:
    """The table in Markdown, with a line that says what the numbers are."""
    table = transfer_table(rows)
    titles = head(table)
    rules = ["---" if place < len(TransferLine._fields) else "---:" for place in range(len(titles))]
    shown_titles = [markdown_text(title) for title in titles]
    lines = [shown_titles, rules, *body(table, markdown_text, lambda cell: f"**{cell}**")]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{caption(table)}\n"


def latex_transfer(rows: Iterable[ScoreRow]) -> str:
    """The table in LaTeX (booktabs), with a comment that says what the numbers are."""
    table = transfer_table(rows)
    titles = head(table)
    shape = "l" * len(TransferLine._fields) + "r" * (len(titles) - len(TransferLine._fields))
    text = latex_text
    lines = body(table, lambda cell: text(cell).replace(MISSING, "--"), r"\textbf{{{}}}".format)
    parts = [
        f"% {caption(table)}",
        rf"\begin{{tabular}}{{{shape}}}",
        r"\toprule",
        " & ".join(map(text, titles)) + r" \\",
        r"\midrule",
        *(" & ".join(line) + r" \\" for line in lines),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(parts) + "\n"


def p_text(p: float) -> str:
    """A p-value to three digits; the smallest as "< 0.001"."""
    if math.isnan(p):
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def comparison_cells(rows: Iterable[CellDifference]) -> tuple[list[str], list[list[str]]]:
    """Titles, and one line per cell and measure, for a terminal or a file."""
    titles = [
        "objective", "task", "source", "target", "measure", "A", "B", "B - A [95 %]", "p (Holm)",
        "verdict", "noise",
    ]  # fmt: skip
    lines = [
        [
            *row.cell, TITLES[row.measure], f"{row.a:z.1f}", f"{row.b:z.1f}",
            shown(row.difference.interval), p_text(row.p_holm), row.verdict(),
            row.difference.method,
        ]
        for row in rows
    ]  # fmt: skip
    return titles, lines


def shared_cells(
    titles: list[str], lines: list[list[str]]
) -> tuple[dict[str, str], list[str], list[list[str]]]:
    """The SAID_ONCE values that all lines share, and titles and lines without these columns."""
    values = dict(zip(titles, zip(*lines, strict=True), strict=True)) if lines else {}
    shared = {name: values[name][0] for name in SAID_ONCE if len(set(values.get(name, ()))) == 1}
    own = [place for place, name in enumerate(titles) if name not in shared]
    return shared, [titles[n] for n in own], [[line[n] for n in own] for line in lines]
