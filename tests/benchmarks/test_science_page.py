"""Each result on docs/science.md is computed from committed rows."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, "benchmarks")
from science_tables import (
    COMPARISONS,
    INDUCTION,
    PROBED,
    SCIENCE,
    arm_rows,
    arms_of,
    induction_lines,
    lines_of_page,
    measured_comparisons,
    rows_of,
)

from alignmlm.studies.study import load_study

PAGE = Path("docs/science.md").read_text("utf-8").splitlines()


def test_every_line_of_results_is_on_the_page_and_no_other():
    lines = lines_of_page()
    tables = [line for line in PAGE if line.startswith("|") and any(c.isdigit() for c in line)]
    assert sorted(tables) == sorted(lines)


ROWS = [INDUCTION, *sorted(SCIENCE.glob("*.jsonl"))]


@pytest.mark.parametrize("path", ROWS, ids=lambda path: path.stem)
def test_rows_say_where_they_were_measured(path):
    rows = rows_of(path)
    assert rows
    assert all(row["commit"] and row["device"] for row in rows)


STUDIES = [path for path in ROWS[1:] if path != PROBED]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_arm_of_a_study_has_every_seed_and_one_recipe(path):
    rows = rows_of(path)
    study = load_study(Path("studies") / path.with_suffix(".yaml").name)
    names = [*study.objectives, *study.variants]
    seeds = sorted({row["seed"] for row in rows})
    assert sorted((row["objective"], row["seed"]) for row in rows) == sorted(
        (name, seed) for name in names for seed in seeds
    )
    assert len({row["steps"] for row in rows}) == 1


def test_each_arm_that_is_compared_is_one_of_its_study():
    for study, name in {arm for arms in COMPARISONS.values() for arm in arms.values()}:
        asked = load_study(Path("studies") / f"{study}.yaml")
        assert name in [*asked.objectives, *asked.variants]


def test_a_comparison_is_shown_once_all_its_arms_were_run(monkeypatch):
    assert "inverted" in measured_comparisons()
    monkeypatch.setitem(COMPARISONS, "half run", arms_of("half-dictionary") | {"x": ("other", "x")})
    assert "half run" not in measured_comparisons()
    assert arm_rows(("other", "x")) == {}


def test_a_draw_that_was_measured_twice_counts_once_with_its_last_row():
    first, *_ = rows_of(INDUCTION)
    again = first | {"precision_percent": 12.5}
    assert list(induction_lines([first, again])) == list(induction_lines([again]))
