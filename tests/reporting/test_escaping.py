"""A name is a name, whatever program opens the table."""

import csv
import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alignmlm.evaluation.scores.score_rows import Cell, ScoreRow
from alignmlm.reporting.escaping import csv_text, latex_text, markdown_text
from alignmlm.reporting.figure_files import save_figure
from alignmlm.reporting.transfer_figures import bars_figure
from alignmlm.reporting.transfer_tables import latex_transfer, markdown_transfer, paper_csv

EVIL = '=HYPERLINK("http://x|y","a_b$c$")'


def rows(name: str) -> list[ScoreRow]:
    return [ScoreRow(cell=Cell(name, name, name, name), seed=0, bs=60.0, bz=50.0, delta=10.0)]


@pytest.mark.parametrize("start", list("=+-@\t\r\n＝＋－＠"))  # noqa: RUF001
def test_no_name_begins_a_formula(start):
    assert csv_text(f"{start}1") == f"'{start}1"


def test_a_csv_of_hostile_names_has_no_formula_and_keeps_its_numbers():
    titles, line = csv.reader(io.StringIO(paper_csv(rows(EVIL))))
    assert all(cell.startswith("'=") for cell in (*titles[2:], *line[:2]))
    assert line[2:] == ["60.0", "50.0", "-10.0"]


def test_every_line_of_markdown_has_equally_many_cells_whatever_the_names():
    lines = markdown_transfer(rows(f"{EVIL}\n| a [b](c) <i>")).splitlines()[:3]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert r"\[b\](c) \<i\>" in lines[2]


@given(st.text(max_size=20))
@example("\r0")
def test_markdown_and_latex_stay_on_one_line_and_in_their_cell(text):
    shown = markdown_text(text)
    assert len(shown.splitlines()) <= 1
    assert re.search(r"(?<!\\)(\\\\)*\|", shown) is None
    assert len(latex_text(text).splitlines()) <= 1


def test_latex_of_hostile_names_ends_no_cell():
    text = latex_transfer(rows(r"a & b \\ \input{x} % $ _"))
    line = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert r"\input" not in line
    assert len(re.findall(r"(?<!\\)&", line)) == 5


def test_dollar_signs_in_names_are_drawn_as_they_are(tmp_path):
    assert len(save_figure(bars_figure(rows("a $x^ b$")), tmp_path, "bars")) == 2


@pytest.mark.parametrize("name", ["[2pt] x", "*x", " [x]"])
def test_no_name_is_an_argument_of_the_line_break_before_it(name):
    lines = latex_transfer(rows(name)).splitlines()
    assert lines[5].startswith(f"{{}}{name} & ")


def test_signs_that_plain_latex_prints_as_others_are_commands():
    assert latex_text("a<b>|") == r"a\textless{}b\textgreater{}\textbar{}"
