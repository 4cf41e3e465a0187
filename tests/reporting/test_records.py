import json

import pytest

from alignmlm.data.masking import LossTerm
from alignmlm.errors import DataError
from alignmlm.reporting.records import read_metrics, read_study, run_curves
from tests.reporting.conftest import LANGUAGES


def test_lines_of_one_step_are_one_row_and_the_later_value_counts(tmp_path):
    text = '{"step": 1, "a": 1, "b": 2}\n{"step": 1, "b": 3}\n'
    (tmp_path / "metrics.jsonl").write_text(text, encoding="utf-8")
    assert read_metrics(tmp_path) == {1: {"step": 1, "a": 1, "b": 3}}


def test_a_last_line_that_was_cut_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "tr', encoding="utf-8")
    assert list(read_metrics(tmp_path)) == [1]


def test_a_damaged_line_is_an_error_that_names_it(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"ste\n{"step": 3}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics\.jsonl:2"):
        read_metrics(tmp_path)


def test_a_folder_that_is_no_run_is_an_error(tmp_path):
    with pytest.raises(DataError, match="is no run"):
        read_metrics(tmp_path)


def test_curves_are_by_language_and_leave_out_what_was_never_logged(run):
    curves = run_curves(run)
    assert [line.name for line in curves.train_loss] == LANGUAGES
    assert [line.name for line in curves.alignment] == ["in dictionary"]
    assert curves.validation_loss[0].steps == [50, 100]


@pytest.mark.parametrize("text", ["[]", "{", '{"rows": []}', '{"name": "a", "rows": {}}'])
def test_a_study_that_cannot_be_read_is_an_error(tmp_path, text):
    (tmp_path / "study.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"study\.json"):
        read_study(tmp_path)


def test_a_language_without_a_script_has_curves_and_a_term_of_the_loss_has_none(tmp_path):
    terms = [term.name.lower() for term in LossTerm]
    losses = dict.fromkeys(("no", *terms, "eng-Latn"), 3.0)
    row = {f"train/loss_nats/{name}": value for name, value in losses.items()}
    row |= {"validation/loss_nats/no": 4.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, **row}) + "\n", "utf-8")
    curves = run_curves(tmp_path)
    assert [line.name for line in curves.train_loss] == ["no", "eng-Latn"]
    assert [line.name for line in curves.validation_loss] == ["no"]
