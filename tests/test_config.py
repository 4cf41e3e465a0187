from pathlib import Path

import pytest

from alignmlm.config import load_recipe
from alignmlm.errors import ConfigError
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.planning.jobs import Cluster, GpuSpeed
from alignmlm.pretraining.recipe import Recipe
from alignmlm.storage.typed_settings import explanation, setting_hints
from alignmlm.studies.study import StudyConfig


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_recipe_is_the_default_one():
    assert load_recipe(None) == Recipe()


def test_a_recipe_of_alignmlm_is_found_by_name_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("sample")) == Recipe()
    for name in ("wikipedia-laptop", "wikipedia-laptop.yaml", "recipes/wikipedia-laptop.yaml"):
        assert load_recipe(Path(name)).data.store == "data/wikipedia-2k"
    write(tmp_path / "wikipedia-laptop.yaml", "data: {store: own}")
    assert load_recipe(Path("wikipedia-laptop.yaml")).data.store == "own"
    with pytest.raises(ConfigError, match=r"'wikipedia-lapto'.* did you mean 'wikipedia-laptop'"):
        load_recipe(Path("wikipedia-lapto"))


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path):
    recipe = load_recipe(write(tmp_path / "r.yaml", "train:\n  steps: 7\n"))
    assert recipe.train.steps == 7
    assert recipe.train.seq_len == Recipe().train.seq_len


def test_an_override_wins_over_the_file(tmp_path):
    file = write(tmp_path / "r.yaml", "train: {steps: 7, seq_len: 16}\n")
    recipe = load_recipe(file, ["--train.steps", "9"])
    assert (recipe.train.steps, recipe.train.seq_len) == (9, 16)


def test_a_recipe_goes_over_the_one_that_it_includes(tmp_path):
    write(tmp_path / "base.yaml", "objective: {name: mlm, alpha: 3}\ntrain: {steps: 5}\n")
    file = write(tmp_path / "r.yaml", "include: base.yaml\nobjective: {name: tlm}\n")
    recipe = load_recipe(file)
    assert (recipe.objective.name, recipe.objective.alpha, recipe.train.steps) == ("tlm", 3.0, 5)


def test_a_recipe_that_includes_itself_is_refused(tmp_path):
    file = write(tmp_path / "r.yaml", "include: r.yaml\n")
    with pytest.raises(ConfigError, match="not include itself"):
        load_recipe(file)


def test_an_unknown_key_names_the_file_and_the_nearest_key(tmp_path):
    file = write(tmp_path / "r.yaml", "objective:\n  alhpa: 3\n")
    with pytest.raises(
        ConfigError, match=r"r\.yaml: setting = 'objective\.alhpa'.*did you mean 'objective\.alpha'"
    ):
        load_recipe(file)


def test_an_unknown_override_names_the_nearest_key():
    with pytest.raises(ConfigError, match=r"command line: setting = 'train\.stps'.*'train\.steps'"):
        load_recipe(None, ["--train.stps=3"])


def test_a_value_of_a_wrong_type_names_key_value_and_type():
    with pytest.raises(ConfigError, match=r"train\.steps = 'many', but it must be an integer"):
        load_recipe(None, ["--train.steps", "many"])


@pytest.mark.parametrize("settings", [Recipe, EvaluationConfig, StudyConfig, Cluster, GpuSpeed])
def test_every_setting_is_explained_under_its_field(settings):
    bare = [name for name, _ in setting_hints(settings) if not explanation(settings, name)]
    assert bare == []


def test_settings_in_lists_are_explained():
    assert "Language and script" in explanation(Recipe, "data.sources[0].language")
    assert explanation(Recipe, "data.sources[0].languages") == ""


@pytest.mark.parametrize("value", ["many", "0"])
def test_an_error_says_what_its_setting_is(value):
    with pytest.raises(ConfigError, match=r"\(Optimizer steps of the whole run\)$"):
        load_recipe(None, [f"--train.steps={value}"])


def test_a_value_of_dashes_arrives_as_it_is():
    assert load_recipe(None, ["--run.name=--"]).run.name == "--"


def test_a_value_outside_its_choices_lists_them():
    with pytest.raises(
        ConfigError, match=r"objective\.name.*'mlm', 'tlm', 'dict_mlm', 'align_mlm'"
    ):
        load_recipe(None, ["--objective.name", "xlm"])


def test_a_value_outside_its_range_says_the_range():
    with pytest.raises(ConfigError, match=r"mask\.rate = 2\.0.*strictly between 0 and 1"):
        load_recipe(None, ["--mask.rate", "2"])


@pytest.mark.parametrize(
    "setting",
    [
        "train.alignment_words=0", "train.micro_rows=0", "optimizer.beta1=1", "optimizer.beta2=-1",
        "optimizer.epsilon=0", "optimizer.weight_decay=-1", "optimizer.warmup_steps=-1",
    ],
)  # fmt: skip
def test_a_number_with_which_no_run_ends_is_refused_before_it_starts(setting):
    name = setting.partition("=")[0].replace(".", r"\.")
    with pytest.raises(ConfigError, match=rf"{name} = .*, but it must (be|lie)"):
        load_recipe(None, [f"--{setting}"])


def test_yaml_with_tags_is_refused_and_nothing_is_run(tmp_path):
    target = tmp_path / "made"
    text = f"train: !!python/object/apply:pathlib.Path.touch [!!python/name:x '{target}']\n"
    with pytest.raises(ConfigError, match=r"r\.yaml:1: tag"):
        load_recipe(write(tmp_path / "r.yaml", text))
    assert not target.exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_recipe(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("path", sorted(Path("recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_house_can_be_read(path):
    assert load_recipe(path).run.name == path.stem


def test_a_character_that_yaml_has_not_is_named_with_its_line(tmp_path):
    recipe = write(tmp_path / "a.yaml", "# one\ntrain:\n  steps: 5\x07\n")
    with pytest.raises(ConfigError, match=r"a\.yaml:3 = '  steps: 5.x07', .*U\+0007 may not be"):
        load_recipe(recipe)
