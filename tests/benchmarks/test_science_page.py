"""Each result on docs/science.md is computed from committed rows."""

import sys
from itertools import product
from pathlib import Path

import pytest

sys.path.insert(0, "benchmarks")
from science_tables import (
    ARMS,
    INDUCTION,
    STUDY_ROWS,
    induction_lines,
    lines_of_page,
    rows_of,
)

PAGE = Path("docs/science.md").read_text("utf-8").splitlines()


def test_every_line_of_results_is_on_the_page_and_no_other():
    lines = lines_of_page()
    tables = [line for line in PAGE if line.startswith("|") and any(c.isdigit() for c in line)]
    assert sorted(tables) == sorted(lines)


@pytest.mark.parametrize("path", [INDUCTION, STUDY_ROWS], ids=lambda path: path.stem)
def test_rows_say_where_they_were_measured(path):
    rows = rows_of(path)
    assert rows
    assert all(row["commit"] and row["device"] for row in rows)


def test_every_arm_has_every_seed():
    cells = {(row["objective"], row["seed"]) for row in rows_of(STUDY_ROWS)}
    assert cells == set(product(ARMS, {seed for _, seed in cells}))


def test_a_draw_that_was_measured_twice_counts_once_with_its_last_row():
    first, *_ = rows_of(INDUCTION)
    again = first | {"precision_percent": 12.5}
    assert list(induction_lines([first, again])) == list(induction_lines([again]))
