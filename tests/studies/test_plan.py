"""What a study's runs will take, by those that are done and by trials."""

from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from alignmlm.errors import AlignMLMError
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig
from alignmlm.pretraining.recipe import Recipe, RunConfig
from alignmlm.storage.plain_data import read_yaml
from alignmlm.studies import measuring, plan, speed
from alignmlm.studies.running import run_study
from alignmlm.studies.speed import RunSpeed
from tests.studies.toy_studies import QUICK, finish, study


def test_a_run_like_a_finished_one_takes_what_that_took(tmp_path, toy_task, monkeypatch):
    finish(tmp_path / "align_mlm-seed0")
    config = study(tmp_path, tasks=[str(toy_task.path)], evaluation=QUICK)
    run_study(config)
    monkeypatch.setattr(plan, "trial_run", None)  # nothing is tried
    first, second = plan.plan_rows(replace(config, seeds=[0, 1]))
    assert (first.done, second.done) == (True, False)
    assert first.training_s == second.training_s == 9.0
    assert first.measuring_s == second.measuring_s > 0


def test_the_time_of_measuring_follows_the_number_of_examples(tmp_path, toy_task, monkeypatch):
    clock = [0.0]

    def evaluate(run, tasks, evaluation, output):
        """Results that take a second to begin with, and a millisecond for a tested example."""
        task = {"name": "toy", "version": 1, "kind": "token_classification", "metric": "accuracy"}
        task |= {"form": "conllu_upos", "language": "qaa-Latn", "files": files}
        document = {"configs": {"toy": {"task": task, "targets": ["qaa-Latn-x-inv-trans"]}}}
        clock[0] += 1.0 + measuring.cost(document, evaluation) / 1000
        return document, {}

    files = {
        name: str(toy_task.path.parent / f"{name}.conllu") for name in ("train", "dev", "test")
    }
    monkeypatch.setattr(measuring, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(measuring, "evaluate", evaluate)
    monkeypatch.setattr(measuring, "FEW", 4)
    monkeypatch.setattr(measuring, "MORE", 8)
    whole = EvaluationConfig(seeds=[0, 1], finetune=FineTuneConfig(epochs=2))
    trained, tested = 3 * 2 * (32 + 32), 16 + 16 + 16 + 16  # source, dev; zero-shot and supervised
    expected = 1.0 + 2 * (trained + tested) / 1000
    found = measuring.expected_measuring_s(tmp_path, ["toy"], whole)
    assert found == pytest.approx(expected)


def test_a_study_without_tasks_takes_no_time_to_measure(tmp_path):
    assert measuring.expected_measuring_s(tmp_path, [], QUICK) == 0.0


@pytest.mark.parametrize(
    "change", [{"train.precision": "bf16"}, {"train.validation_steps": 7}, {"mask.rate": 0.3}]
)
def test_a_run_that_differs_from_a_finished_one_in_more_than_its_seed_is_tried(
    tmp_path, toy_task, monkeypatch, change
):
    finish(tmp_path / "align_mlm-seed0")
    config = study(tmp_path, tasks=[str(toy_task.path)], evaluation=QUICK)
    run_study(config)
    other = {"objective.name": "align_mlm", **change}
    monkeypatch.setattr(plan, "tried", lambda study, recipe: (RunSpeed(1.0, 0.0, 0.0, 0.0), 0.0))
    first, second = plan.plan_rows(replace(config, variants={"other": other}))
    assert (first.training_s, second.training_s) == (9.0, 400.0)


def test_a_trial_is_not_logged_to_wandb_or_tensorboard(monkeypatch):
    recipes = []

    def start(line, **options):
        recipes.append(read_yaml(Path(line[-1].removeprefix("--config="))))
        return CompletedProcess(line, 2, "", "alignmlm: error: stop here")

    monkeypatch.setattr(speed.subprocess, "run", start)
    tracked = replace(Recipe(), run=RunConfig(wandb=True, tensorboard=True))
    with pytest.raises(AlignMLMError, match="stop here"):
        speed.measured_speed(tracked)
    run = recipes[0]["run"]
    assert (run["wandb"], run["tensorboard"]) == (False, False)
