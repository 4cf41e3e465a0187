import csv
import math
import re
from dataclasses import replace
from io import StringIO
from itertools import permutations
from pathlib import Path

import pytest
from rich.console import Console

from alignmlm.commands.transfer import comparison_table
from alignmlm.evaluation.scores.compare import ResultSet, compare
from alignmlm.evaluation.scores.score_rows import Cell, ScoreRow, score_rows
from alignmlm.evaluation.scores.statistics import Interval
from alignmlm.reporting.escaping import latex_text
from alignmlm.reporting.page_data import table_data
from alignmlm.reporting.transfer_tables import (
    TransferLine,
    best_of,
    comparison_cells,
    latex_transfer,
    markdown_transfer,
    p_text,
    paper_csv,
    shared_cells,
    shown,
    transfer_table,
)

SOURCE, TARGET = "qaa-Latn", "qaa-Latn-x-inv-trans"


def rows(objective: str, *bz: float, task: str = "toy_pos") -> list[ScoreRow]:
    cell = Cell(objective, task, SOURCE, TARGET)
    return [
        ScoreRow(cell=cell, seed=seed, source=95.0, bs=90.0, bz=score, delta=90.0 - score)
        for seed, score in enumerate(bz)
    ]


@pytest.fixture
def paper(shared_data) -> Path:
    return shared_data / "upstream_reference"


def test_the_csv_of_the_papers_scores_is_the_papers(paper):
    with (paper / "xlm.csv").open(newline="", encoding="utf-8") as file:
        expected = list(csv.reader(file))
    assert list(csv.reader(paper_csv(score_rows(paper)).splitlines())) == expected


def test_the_papers_deltas_are_printed_as_the_paper_prints_them(paper):
    with (paper / "alignment.csv").open(newline="", encoding="utf-8") as file:
        plotted = list(csv.DictReader(file))
    lines = markdown_transfer(score_rows(paper)).splitlines()[2:14]
    found = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    printed = [[line[i] for i in (5, 8, 11, 12)] for line in found]
    names = ("XNLI BS-BZ", "NER BS-BZ", "POS BS-BZ", "Alignment")
    assert printed == [[line[name] for name in names] for line in plotted]


def test_a_cell_shows_its_mean_and_its_interval_if_seeds_differ():
    line = markdown_transfer(rows("mlm", 40.0, 44.0)).splitlines()[2]
    assert "| 90.0 | 42.0 [16.6, 67.4] | 48.0 [22.6, 73.4] |" in line


def test_no_interval_leaves_the_range_of_its_score():
    line = markdown_transfer(rows("mlm", 99.0, 97.0)).splitlines()[2]
    assert "| 98.0 [85.3, 100.0] |" in line
    line = markdown_transfer(rows("mlm", 0.0, 90.0)).splitlines()[2]
    assert "| 45.0 [0.0, 100.0] | 45.0 [-100.0, 100.0] |" in line


def test_one_seed_has_no_interval_and_the_table_says_so():
    text = markdown_transfer(rows("mlm", 40.0))
    assert "| 40.0 |" in text
    assert "One seed in each cell" in text


def test_the_best_is_bold_where_its_interval_excludes_the_runner_up():
    table = transfer_table([*rows("mlm", 40.0, 41.0, 42.0), *rows("align_mlm", 80.0, 81.0, 82.0)])
    assert {(line.objective, column.measure) for line, column in table.bold} == {
        ("align_mlm", "bz"), ("align_mlm", "delta"),
    }  # fmt: skip


def test_nothing_is_bold_where_the_runner_up_is_within_noise():
    assert not transfer_table([*rows("mlm", 40.0, 60.0), *rows("tlm", 41.0, 62.0)]).bold


def test_nothing_is_bold_with_one_seed_or_one_objective():
    assert not transfer_table([*rows("mlm", 40.0), *rows("tlm", 90.0)]).bold
    assert best_of({}, "bz") is None


def test_a_smaller_delta_is_better():
    found = transfer_table([*rows("mlm", 10.0, 10.1), *rows("tlm", 20.0, 20.1)]).bold
    assert {line.objective for line, _ in found} == {"tlm"}


def test_what_was_not_measured_is_a_dash():
    assert shown(None) == shown(Interval(math.nan, math.nan, math.nan)) == "–"  # noqa: RUF001


def test_zero_has_no_sign():
    assert shown(Interval(-0.04, -0.01, 0.02)) == "0.0 [0.0, 0.0]"


def test_markdown_lines_have_equally_many_cells_and_bold_is_marked():
    text = markdown_transfer([*rows("mlm", 10.0, 10.1), *rows("my_own|x", 20.0, 20.1)])
    lines = text.split("\n\n")[0].splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "my\\_own\\|x" in lines[3]
    assert lines[3].count("**") == 4


def test_latex_has_equally_many_columns_and_no_open_braces():
    text = latex_transfer([*rows("mlm", 10.0, 10.1), *rows("my_own", 20.0, 20.1)])
    shape = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert shape is not None
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(shape[1]) - 1}
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert r"my\_own" in text
    assert r"\textbf{20.1 [" in text or r"\textbf{20.0 [" in text


def test_latex_commands_in_names_are_escaped():
    assert latex_text("a_b & 5% \\x {y} ~^$#") == (
        r"a\_b \& 5\% \textbackslash{}x \{y\} \textasciitilde{}\textasciicircum{}\$\#"
    )


def compared(bs: float):
    """BS differs by seed on one side, and by as much as is said on the other."""
    sides = rows("mlm", 40.0, 41.0, 42.0), rows("tlm", 80.0, 82.0, 81.5)
    sides[1][0] = replace(sides[1][0], bs=sides[1][0].bs + bs)
    return compare(ResultSet("a", sides[0]), ResultSet("b", sides[1]))


def test_a_comparison_says_which_cells_differ_and_where_that_is_unknown():
    found = compared(0.0)
    titles, lines = comparison_cells(found)
    cells = [dict(zip(titles, line, strict=True)) for line in lines]
    assert [(c["measure"], c["verdict"], c["noise"]) for c in cells] == [
        ("BS", "unknown", "no p-value: no spread over 3 seeds"),
        ("BZ", "differs", "3 seeds"),
        ("Delta", "differs", "3 seeds"),
    ]
    assert (cells[0]["B - A [95 %]"], cells[0]["p (Holm)"]) == ("0.0", p_text(math.nan))


def test_what_all_lines_agree_in_is_said_once():
    shared, titles, lines = shared_cells(
        ["task", "measure", "noise"], [["pos", "BS", "t"], ["pos", "BS", "unknown"]]
    )
    assert (shared, titles) == ({"task": "pos"}, ["measure", "noise"])
    assert lines == [["BS", "t"], ["BS", "unknown"]]
    assert shared_cells(["task"], []) == ({}, ["task"], [])


def test_a_comparison_fits_a_terminal_of_80_columns():
    found = compared(0.1)
    _, titles, lines = shared_cells(*comparison_cells(found))
    assert titles == ["measure", "A", "B", "B - A [95 %]", "p (Holm)", "verdict"]
    console = Console(width=80, file=StringIO())
    console.print(comparison_table(titles, lines))
    text = console.file.getvalue()
    shown = [line for line in text.splitlines() if line.strip()]
    assert len(shown) == len(lines) + 2  # no row is wrapped
    assert max(map(len, shown)) <= 80
    assert all(cell in text for line in lines for cell in line)


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0004, "< 0.001"), (0.0314, "0.031"), (math.nan, "–")],  # noqa: RUF001
)
def test_p_values_are_printed_to_three_digits(p, text):
    assert p_text(p) == text


@pytest.mark.parametrize("order", list(permutations("abc")))
def test_the_best_is_bold_wherever_one_that_was_not_measured_stands(order):
    known = Interval(math.nan), Interval(90.1, 89.9, 90.3), Interval(95.1, 94.9, 95.3)
    intervals = dict(zip("abc", known, strict=True))
    lines = {TransferLine(name, SOURCE, TARGET): intervals[name] for name in order}
    assert best_of(lines, "bs") == TransferLine("c", SOURCE, TARGET)


def test_scores_and_alignments_that_seeds_lack_are_missing_in_every_table():
    one, other = rows("mlm", 40.0, 41.0)
    lacking = [
        replace(one, bs=math.nan, delta=math.nan, alignment_percent={"held out": 5.0}),
        replace(other, bs=math.nan, delta=math.nan),
    ]
    assert "nan" not in markdown_transfer(lacking) + latex_transfer(lacking)
    assert list(csv.reader(paper_csv(lacking).splitlines()))[1][2:] == ["", "40.5", ""]
    assert table_data(lacking)["lines"][0]["means"] == ["", "40.5", ""]
    assert table_data(lacking)["lines"][0]["aligned"] == ["–"]  # noqa: RUF001
    assert latex_transfer(lacking).splitlines()[5].endswith(r"& -- \\")
