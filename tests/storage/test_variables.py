"""$VARIABLES in paths: those of data where they are opened, the others when settings are read."""

from pathlib import Path

import pytest

from alignmlm.config import load_recipe
from alignmlm.corpus.sources import expand_path
from alignmlm.errors import ConfigError
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.storage.typed_settings import build
from alignmlm.storage.variables import expanded
from alignmlm.studies.study import load_study


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    """A folder that $SCRATCH names, as on a cluster; $NOWHERE is not set, $NOTHING is empty."""
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("NOTHING", "")
    monkeypatch.delenv("NOWHERE", raising=False)
    return tmp_path


@pytest.mark.parametrize("text", ["$SCRATCH/x", "${SCRATCH}/x"])
def test_a_variable_is_put_into_a_path(scratch, text):
    assert expanded(text) == f"{scratch}/x"
    assert expand_path(text) == scratch / "x"


@pytest.mark.parametrize("text", ["$NOWHERE/x", "a/${NOWHERE}", "$SCRATCH/$NOWHERE", "$NOTHING/x"])
def test_a_variable_that_is_not_set_is_named(scratch, text):
    name = "NOTHING" if "NOTHING" in text else "NOWHERE"
    for read in (expanded, expand_path):
        with pytest.raises(ConfigError, match=rf"variables that are set; \${name} is not$"):
            read(text)


def test_several_that_are_not_set_are_all_named(scratch):
    with pytest.raises(ConfigError, match=r"\$NOWHERE and \$NOTHING are not$"):
        expanded("$NOWHERE/$NOTHING/$NOWHERE")


@pytest.mark.parametrize("text", ["price$5.txt", "a$", "$(id)", "~nobody-of-that-name/x"])
def test_what_is_no_variable_stays_as_it_is(text):
    assert expanded(text) == text


def test_a_file_that_has_the_dollar_in_its_name_is_meant(scratch, monkeypatch):
    monkeypatch.chdir(scratch)
    Path("a$NOWHERE.txt").touch()
    assert expanded("a$NOWHERE.txt") == "a$NOWHERE.txt"


def test_a_leading_tilde_is_the_home_folder(scratch, monkeypatch):
    monkeypatch.setenv("HOME", str(scratch))
    assert load_recipe(None, ["--run.dir=~/run"]).run.dir == f"{scratch}/run"


def test_a_runs_folder_may_lie_in_scratch(scratch):
    path = scratch / "recipe.yaml"
    path.write_text("run: {dir: $SCRATCH/run}\nmodel: {start: '${SCRATCH}/model'}\n")
    recipe = load_recipe(path)
    assert (recipe.run.dir, recipe.model.start) == (f"{scratch}/run", f"{scratch}/model")


def test_an_unset_variable_names_file_and_setting(scratch):
    path = scratch / "recipe.yaml"
    path.write_text("run: {dir: $NOWHERE/run}\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml: run\.dir = '\$NOWHERE/run'.*set"):
        load_recipe(path)


def test_data_keeps_its_variable_which_each_machine_looks_up_anew(scratch):
    assert load_recipe(None, ["--data.store=$NOWHERE/store"]).data.store == "$NOWHERE/store"


def test_an_evaluation_and_a_study_may_lie_in_scratch(scratch):
    settings = {"models": "$SCRATCH/models", "syntax": {"parser": "$SCRATCH/p"}}
    config = build(EvaluationConfig, ("e", settings), prefix="evaluation.")
    assert (config.models, config.syntax.parser) == (f"{scratch}/models", f"{scratch}/p")
    with pytest.raises(ConfigError, match=r"e: evaluation\.syntax\.models = '\$NOWHERE'"):
        build(EvaluationConfig, ("e", {"syntax": {"models": "$NOWHERE"}}), prefix="evaluation.")
    path = scratch / "study.yaml"
    path.write_text("name: x\nfolder: $SCRATCH/study\nobjectives: [mlm]\n")
    assert load_study(path).folder == f"{scratch}/study"


def test_names_that_are_no_paths_look_nothing_up(scratch):
    with pytest.raises(ConfigError, match=r"run\.name = '\$SCRATCH'.*no \$VARIABLE"):
        load_recipe(None, ["--run.name=$SCRATCH"])
