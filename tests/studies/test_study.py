import json
import os
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from alignmlm import cli
from alignmlm.artifacts.names import STUDY
from alignmlm.errors import AlignMLMError, ConfigError, DataError
from alignmlm.evaluation.evaluate import evaluate
from alignmlm.evaluation.scores.study_file import study_document, study_text
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig
from alignmlm.pretraining.contents import numbers_of
from alignmlm.reporting.page import write_page
from alignmlm.storage.checksums import CHECKSUM
from alignmlm.studies.cells import (
    NOT_MEASURED,
    OUTDATED,
    CellRecord,
    Status,
    StudyOutcome,
    inputs_of,
    is_complete,
    outcome_of,
    read_cell,
    record_of,
    statuses,
    write_cell,
)
from alignmlm.studies.running import command, pretrain, run_study, write_study
from alignmlm.studies.study import (
    PlannedRun,
    StudyConfig,
    load_study,
    planned_runs,
    recipe_of,
)
from tests.evaluation.conftest import LANGUAGES, export, run_folder, write_export  # noqa: F401
from tests.reporting.studies import study_rows
from tests.toys import write_toy_task

QUICK = EvaluationConfig(finetune=FineTuneConfig(epochs=1, batch_rows=8))
ROOT = Path(__file__).parents[2]


def study(folder: Path, **settings) -> StudyConfig:
    return StudyConfig(name="toy", objectives=["align_mlm"], folder=str(folder), **settings)


def finish(folder: Path) -> Path:
    """What a run leaves."""
    folder.mkdir(parents=True)
    write_export(folder / "export", LANGUAGES)
    summary = {
        "objective": "align_mlm", "steps": 600, "seconds": 9.0, "tokens_per_s": 2e4,
        "export": "export",
        "validation_loss_nats": {LANGUAGES[0]: 3.1, LANGUAGES[1]: 3.4},
        "alignment_percent": {"in_dictionary": 98.1, "held_out": None},
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "curves.png").touch()
    return folder


@pytest.mark.parametrize("missing", ["summary.json", "curves.png", "export/alignmlm.json"])
def test_a_run_is_done_when_all_that_it_leaves_is_there(tmp_path, missing):
    folder = finish(tmp_path / "run")
    assert PlannedRun("align_mlm", 0, folder).done
    (folder / missing).unlink()
    assert not PlannedRun("align_mlm", 0, folder).done


def test_the_sample_study_compares_mlm_and_align_mlm():
    found = load_study(ROOT / "studies" / "sample.yaml")
    assert (found.objectives, found.tasks, found.seeds) == (
        ["mlm", "align_mlm"],
        ["sample_pos", "sample_ner"],
        [0, 1],
    )


def test_a_study_is_every_objective_with_every_seed():
    config = StudyConfig(name="x", objectives=["mlm", "align_mlm"], seeds=[0, 7], folder="f")
    names = [run.folder.as_posix() for run in planned_runs(config)]
    assert names == ["f/mlm-seed0", "f/align_mlm-seed0", "f/mlm-seed7", "f/align_mlm-seed7"]


def test_variants_are_runs_beside_the_objectives_with_settings_of_their_own(tmp_path):
    quarter = {"objective.name": "align_mlm", "dictionary.fraction": 0.25}
    config = StudyConfig(name="x", objectives=["mlm"], variants={"quarter": quarter}, folder="f")
    runs = planned_runs(config)
    assert [run.folder.as_posix() for run in runs] == ["f/mlm-seed0", "f/quarter-seed0"]
    line = command(config, runs[1])
    assert {"--objective.name=align_mlm", "--dictionary.fraction=0.25"} <= set(line)


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"mlm": {"objective.name": "mlm"}}, "have a name of its own"),
        ({"quarter": {"dictionary.fraction": 0.25}}, "an objective.name"),
        ({"quarter": {"objective.name": "mlm", "model.seed": 1}}, "the study sets"),
        ({"quarter": {"objective.name": "mlm", "train": 1}}, "dotted settings"),
        ({"../up": {"objective.name": "mlm"}}, "a name of its own, without slashes"),
        ({"a/b": {"objective.name": "mlm"}}, "a name of its own, without slashes"),
        ({"": {"objective.name": "mlm"}}, "a name of its own, without slashes"),
    ],
)
def test_variants_that_cannot_be_told_apart_or_run_are_errors(variants, message):
    with pytest.raises(ConfigError, match=message):
        StudyConfig(name="x", objectives=["mlm"], variants=variants, folder="f")


def test_a_run_is_a_command_line_of_its_own(tmp_path):
    overrides = {"train.steps": 30, "run.wandb": False, "languages.ids": ["qaa-Latn"]}
    config = study(tmp_path, recipe="r.yaml", overrides=overrides)
    own = {"objective.name": "align_mlm"}
    line = command(config, PlannedRun("align_mlm", 7, Path("f/align_mlm-seed7"), own))
    assert line[0] == sys.executable
    assert line[-9:] == [
        "--config=r.yaml", "--train.steps=30", "--run.wandb=false", '--languages.ids=["qaa-Latn"]',
        "--objective.name=align_mlm", "--model.seed=7", "--train.seed=7",
        "--run.name=toy-align_mlm-seed7", "--run.dir=f/align_mlm-seed7",
    ]  # fmt: skip


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


AXES = {"dictionary.fraction": [0.25, 0.5], "model.size": ["tiny", "small"]}


def test_axes_are_every_combination_of_settings_less_those_excluded_and_those_included_more():
    config = StudyConfig(
        name="x", objectives=["mlm", "align_mlm"], folder="f", axes=AXES, seeds=[0, 1],
        exclude=[
            {"objective.name": "mlm", "dictionary.fraction": 0.25},
            {"model.size": "small", "seed": 1},
        ],
        include=[{"objective.name": "tlm", "train.steps": 50}],
    )  # fmt: skip
    assert [run.folder.name for run in planned_runs(config)] == [
        "mlm-fraction0.5-sizetiny-seed0", "mlm-fraction0.5-sizesmall-seed0",
        "align_mlm-fraction0.25-sizetiny-seed0", "align_mlm-fraction0.25-sizesmall-seed0",
        "align_mlm-fraction0.5-sizetiny-seed0", "align_mlm-fraction0.5-sizesmall-seed0",
        "tlm-steps50-seed0",
        "mlm-fraction0.5-sizetiny-seed1", "align_mlm-fraction0.25-sizetiny-seed1",
        "align_mlm-fraction0.5-sizetiny-seed1", "tlm-steps50-seed1",
    ]  # fmt: skip
    recipe = recipe_of(config, planned_runs(config)[3])
    assert (recipe.dictionary.fraction, recipe.model.size) == (0.25, "small")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"axes": {"train.stepz": [1]}}, "did you mean 'train.steps'"),
        ({"axes": {"train.steps": []}}, "have values"),
        ({"axes": {"train.steps": ["many"]}}, "be an integer"),
        ({"axes": {"train.steps": [1]}, "overrides": {"train.steps": 2}}, "neither in overrides"),
        ({"axes": {"model.seed": [1]}}, "that the study sets"),
        ({"exclude": [{"train.stepz": 1}]}, "did you mean 'train.steps'"),
        ({"include": [{"train.steps": 1}]}, "have an objective.name"),
    ],
)
def test_axes_that_are_no_settings_are_errors(settings, message):
    with pytest.raises(ConfigError, match=message):
        StudyConfig(name="x", objectives=["mlm"], folder="f", **settings)


def test_a_study_of_which_no_run_is_left_is_an_error():
    config = StudyConfig(name="x", objectives=["mlm"], folder="f", exclude=[{"seed": 0}])
    with pytest.raises(ConfigError, match="have runs"):
        planned_runs(config)


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


def scored(folder: Path, seeds: list[int]) -> StudyConfig:
    """A study with a task of its own in its folder, each run with invented scores on record."""
    toy = write_toy_task(folder)
    config = study(folder, seeds=seeds, tasks=[str(toy.path)], evaluation=QUICK)
    for run in planned_runs(config):
        (run.folder / "export").mkdir(parents=True)
        for name in ("summary.json", "curves.png", "export/alignmlm.json"):
            (run.folder / name).touch()
        rows = study_rows(["align_mlm"], [run.seed])
        write_cell(config, run, CellRecord(inputs_of(config, run), rows))
    write_study(config, outcome_of(config).rows)
    return config


def raised(config: StudyConfig) -> StudyConfig:
    """The study with more epochs of fine-tuning."""
    return replace(config, evaluation=EvaluationConfig(finetune=FineTuneConfig(epochs=2)))


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


def test_a_recipe_that_does_not_exist_is_an_error(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("name: x\nobjectives: [mlm]\nfolder: f\nrecipe: nowhere.yaml\n")
    with pytest.raises(ConfigError, match=r"recipe = 'nowhere\.yaml', but .* an existing file"):
        load_study(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objectives: [mlm]\nfolder: f\n", "name"),
        ("name: x\nobjective: [mlm]\nfolder: f\n", "did you mean 'objectives'"),
        (
            "name: x\nobjectives: [mlm]\nfolder: f\nseeds: [one]\n",
            r"seeds\[0\] = 'one', but it must be an integer",
        ),
        ("name: x\nobjectives: []\nfolder: f\n", "at least one seed and one objective"),
        ("name: x\nobjectives: [mlm, mlm]\nfolder: f\n", "name each once"),
        (
            "name: x\nobjectives: [mlm]\nfolder: f\noverrides: {train: {steps: 3}}\n",
            "dotted settings",
        ),
        (
            "name: x\nobjectives: [mlm]\nfolder: f\noverrides: {model.seed: 3}\n",
            "that the study sets",
        ),
        ("name: x\nobjectives: [mlm]\nfolder: f\noverrides: {train.stepz: 3}\n", "'train.steps'"),
        (
            "name: x\nobjectives: [mlm]\nfolder: f\noverrides: {train.steps: '3'}\n",
            "train.steps = '3', but it must be an integer; leave out the quotes",
        ),
        (
            "name: x\nfolder: f\nvariants: {a: {objective.name: mlm, train.seq_len: 7}}\n",
            r"study\.yaml: a: train\.seq_len = 7, but it must be even",
        ),
        ("name: x\nobjectives: [alignmlm]\nfolder: f\n", "align_mlm"),
        ("- name\n", "be a mapping"),
        ("name: [", r"study\.yaml:1 = .* be YAML"),
    ],
)
def test_a_wrong_study_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_study(path)


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


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"dictionary.fraction": 0.3}, "leave out a run"),
        ({"model.size": "small"}, "leave out a run"),
        ({"dictionary.fraction": "0.25"}, "be a number"),
        ({"seed": "0"}, "be an integer"),
    ],
)
def test_a_rule_that_leaves_out_no_run_is_an_error(rule, message):
    axes = {"dictionary.fraction": [0.25, 0.5]}
    with pytest.raises(ConfigError, match=message):
        StudyConfig(name="x", objectives=["mlm"], folder="f", axes=axes, exclude=[rule])


def test_a_rule_may_name_a_seed_that_is_not_run_yet():
    rule = {"objective.name": "mlm", "seed": 7}
    config = StudyConfig(name="x", objectives=["mlm"], folder="f", exclude=[rule])
    assert len(planned_runs(config)) == 1
