from pathlib import Path

import pytest

from alignmlm.errors import ConfigError, DataError
from alignmlm.tasks.formats import FORMATS, formats_of
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.task import (
    Task,
    load_task,
    local_files,
    read_examples,
    requested_tasks,
    split_files,
    task_names,
)


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
    assert {form for kind in KINDS.values() for form in formats_of(kind.example)} == set(FORMATS)


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(ConfigError, match=r"eval ls.*'panx'.*did you mean 'sample_pos'"):
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
        ("  test:", "  dev2:", "name train, dev, test"),
        ("name: toy", "name: toy\nlabels: [a, a]", "name each label once"),
        ("name: toy", "name: toy\nother_language: fra-Latn", "be left out"),
        ("name: toy", "name: toy\nids: some", "be one of .*rows"),
        ("name: toy", "name: toy\ninclude: gone.yaml", "be an existing file"),
        ("name: toy", "name: toy\nlanguages: [eng-Latn]", "be a mapping"),
        ("name: toy", "name: toy\nlanguages: {fra-Latn: fr}\ntasks: {a: {}}", "only one"),
        ("name: toy", "name: ud/fr", r"changed\.yaml: task ud/fr: name = .*no slash"),
        ("name: toy", "name: .toy", "no dot at its start"),
        ("name: toy", 'name: "a\\tb"', "control character"),
        ("name: toy", "name: toy@2", "no slash, backslash, @ or"),
        ("name: toy", f"name: {'é' * 51}", "at most 100 bytes"),
        ("name: toy", "name: toy\nstrip_prefix: 'en:'", "form conllu_upos has no use for it"),
        ("name: toy", "name: [", "be YAML"),
        ("name: toy", "- name: toy", "be YAML"),
    ],
)
def test_a_wrong_task_file_says_what_is_wrong(toy_task, tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message):
        load_task(changed(toy_task, tmp_path, old, new))


def test_a_task_file_that_is_no_mapping_is_an_error(tmp_path):
    (tmp_path / "list.yaml").write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(ConfigError, match="be a mapping of keys to values"):
        load_task(str(tmp_path / "list.yaml"))


@pytest.mark.slow  # the sample world is slow under shape checks
def test_the_files_of_the_sample_world_are_made_when_they_are_missing(tmp_path):
    paths = local_files(split_files(load_task("sample_pos"), tmp_path / "cache"))
    assert [path.is_file() for path in paths.values()] == [True] * 3


def test_the_files_of_the_sample_world_are_not_made_again(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"pos-{split}.conllu").write_text("made before", encoding="utf-8")
    paths = local_files(split_files(load_task("sample_pos"), tmp_path))
    assert [path.read_text(encoding="utf-8") for path in paths.values()] == ["made before"] * 3


def test_a_missing_data_file_is_an_error_that_names_split_and_path(toy_task, tmp_path):
    task = load_task(changed(toy_task, tmp_path, "dev.conllu", "gone.conllu"))
    with pytest.raises(DataError, match=r"toy: dev file .*gone\.conllu does not exist"):
        split_files(task, tmp_path)


SPLIT = "name: toy\nversion: 1\nkind: token_classification\nmetric: accuracy\nform: conllu_upos\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("{train: a, dev: b}", "name a test split"),
        ("{test: {file: a}}", "'file', but it must be one of"),
        ("{test: {form: token_table}}", "include a path"),
        ("{test: 3}", "path = 3"),
        ("{test: ''}", "test: path = '', but it must name a file"),
        ("{test: {path: ''}}", "test: path = '', but it must name a file"),
        ("{test: {path: a, form: pair_table}}", "form = 'pair_table'"),
        ("{test: {path: a, rows: [5, 2]}}", "first row from 0"),
        ("{test: {path: a, strip_prefix: 'en:'}}", r"only \['conll_columns', 'token_table'\]"),
        ("{test: {path: a, other: b}}", "second file for the forms"),
        ("{test: 'hub:org/name'}", r"be a file, or its form one of \['pair_table'"),
    ],
)
def test_wrong_files_of_a_task_say_what_is_wrong(tmp_path, files, message):
    path = tmp_path / "own.yaml"
    path.write_text(f"{SPLIT}language: eng-Latn\nfiles: {files}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_task(str(path))


def test_one_file_is_a_task_in_many_languages(tmp_path):
    (tmp_path / "base.yaml").write_text(SPLIT.replace("name: toy\n", ""), encoding="utf-8")
    path = tmp_path / "own.yaml"
    path.write_text(
        "include: base.yaml\nname: own_{iso}\ngroup: own\nfiles: {test: 'x/{code}.conllu'}\n"
        "languages:\n  fra-Latn: fr\n  hin-Deva: {code: hi, files: {dev: y}, version: 2}\n",
        encoding="utf-8",
    )
    french, hindi = requested_tasks([str(path)]).all()
    assert (french.name, french.language, french.files) == (
        "own_fra", "fra-Latn", {"test": f"{tmp_path}/x/fr.conllu"},
    )  # fmt: skip
    files = {"test": f"{tmp_path}/x/hi.conllu", "dev": f"{tmp_path}/y"}
    assert (hindi.files, hindi.version) == (files, 2)
    assert load_task(f"{path}:own_hin") == hindi
    with pytest.raises(ConfigError, match=r"name one of \['own_fra', 'own_hin'\]"):
        load_task(str(path))
    with pytest.raises(ConfigError, match="did you mean 'own_fra'"):
        load_task(f"{path}:own_fr")


def test_paths_start_at_the_file_that_they_stand_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("tasks", "bases"):
        (tmp_path / folder).mkdir()
    base = SPLIT.replace("name: toy\n", "language: eng-Latn\n") + "files: {train: train.conllu}\n"
    (tmp_path / "bases/base.yaml").write_text(base, encoding="utf-8")
    own = ("test.conllu", "../up.conllu", f"{tmp_path}/x", "$X/y", "~/z", "sample:pos-test.conllu")
    tasks = "".join(f"  own_{n}: {{files: {{test: {path}}}}}\n" for n, path in enumerate(own))
    text = f"include: ../bases/base.yaml\ntasks:\n{tasks}"
    text += "  pairs: {files: {test: {path: a, rows: [0, 9]}}}\n"
    (tmp_path / "tasks/own.yaml").write_text(text, encoding="utf-8")
    *found, pairs = requested_tasks(["tasks/own.yaml"]).all()
    expected = ["tasks/test.conllu", "tasks/../up.conllu", *own[2:]]
    assert [task.files["test"] for task in found] == expected
    assert pairs.files["test"] == {"path": "tasks/a", "rows": [0, 9]}
    assert {task.files["train"] for task in found} == {"tasks/../bases/train.conllu"}


def test_files_that_include_each_other_are_an_error(tmp_path):
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{one}.yaml").write_text(f"include: {other}.yaml\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not include itself"):
        load_task(str(tmp_path / "a.yaml"))


def test_two_tasks_of_one_name_are_an_error(tmp_path):
    path = tmp_path / "own.yaml"
    text = f"{SPLIT}files: {{test: x}}\nlanguages: {{fra-Latn: fr, deu-Latn: de}}\n"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\['toy'\], but it must differ"):
        requested_tasks([str(path)]).all()


def test_a_file_that_includes_languages_has_no_tasks_of_its_own(tmp_path):
    base = f"{SPLIT}files: {{test: x}}\nlanguages: {{fra-Latn: fr}}\n"
    (tmp_path / "base.yaml").write_text(base, encoding="utf-8")
    (tmp_path / "own.yaml").write_text("include: base.yaml\ntasks: {a: {}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\['languages', 'tasks'\], but it must leave one"):
        requested_tasks([str(tmp_path / "own.yaml")]).all()


@pytest.mark.parametrize("key", ["strip_prefix: a", "label_values: {a: b}", "drop_labels: [a]"])
def test_a_key_that_a_form_has_no_use_for_is_refused(tmp_path, key):
    path = tmp_path / "own.yaml"
    head = "name: own\nversion: 1\nlanguage: eng-Latn\nother_language: fra-Latn\n"
    head += "kind: lexicon_induction\nmetric: precision_at_1\nform: word_pairs\n"
    path.write_text(f"{head}files: {{test: x}}\n{key}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="be left out: form word_pairs has no use for it"):
        load_task(str(path))


def test_labels_of_a_kind_without_labels_are_refused(tmp_path):
    path = tmp_path / "own.yaml"
    head = "name: own\nversion: 1\nlanguage: eng-Latn\nkind: question_answering\n"
    head += "metric: squad_f1\nform: squad_json\nfiles: {test: x}\nlabels: [a]\n"
    path.write_text(head, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"labels = .* be left out: form squad_json has none"):
        load_task(str(path))


def test_a_task_without_a_training_split_has_the_labels_of_all_its_splits(tmp_path):
    (tmp_path / "dev.txt").write_text("a DET\ngo VERB\n", encoding="utf-8")
    (tmp_path / "test.txt").write_text("a DET\ndog NOUN\n", encoding="utf-8")
    head = SPLIT.replace("conllu_upos", "conll_columns") + "language: eng-Latn\n"
    path = tmp_path / "own.yaml"
    path.write_text(f"{head}files: {{dev: dev.txt, test: test.txt}}\n", encoding="utf-8")
    assert read_examples(load_task(str(path)), tmp_path).labels == ["DET", "NOUN", "VERB"]


def test_a_task_whose_name_has_a_colon_can_be_named_alone(tmp_path):
    head = SPLIT.replace("name: toy\n", "") + "language: eng-Latn\nfiles: {test: x}\n"
    path = tmp_path / "own.yaml"
    path.write_text(f"{head}tasks: {{a: {{}}, 'a:b': {{}}}}\n", encoding="utf-8")
    assert [load_task(f"{path}:{name}").name for name in ("a", "a:b")] == ["a", "a:b"]


def test_a_name_has_letters_of_any_script_and_marks(toy_task, tmp_path):
    name = "épreuve_हिन्दी-2.5+x"
    assert load_task(changed(toy_task, tmp_path, "name: toy", f"name: {name}")).name == name


def test_examples_of_a_hub_dataset_have_a_hash_that_changes_with_a_label(tmp_path):
    (tmp_path / "hub").mkdir()
    task = Task(
        name="own",
        version=1,
        kind="pair_classification",
        metric="accuracy",
        form="pair_table",
        language="eng-Latn",
        columns={"first": "a", "second": "b", "label": "c"},
        files={"test": f"hub:{tmp_path / 'hub'}"},
    )
    hashes = []
    for label in ("p", "q", "p"):
        row = f'{{"a": "x", "b": "é", "c": "{label}"}}\n'
        (tmp_path / "hub" / "train.jsonl").write_text(row, encoding="utf-8")
        hashes.append(read_examples(task, tmp_path).files_xxh3["test"])
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_group_is_all_its_tasks():
    assert {"xnli_eng", "xnli_swa"} < {task.name for task in requested_tasks(["xnli"]).all()}
    assert {
        len({tuple(task.labels) for task in requested_tasks([g]).all()}) for g in ("xnli", "panx")
    } == {1}


def test_settings_name_what_is_not_as_if_left_out(toy_task):
    task = load_task(str(toy_task.path))
    names = ["name", "version", "kind", "metric", "form", "language", "files"]
    assert list(task.settings()) == names


def test_every_file_of_every_shipped_task_lies_in_the_data(shared_data, tmp_path):
    for name in task_names():
        task = load_task(name)
        if task.group != "sample":
            assert set(local_files(split_files(task, tmp_path))) >= set(task.files)


def test_an_empty_name_is_no_task():
    with pytest.raises(ConfigError, match=r"task = '', but it must be a \.yaml file"):
        requested_tasks([""]).all()
