from pathlib import Path

import pytest

from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.forms import FORMS
from alignmlm.evaluation.tasks import KINDS, load_task, task_files, task_names


def changed(toy_task, tmp_path: Path, old: str, new: str) -> str:
    text = toy_task.path.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "changed.yaml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return str(path)


def test_every_task_that_comes_with_alignmlm_loads_under_its_name():
    assert {"sample_pos", "ewt_pos"} <= set(task_names())
    assert [load_task(name).name for name in task_names()] == task_names()


def test_every_form_of_every_kind_can_be_read():
    assert {form for kind in KINDS.values() for form in kind.forms} == set(FORMS)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'sample_pos'"):
        load_task("sample_ops")


def test_a_task_file_that_does_not_exist_is_named():
    with pytest.raises(ConfigError, match=r"nowhere\.yaml.*existing file"):
        load_task("nowhere.yaml")


def test_a_task_of_the_users_own_is_a_path(toy_task):
    assert load_task(str(toy_task.path)).language == "qaa-Latn"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric: accuracy", "metrics: accuracy", "did you mean 'metric'"),
        ("version: 1\n", "", "include .*version"),
        ("kind: token_classification", "kind: token_clasification", "did you mean 'token_class"),
        ("form: conllu_upos", "form: tsv", "form = 'tsv', but it must be one of"),
        ("metric: accuracy", "metric: f1", "metric = 'f1'"),
        ("language: qaa-Latn", "language: qaa", "look like 'eng-Latn'"),
        ("  dev:", "  development:", "name train, dev, test"),
        ("name: toy", "name: [", "be YAML"),
        ("name: toy", "- name: toy", "be YAML"),
    ],
)
def test_a_wrong_task_file_says_what_is_wrong(toy_task, tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message):
        load_task(changed(toy_task, tmp_path, old, new))


def test_a_task_file_that_is_no_mapping_is_an_error(tmp_path):
    (tmp_path / "list.yaml").write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(ConfigError, match="be a mapping with the keys"):
        load_task(str(tmp_path / "list.yaml"))


@pytest.mark.slow  # the sample world is slow under shape checks
def test_the_files_of_the_sample_world_are_made_when_they_are_missing(tmp_path):
    paths = task_files(load_task("sample_pos"), tmp_path / "cache")
    assert [path.is_file() for path in paths.values()] == [True] * 3


def test_the_files_of_the_sample_world_are_not_made_again(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"pos-{split}.conllu").write_text("made before", encoding="utf-8")
    paths = task_files(load_task("sample_pos"), tmp_path)
    assert [path.read_text(encoding="utf-8") for path in paths.values()] == ["made before"] * 3


def test_a_missing_data_file_is_an_error_that_names_split_and_path(toy_task, tmp_path):
    task = load_task(changed(toy_task, tmp_path, "dev.conllu", "gone.conllu"))
    with pytest.raises(DataError, match=r"toy: dev file .*gone\.conllu does not exist"):
        task_files(task, tmp_path)
