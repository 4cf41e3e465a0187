"""Results as a record of Every Eval Ever, checked by its own package where that can be had."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from alignmlm import cli
from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.evaluate import evaluate
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.reporting.every_eval_ever import write_evaluation_record

ITS_COMMAND = os.environ.get("EVERY_EVAL_EVER", "")  # every_eval_ever of a Python 3.12 environment


@pytest.fixture(scope="module")
def results(run_folder, toy_task, tmp_path_factory) -> Path:
    """Results of two seeds of fine-tuning."""
    folder = tmp_path_factory.mktemp("results")
    config = EvaluationConfig(seeds=[0, 1])
    evaluate(run_folder, [str(toy_task.path)], config, folder)
    return folder


def test_a_record_holds_every_score_with_its_unit_and_interval(results, tmp_path, capsys):
    code = cli.dispatch(
        ["eval", "export", str(results), "--model_id=lab/toy", f"--output={tmp_path}"]
    )
    path = Path(capsys.readouterr().out.strip())
    assert code == 0
    assert path.parent == tmp_path / "alignmlm/lab/toy"
    record, document = (
        json.loads(path.read_text()),
        json.loads((results / "results.json").read_text()),
    )
    found = {entry["evaluation_result_id"]: entry for entry in record["evaluation_results"]}
    (target,) = document["group_subtasks"]["toy"]
    row = document["results"][target]
    assert set(found) == {f"{target}/{name}" for name in ("bz", "bs", "source", "delta")}
    for name, unit in {"bz": 100, "bs": 100, "source": 100, "delta": 1}.items():
        entry = found[f"{target}/{name}"]
        score, config = entry["score_details"], entry["metric_config"]
        assert score["score"] == row[name] / unit
        bounds = score["uncertainty"]["confidence_interval"]
        assert [bounds["lower"], bounds["upper"]] == [x / unit for x in row[f"{name}_ci95"]]
        assert config["min_score"] <= score["score"] <= config["max_score"]
        assert config["lower_is_better"] == (name == "delta")
    assert (
        record["model_info"]["additional_details"]["model_xxh3"] == document["model"]["model_xxh3"]
    )
    assert str(results) not in path.read_text()


def test_the_same_results_replace_their_record(results, tmp_path):
    paths = {write_evaluation_record(results, "lab/toy", tmp_path) for _ in range(2)}
    assert [*tmp_path.rglob("*.json")] == [*paths]


@pytest.mark.skipif(not ITS_COMMAND, reason="EVERY_EVAL_EVER does not name every_eval_ever")
def test_its_own_package_finds_the_record_valid(results, tmp_path):
    path = write_evaluation_record(results, "lab/toy", tmp_path / "data")
    name = str(path.relative_to(tmp_path))  # it wants the folder to be data/
    subprocess.run([ITS_COMMAND, "validate", name], check=True, cwd=tmp_path)


def test_a_name_that_is_no_name_of_a_hub_is_refused(results, tmp_path):
    for name in ("toy", "lab/", "../toy", "lab/toy/x", "lab/.."):
        with pytest.raises(ConfigError, match="ORG/NAME"):
            write_evaluation_record(results, name, tmp_path)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no results\.json"):
        write_evaluation_record(tmp_path, "lab/toy", tmp_path)
