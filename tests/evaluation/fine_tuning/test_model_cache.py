"""Fine-tuned models are read back as they were written, or made again."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alignmlm.evaluation.fine_tuning.model_cache import MANIFEST, cached_model
from alignmlm.evaluation.fine_tuning.training import classifier
from alignmlm.storage.checksums import file_hashes, with_checksum

KIND, KEY, LABELS = "token_classification", "0123456789abcdef", ["a", "b"]


class Maker:
    """Makes a classifier and counts how often."""

    def __init__(self, export):
        self.export, self.calls = export, 0

    def __call__(self):
        self.calls += 1
        return classifier(self.export, KIND, LABELS, seed=3)


@pytest.fixture
def make(export):
    return Maker(export)


def model_of(folder, make, limit_gib=1.0):
    return cached_model(folder, KIND, KEY, limit_gib, make)


def same_weights(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(ours[k].equal(theirs[k]) for k in ours)


def test_a_model_is_made_once(make, tmp_path):
    first, second = model_of(tmp_path, make), model_of(tmp_path, make)
    assert make.calls == 1
    assert same_weights(first, second)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", MANIFEST])
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_a_damaged_model_is_named_set_aside_and_made_again(make, tmp_path, caplog, name, damage):
    first = model_of(tmp_path, make)
    damage(tmp_path / KEY / name)
    with caplog.at_level(logging.WARNING):
        second = model_of(tmp_path, make)
    assert make.calls == 2
    assert same_weights(first, second)
    assert f"{KEY}/{name}" in caplog.text
    assert f"set aside as {KEY}.damaged-1" in caplog.text
    assert (tmp_path / f"{KEY}.damaged-1").is_dir()
    model_of(tmp_path, make)
    assert make.calls == 2


@pytest.mark.parametrize("name", ["classifier.weight", "unknown.weight"])
def test_a_tensor_that_is_missing_or_too_much_is_noticed_though_all_hashes_are_right(
    make, tmp_path, caplog, name
):
    model_of(tmp_path, make)
    file = tmp_path / KEY / "model.safetensors"
    tensors = load_file(file)
    if name in tensors:
        del tensors[name]
    else:
        tensors[name] = torch.zeros(2)
    save_file(tensors, file, {"format": "pt"})
    names = [path.name for path in (tmp_path / KEY).iterdir() if path.name != MANIFEST]
    manifest = {"key": KEY, "files": file_hashes(tmp_path / KEY, names)}
    (tmp_path / KEY / MANIFEST).write_text(json.dumps(with_checksum(manifest)))
    model_of(tmp_path, make)
    assert make.calls == 2
    assert name in caplog.text


def test_the_model_of_another_key_is_not_taken(make, tmp_path, caplog):
    cached_model(tmp_path, KIND, "f" * 16, 1.0, make)
    (tmp_path / ("f" * 16)).rename(tmp_path / KEY)
    model_of(tmp_path, make)
    assert make.calls == 2
    assert f"not that of model {KEY}" in caplog.text


def test_models_over_the_limit_are_removed_but_not_one_that_a_process_uses(make, tmp_path):
    code = f"""
import sys
from pathlib import Path
from alignmlm.storage.locks import locked
with locked(Path({str(tmp_path / KEY)!r})):
    print("held", flush=True)
    sys.stdin.read()
"""
    model_of(tmp_path, make)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        process.stdout.readline()
        cached_model(tmp_path, KIND, "f" * 16, 0.0, make)
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [KEY]
        process.stdin.close()
    cached_model(tmp_path, KIND, "f" * 16, 0.0, make)
    assert not [path.name for path in tmp_path.iterdir() if path.is_dir()]
