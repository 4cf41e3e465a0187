"""Fine-tuned models are read back as they were written, or made again."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alignmlm.evaluation.fine_tuning.model_cache import MANIFEST
from alignmlm.evaluation.fine_tuning.training import (
    TaskData,
    Tuning,
    fine_tuned,
    model_key,
    task_data,
)
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig
from alignmlm.storage.atomic import remove
from alignmlm.storage.checksums import file_hashes, with_checksum
from alignmlm.tasks.task import load_task, read_examples
from tests.evaluation.conftest import LANGUAGES

SOURCE, OTHER = LANGUAGES


@pytest.fixture
def data(export, toy_task):
    read = read_examples(load_task(str(toy_task.path)), toy_task.path.parent)
    return task_data(export, read, read, EvaluationConfig())["toy"]


@pytest.fixture
def made(caplog):
    """The number of models that were fine-tuned, and not read."""
    caplog.set_level(logging.INFO)
    return lambda: caplog.text.count("fine-tuned on")


def model_of(folder, data, language=SOURCE, limit_gib=1.0):
    config = FineTuneConfig(epochs=1, batch_rows=8)
    return fine_tuned(data, language, 3, Tuning(config=config, models=folder, models_gib=limit_gib))


def keys(folder):
    """The names of the models in a folder."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def same_weights(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(ours[k].equal(theirs[k]) for k in ours)


def test_a_model_is_made_once(data, made, tmp_path):
    first, second = model_of(tmp_path, data), model_of(tmp_path, data)
    assert made() == 1
    assert same_weights(first, second)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", MANIFEST])
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_a_damaged_model_is_named_set_aside_and_made_again(
    data, made, tmp_path, caplog, name, damage
):
    first = model_of(tmp_path, data)
    (key,) = keys(tmp_path)
    damage(tmp_path / key / name)
    second = model_of(tmp_path, data)
    assert made() == 2
    assert same_weights(first, second)
    assert f"{key}/{name}" in caplog.text
    assert f"set aside as {key}.damaged-1" in caplog.text
    assert keys(tmp_path) == [key, f"{key}.damaged-1"]
    model_of(tmp_path, data)
    assert made() == 2


@pytest.mark.parametrize("name", ["classifier.weight", "unknown.weight"])
def test_a_tensor_that_is_missing_or_too_much_is_noticed_though_all_hashes_are_right(
    data, made, tmp_path, caplog, name
):
    model_of(tmp_path, data)
    (key,) = keys(tmp_path)
    file = tmp_path / key / "model.safetensors"
    tensors = load_file(file)
    if name in tensors:
        del tensors[name]
    else:
        tensors[name] = torch.zeros(2)
    save_file(tensors, file, {"format": "pt"})
    names = [path.name for path in (tmp_path / key).iterdir() if path.name != MANIFEST]
    manifest = {"key": key, "files": file_hashes(tmp_path / key, names)}
    (tmp_path / key / MANIFEST).write_text(json.dumps(with_checksum(manifest)))
    model_of(tmp_path, data)
    assert made() == 2
    assert name in caplog.text


def test_the_model_of_another_key_is_not_taken(data, made, tmp_path, caplog):
    model_of(tmp_path, data)
    (key,) = keys(tmp_path)
    (tmp_path / key).rename(tmp_path / "other")
    model_of(tmp_path, data, OTHER)
    (second,) = set(keys(tmp_path)) - {"other"}
    remove(tmp_path / second)
    (tmp_path / "other").rename(tmp_path / second)
    model_of(tmp_path, data, OTHER)
    assert made() == 3
    assert f"not that of model {second}" in caplog.text


def test_models_over_the_limit_are_removed_but_not_one_that_a_process_uses(data, tmp_path):
    model_of(tmp_path, data)
    (key,) = keys(tmp_path)
    code = f"""
import sys
from pathlib import Path
from alignmlm.storage.locks import locked
with locked(Path({str(tmp_path / key)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        process.stdout.readline()
        model_of(tmp_path, data, OTHER, limit_gib=0.0)
        assert keys(tmp_path) == [key]
        process.stdin.close()
    model_of(tmp_path, data, OTHER, limit_gib=0.0)
    assert not keys(tmp_path)


CONTEXT = "the dofor drofa mima. every kiru lutek."


def question_data(export, folder: Path, metric: str, answers: list[str]) -> TaskData:
    """A task of one question, the same in all splits but for the answers of the development one."""

    def split(texts: list[str]) -> str:
        given = [{"text": text, "answer_start": CONTEXT.index(text)} for text in texts]
        asked = {"id": "q", "question": "every kiru?", "answers": given}
        return json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": [asked]}]}]})

    for name, texts in {"train": ["mima"], "dev": answers, "test": ["mima"]}.items():
        (folder / f"{name}.json").write_text(split(texts), "utf-8")
    files = ", ".join(f"{name}: {folder / name}.json" for name in ("train", "dev", "test"))
    text = f"name: qa\nversion: 1\nkind: question_answering\nmetric: {metric}\n"
    text += f"form: squad_json\nlanguage: {SOURCE}\nfiles: {{{files}}}\n"
    (folder / "qa.yaml").write_text(text, "utf-8")
    read = read_examples(load_task(str(folder / "qa.yaml")), folder)
    return task_data(export, read, read, EvaluationConfig())["qa"]


@pytest.mark.parametrize(("selection", "models"), [("source_dev", 3), ("last", 1)])
def test_what_chooses_the_epoch_is_a_part_of_the_key(export, tmp_path, selection, models):
    made = [("squad_f1", ["mima"]), ("squad_exact", ["mima"]), ("squad_f1", ["mima", "dofor"])]
    keys = set()
    for metric, answers in made:
        data = question_data(export, tmp_path, metric, answers)
        rows = [data.rendered(SOURCE, "train").examples]
        keys.add(model_key(data, rows, FineTuneConfig(selection=selection), 0))
    assert len(keys) == models
