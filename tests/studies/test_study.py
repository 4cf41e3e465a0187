import sys
from pathlib import Path

import pytest

from alignmlm.errors import ConfigError
from alignmlm.studies.running import command
from alignmlm.studies.study import (
    PlannedRun,
    StudyConfig,
    load_study,
    planned_runs,
    recipe_of,
)
from tests.studies.toy_studies import finish, study

ROOT = Path(__file__).parents[2]
AXES = {"dictionary.fraction": [0.25, 0.5], "model.size": ["tiny", "small"]}


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
        ({"axes": {"dictionary.fraction": [1, 1.0]}}, "have each value once"),
        (
            {"axes": {"train.steps": [1]}, "overrides": {"train.steps": 2}},
            "not be set in overrides",
        ),
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
