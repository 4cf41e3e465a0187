import json
import os
import socket
from dataclasses import replace

import pytest

from alignmlm.artifacts.names import STUDY
from alignmlm.evaluation.scores.study_file import study_document, study_text
from alignmlm.storage.checksums import CHECKSUM
from alignmlm.studies.cells import (
    NOT_MEASURED,
    OUTDATED,
    Status,
    StudyOutcome,
    inputs_of,
    is_complete,
    outcome_of,
    read_cell,
    record_of,
    statuses,
)
from alignmlm.studies.running import write_study
from alignmlm.studies.study import (
    planned_runs,
)
from tests.reporting.studies import study_rows
from tests.studies.toy_studies import finish, raised, scored, study


def test_scores_of_other_settings_are_missing_with_that_reason(tmp_path):
    config = scored(tmp_path, [0])
    assert outcome_of(config) == StudyOutcome(study_rows(["align_mlm"], [0]))
    assert outcome_of(raised(config)) == StudyOutcome(failed={"align_mlm-seed0": OUTDATED})


def test_scores_on_a_task_whose_file_is_gone_are_missing_with_that_reason(tmp_path):
    config = scored(tmp_path, [0])
    (tmp_path / "test.conllu").unlink()
    outcome = outcome_of(config)
    assert outcome.rows == []
    assert "test.conllu does not exist" in outcome.failed["align_mlm-seed0"]


def test_scores_of_other_settings_are_not_taken_back_from_the_table(tmp_path):
    config = raised(scored(tmp_path, [0]))
    write_study(config, outcome_of(config).rows)
    document = study_document(tmp_path / STUDY)
    missing = {"objective": "align_mlm", "seed": 0, "reason": OUTDATED}
    assert (document["rows"], document["missing"]) == ([], [missing])


def test_rows_of_a_run_without_a_record_stay_in_the_table(tmp_path):
    config = scored(tmp_path, [0])
    rows = study_rows(["align_mlm"], [0, 1])
    (tmp_path / STUDY).write_text(study_text("toy", rows), "utf-8")
    write_study(replace(config, seeds=[0, 1]), outcome_of(config).rows)
    assert study_document(tmp_path / STUDY)["rows"] == rows


@pytest.mark.parametrize("change", [{"seeds": [0]}, {"name": "other"}])
def test_a_study_that_was_made_smaller_or_renamed_is_not_complete(tmp_path, change):
    config, page = scored(tmp_path, [0, 1]), tmp_path / "report.html"
    page.touch()
    assert is_complete(config, page)
    changed = replace(config, **change)
    assert not is_complete(changed, page)
    write_study(changed, outcome_of(changed).rows)
    page.touch()
    assert is_complete(changed, page)


def test_a_study_whose_page_is_older_than_its_table_is_not_complete(tmp_path):
    config, page = scored(tmp_path, [0]), tmp_path / "report.html"
    page.touch()
    write_study(config, outcome_of(config).rows)
    assert not is_complete(config, page)


def test_the_status_of_a_run_says_how_far_it_is(tmp_path):
    config = study(tmp_path, overrides={"train.steps": 40}, tasks=[])
    run = tmp_path / "align_mlm-seed0"
    assert list(statuses(config)) == [Status("align_mlm-seed0", "waiting", 0, 40)]
    run.mkdir()
    row = {"step": 10, "tokens": 5000, "train/tokens_per_s": 100.0, "train/loss_nats": 6.5}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert list(statuses(config)) == [
        Status("align_mlm-seed0", "stopped", 10, 40, 100.0, None, 6.5)
    ]
    (run / "run.lock").write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
    (found,) = statuses(config)
    assert (found.state, found.left_s) == ("training", 150.0)
    assert read_cell(config, planned_runs(config)[0]).error == ""


def test_a_run_is_not_finished_once_the_task_that_it_was_fine_tuned_on_changed(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.conll").write_text("kiru\tNOUN\n", "utf-8")
    text = "version: 1\nkind: token_classification\nmetric: accuracy\nform: conll_columns\n"
    text += "group: own\ntasks:\n  tgt: {language: qab-Latn, files: {test: test.conll}}\n"
    text += "  src: {language: qaa-Latn, files: {train: train.conll, test: test.conll}}\n"
    (tmp_path / "t.yaml").write_text(text, "utf-8")
    config = study(tmp_path, tasks=[f"{tmp_path}/t.yaml:tgt"])
    finish(tmp_path / "align_mlm-seed0")
    (run,) = planned_runs(config)
    before = inputs_of(config, run)
    (tmp_path / "train.conll").write_text("kiru\tVERB\nlutek\tVERB\n", "utf-8")
    assert inputs_of(config, run) != before


def test_a_record_whose_scores_were_changed_is_not_used(tmp_path):
    config = scored(tmp_path, [0])
    (run,) = planned_runs(config)
    path = record_of(config, run)
    text = path.read_text("utf-8")
    score = str(outcome_of(config).rows[0]["bz"])
    path.write_text(text.replace(score, "99.9"), "utf-8")
    assert outcome_of(config).rows == []
    older = {key: value for key, value in json.loads(text).items() if key != CHECKSUM}
    path.write_text(json.dumps(older), "utf-8")
    assert outcome_of(config).rows == study_rows(["align_mlm"], [0])


@pytest.mark.parametrize("text", ['{"error": 5}', '{"rows": 5}', '{"rows": ["a"]}', "[]", "{"])
def test_a_damaged_record_is_none(tmp_path, text):
    config = scored(tmp_path, [0])
    record_of(config, planned_runs(config)[0]).write_text(text, "utf-8")
    outcome = outcome_of(config)
    assert (outcome.rows, outcome.failed) == ([], {"align_mlm-seed0": NOT_MEASURED})


def test_a_run_that_was_trained_and_not_measured_is_missing_with_that_reason(tmp_path):
    config = scored(tmp_path, [0, 1])
    record_of(config, planned_runs(config)[1]).unlink()
    (tmp_path / STUDY).unlink()
    write_study(config, outcome_of(config).rows)
    missing = {"objective": "align_mlm", "seed": 1, "reason": NOT_MEASURED}
    assert study_document(tmp_path / STUDY)["missing"] == [missing]


def test_rows_that_stay_in_the_table_are_not_called_missing(tmp_path):
    config = scored(tmp_path, [0, 1])
    record_of(config, planned_runs(config)[1]).unlink()
    write_study(config, outcome_of(config).rows)
    document = study_document(tmp_path / STUDY)
    assert ({row["seed"] for row in document["rows"]}, document["missing"]) == ({0, 1}, [])
