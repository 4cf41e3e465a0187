import json
from dataclasses import replace

import pytest

from alignmlm import cli
from alignmlm.artifacts.names import STUDY
from alignmlm.errors import AlignMLMError, DataError
from alignmlm.evaluation.evaluate import evaluate
from alignmlm.evaluation.scores.study_file import study_document
from alignmlm.pretraining.contents import numbers_of
from alignmlm.reporting.page import write_page
from alignmlm.studies.cells import (
    is_complete,
    statuses,
)
from alignmlm.studies.running import pretrain, run_study
from alignmlm.studies.study import (
    PlannedRun,
    planned_runs,
    recipe_of,
)
from tests.evaluation.conftest import LANGUAGES
from tests.studies.toy_studies import QUICK, finish, study


def test_a_finished_run_is_measured_and_not_trained_again(tmp_path, toy_task):
    run = finish(tmp_path / "align_mlm-seed0")
    weights = (run / "export" / "model.safetensors").stat().st_mtime_ns
    config = study(tmp_path, tasks=[str(toy_task.path)], evaluation=QUICK)
    (row,) = run_study(config).rows
    assert (row["objective"], row["seed"], row["language"]) == ("align_mlm", 0, LANGUAGES[1])
    assert row["alignment_in_dictionary_percent"] == 98.1
    assert row["alignment_held_out_percent"] is None
    assert row["delta"] == pytest.approx(row["bs"] - row["bz"])
    measured = evaluate(run, [str(toy_task.path)], QUICK)[0]["date"]
    assert run_study(config).rows == [row]
    assert evaluate(run, [str(toy_task.path)], QUICK)[0]["date"] == measured
    assert (run / "export" / "model.safetensors").stat().st_mtime_ns == weights
    assert json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))["rows"] == [row]


def test_a_damaged_study_file_is_named_set_aside_and_made_again(tmp_path, toy_task, caplog):
    finish(tmp_path / "align_mlm-seed0")
    config = study(tmp_path, tasks=[str(toy_task.path)], evaluation=QUICK)
    rows = run_study(config).rows
    path = tmp_path / "study.json"
    whole = path.read_text("utf-8")
    path.write_text(damaged := whole.replace("98.1", "99.1"), encoding="utf-8")
    assert run_study(config).rows == rows
    assert path.read_text("utf-8") == whole
    assert (tmp_path / "study.json.damaged-1").read_text("utf-8") == damaged
    assert f"{path} was changed or is damaged" in caplog.text


def test_a_run_without_its_export_is_not_finished(tmp_path):
    (tmp_path / "summary.json").write_text("{}", encoding="utf-8")
    assert not PlannedRun("mlm", 0, tmp_path).done


def test_a_run_that_fails_is_an_error_with_its_command_and_exit_code(tmp_path):
    config = study(tmp_path, overrides={"train.batch_rows": 0})
    with pytest.raises(
        AlignMLMError, match=r"exit code \d+; the command was: .*--train\.batch_rows=0"
    ):
        pretrain(config, planned_runs(config)[0])


def test_runs_of_other_settings_are_never_mixed(tmp_path, toy_task):
    config = study(tmp_path, tasks=[str(toy_task.path)], evaluation=QUICK)
    run = finish(tmp_path / "align_mlm-seed0")
    numbers = numbers_of(recipe_of(config, planned_runs(config)[0]))
    (run / "numbers.json").write_text(json.dumps(numbers), encoding="utf-8")
    assert len(run_study(config).rows) == 1
    settings = {"tasks": [str(toy_task.path)], "evaluation": QUICK}
    other = study(tmp_path, overrides={"train.steps": 5}, **settings)
    with pytest.raises(AlignMLMError, match=r"a run of this recipe; it differs in\s+train\.steps"):
        run_study(other)


def test_a_finished_run_of_other_data_is_never_mixed_in(tmp_path, toy_task, small_store):
    settings = {"tasks": [str(toy_task.path)], "evaluation": QUICK}
    config = study(tmp_path, overrides={"data.store": str(small_store)}, **settings)
    run = finish(tmp_path / "align_mlm-seed0")
    assert len(run_study(config).rows) == 1
    (run / "data.json").write_text('{"data_id": "older", "tokenizer": "same"}', encoding="utf-8")
    with pytest.raises(AlignMLMError, match=r"hold a run of the data \w+ of .*, not of older"):
        run_study(config)


def test_a_run_that_fails_stops_no_other_and_its_error_is_kept(tmp_path, toy_task):
    config = study(
        tmp_path, seeds=[0, 1], tasks=[str(toy_task.path)], evaluation=QUICK,
        overrides={"data.store": str(tmp_path / "nowhere"),
                   "data.sources": [{"language": "eng-Latn", "files": ["nowhere.txt"]}]},
    )  # fmt: skip
    finish(tmp_path / "align_mlm-seed1")
    outcome = run_study(config)
    assert [row["seed"] for row in outcome.rows] == [1]
    assert "nowhere" in outcome.failed["align_mlm-seed0"]
    states = {each.run: (each.state, each.error) for each in statuses(config)}
    assert states["align_mlm-seed0"] == ("failed", outcome.failed["align_mlm-seed0"])
    assert states["align_mlm-seed1"] == ("done", "")


def test_an_objective_that_failed_is_missing_on_the_page_with_its_reason(tmp_path, toy_task):
    config = replace(
        study(tmp_path, tasks=[str(toy_task.path)], evaluation=QUICK),
        objectives=["mlm", "align_mlm"],
        overrides={"data.store": str(tmp_path / "nowhere"),
                   "data.sources": [{"language": "eng-Latn", "files": ["nowhere.txt"]}]},
    )  # fmt: skip
    finish(tmp_path / "align_mlm-seed0")
    run_study(config)
    (missing,) = study_document(tmp_path / STUDY)["missing"]
    assert (missing["objective"], missing["seed"]) == ("mlm", 0)
    assert "there is no data store" in missing["reason"]
    assert "exit code" not in missing["reason"]
    text = write_page([], [tmp_path], tmp_path / "report.html").read_text("utf-8")
    holes = text.partition('id="holes-title"')[2].partition("</section>")[0]
    assert "MLM" in holes
    assert "there is no data store" in holes


def test_a_report_of_a_study_that_nobody_has_run_says_what_is_missing(tmp_path, capsys):
    path = tmp_path / "study.yaml"
    path.write_text(f"name: x\nobjectives: [mlm]\nfolder: {tmp_path}/runs\ntasks: []\n")
    assert cli.guarded(cli.dispatch, ["study", "report", str(path)]) == 0
    assert "mlm-seed0 was not measured: not pre-trained" in capsys.readouterr().out
    assert "not pre-trained" in (tmp_path / "runs/report.html").read_text("utf-8")


def test_a_study_whose_task_has_no_files_is_refused_before_training(tmp_path, toy_task):
    own = tmp_path / "gone.yaml"
    own.write_text(toy_task.path.read_text("utf-8").replace("dev.conllu", "gone.conllu"), "utf-8")
    config = study(tmp_path / "runs", tasks=[str(own)], overrides={"languages.ids": LANGUAGES})
    with pytest.raises(DataError, match=r"dev file .*gone\.conllu does not exist"):
        run_study(config)
    assert not (tmp_path / "runs").exists()


def test_a_new_run_is_made_without_touching_those_that_are_there(tmp_path, toy_task):
    settings = {"tasks": [str(toy_task.path)], "evaluation": QUICK}
    finish(tmp_path / "align_mlm-seed0")
    run_study(study(tmp_path, **settings))
    record = tmp_path / "cells" / "align_mlm-seed0.json"
    before = record.stat().st_mtime_ns
    finish(tmp_path / "align_mlm-seed1")
    larger = study(tmp_path, seeds=[0, 1], **settings)
    assert not is_complete(larger, record)
    assert [row["seed"] for row in run_study(larger).rows] == [0, 1]
    assert record.stat().st_mtime_ns == before


def test_a_finished_study_is_complete_until_a_file_that_it_depends_on_changes(tmp_path, toy_task):
    run = finish(tmp_path / "align_mlm-seed0")
    config = study(tmp_path, tasks=[str(toy_task.path)], evaluation=QUICK)
    run_study(config)
    page = tmp_path / "report.html"
    assert not is_complete(config, page)
    page.write_text("")
    assert is_complete(config, page)
    (run / "export" / "alignmlm.json").write_text("{}")
    assert not is_complete(config, page)
