import shutil
from dataclasses import replace

import pytest

from alignmlm.artifacts.description import read_description, write_description
from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.evaluate import evaluate
from alignmlm.evaluation.evaluated_model import open_export
from alignmlm.evaluation.fine_tuning import training
from alignmlm.evaluation.scores.results import RESULTS, read_results
from alignmlm.evaluation.selection import direction_of
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig
from alignmlm.tasks.task import load_task
from tests.evaluation.conftest import LANGUAGES, write_export

QUICK = EvaluationConfig(finetune=FineTuneConfig(epochs=1, learning_rate=5e-3, batch_rows=8))
TARGET = LANGUAGES[1]


@pytest.fixture(scope="module")
def measured(run_folder, toy_task):
    return evaluate(run_folder, [str(toy_task.path)], QUICK)[0]


def test_results_hold_what_was_measured_on_what(measured, run_folder):
    row = measured["results"]["toy"]
    assert row == measured["results"][f"toy@{TARGET}"]
    assert row["delta"] == pytest.approx(row["bs"] - row["bz"])
    assert row["acc,none"] == pytest.approx(row["bz"] / 100)
    assert row["n_seeds"] == len(measured["per_seed"]["toy"]) == 1
    assert measured["n-samples"]["toy"]["original"] == 16
    assert measured["versions"] == {"toy": 1}
    assert measured["model"]["model_xxh3"] == open_export(run_folder).model_xxh3


def test_results_are_read_back_as_they_were_returned(measured, run_folder):
    assert read_results(run_folder / "evaluation") == measured
    found = {path.name for path in (run_folder / "evaluation").iterdir()}
    samples = {file["file"] for file in measured["samples"]["toy"].values()}
    assert measured["samples"]["toy"].keys() == {LANGUAGES[0], TARGET}
    assert found == {RESULTS, ".results.json.lock", "models", *samples}


def test_what_was_measured_is_not_measured_again(measured, run_folder, toy_task):
    assert evaluate(run_folder, [str(toy_task.path)], QUICK)[0]["date"] == measured["date"]


def test_a_task_whose_answers_are_gone_is_measured_again(run_folder, toy_task, tmp_path):
    first, _ = evaluate(run_folder, [str(toy_task.path)], QUICK, tmp_path)
    file = first["samples"]["toy"][TARGET]["file"]
    (tmp_path / file).unlink()
    second, _ = evaluate(run_folder, [str(toy_task.path)], QUICK, tmp_path)
    assert second["date"] > first["date"]
    assert second["samples"] == first["samples"]
    assert (tmp_path / file).is_file()


def test_other_settings_are_measured_and_take_the_place_of_the_old(run_folder, toy_task, tmp_path):
    first, _ = evaluate(run_folder, [str(toy_task.path)], QUICK, tmp_path)
    changed = EvaluationConfig(seeds=[3], finetune=QUICK.finetune)
    second, _ = evaluate(run_folder, [str(toy_task.path)], changed, tmp_path)
    assert second["date"] > first["date"]
    assert [row["seed"] for row in second["per_seed"]["toy"]] == [3]


def test_results_keep_the_precision_that_they_began_with(
    run_folder, toy_task, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "fastest_precision", lambda: ("bf16", "fast"))
    first, _ = evaluate(run_folder, [str(toy_task.path)], QUICK, tmp_path)
    assert first["configs"]["toy"]["finetune"]["precision"] == "bf16"
    monkeypatch.setattr(training, "fastest_precision", lambda: ("fp32", "fast"))
    assert evaluate(run_folder, [str(toy_task.path)], QUICK, tmp_path)[0]["date"] == first["date"]
    asked = replace(QUICK, finetune=replace(QUICK.finetune, precision="fp32"))
    other, _ = evaluate(run_folder, [str(toy_task.path)], asked, tmp_path)
    assert other["date"] > first["date"]
    assert other["configs"]["toy"]["finetune"]["precision"] == "fp32"


def test_another_model_starts_its_results_anew(run_folder, toy_task, tmp_path):
    shutil.copytree(run_folder / "export", tmp_path / "export")
    old, _ = evaluate(tmp_path, [str(toy_task.path)], QUICK)
    described = read_description(tmp_path / "export")
    write_description(tmp_path / "export", replace(described, step=700))
    new, _ = evaluate(tmp_path, [str(toy_task.path)], QUICK)
    assert (old["model"]["step"], new["model"]["step"]) == (600, 700)
    assert new["date"] > old["date"]


@pytest.mark.parametrize("text", ["{", '{"schema_version": 99}'])
def test_results_that_cannot_be_read_are_an_error(tmp_path, text):
    (tmp_path / RESULTS).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"results\.json"):
        read_results(tmp_path)


def test_targets_are_the_languages_derived_from_the_tasks_own(export, toy_task):
    task = load_task(str(toy_task.path))
    found = direction_of(export, task, None, [])
    assert (found.source, found.targets) == (LANGUAGES[0], (TARGET,))
    assert found.source_task == found.task == task


def test_transfer_is_measured_the_other_way_if_asked(export, toy_task):
    found = direction_of(export, load_task(str(toy_task.path)), TARGET, [])
    assert (found.source, found.targets) == (TARGET, (LANGUAGES[0],))


def test_a_task_in_a_language_that_the_model_lacks_is_an_error(export):
    with pytest.raises(ConfigError, match=r"eng-Latn or made from it, for ewt_pos"):
        direction_of(export, load_task("ewt_pos"), None, [])


def test_a_model_of_one_language_has_no_target(tmp_path, toy_task):
    alone = open_export(write_export(tmp_path / "export", LANGUAGES[:1]))
    with pytest.raises(ConfigError, match=f"hold one besides {LANGUAGES[0]}"):
        direction_of(alone, load_task(str(toy_task.path)), None, [])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [0, -1]}, r"lie in \[0, 2\*\*32\)"),
        ({"seeds": [2**32]}, r"lie in \[0, 2\*\*32\)"),
        ({"targets": [TARGET, TARGET]}, "name each language once"),
    ],
)
def test_settings_of_an_evaluation_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        EvaluationConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"batch_rows": 0},
        {"learning_rate": 0.0},
        {"warmup": 1.0},
        {"weight_decay": -0.1},
    ],
)
def test_settings_of_fine_tuning_are_checked(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        FineTuneConfig(**settings)
