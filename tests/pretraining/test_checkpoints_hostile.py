"""Files that would run code or reach out of their folder: refused by name, and nothing is run."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM

from alignmlm.config import load_recipe
from alignmlm.data.store import MANIFEST as DATA_MANIFEST
from alignmlm.data.store import SELF, content_id, parse_manifest
from alignmlm.errors import CheckpointError, ConfigError, DataError
from alignmlm.models.masked_lm import started_model
from alignmlm.pretraining.checkpoints import (
    MANIFEST,
    STATE,
    Progress,
    Rotation,
    load_state,
    newest_checkpoint,
    read_progress,
    save_checkpoint,
)
from alignmlm.probes.encoder import load_encoder
from alignmlm.storage.checksums import file_xxh3, with_checksum
from alignmlm.studies.study import load_study
from alignmlm.tasks.task_yaml import tasks_of
from tests.runs import pretrain

ZERO1 = Path("ds_configs/zero1.json")


class Payload:
    """Something that makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.fixture
def trace(tmp_path):
    """A path that exists as soon as a payload was run."""
    path = tmp_path / "was-run"
    yield path
    assert not path.exists(), "the payload was run"


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    progress = Progress(4, 40, 1.5, "abc", 0, {})
    (tmp_path / "checkpoints").mkdir()
    return save_checkpoint(
        tmp_path / "checkpoints", {"parameter/w": torch.zeros(3)}, progress, Rotation()
    )


def edit_manifest(path: Path, **values: object) -> None:
    known = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(with_checksum({**known, **values})))


def put_payload(file: Path, trace: Path, written_by: str) -> None:
    if written_by == "torch":
        torch.save({"parameter/w": Payload(trace)}, file)
    else:
        file.write_bytes(pickle.dumps(Payload(trace)))


def test_the_payload_works(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("written_by", ["torch", "pickle"])
def test_a_pickle_in_place_of_the_tensors_is_refused_and_not_run(checkpoint, trace, written_by):
    file = checkpoint / STATE
    put_payload(file, trace, written_by)
    with pytest.raises(CheckpointError, match="the manifest says"):
        read_progress(checkpoint)
    found = {STATE: {"bytes": file.stat().st_size, "xxh3": file_xxh3(file)}}
    edit_manifest(checkpoint, files=found)  # who can write the one can write the other
    read_progress(checkpoint)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_state(checkpoint)


def test_a_run_refuses_a_pickle_in_its_checkpoint(small_recipe, trace):
    folder, _ = pretrain(small_recipe(), ZERO1)
    (folder / "summary.json").unlink()
    newest = folder / "checkpoints" / "step-8"
    put_payload(newest / STATE, trace, "torch")
    found = {"bytes": (newest / STATE).stat().st_size, "xxh3": file_xxh3(newest / STATE)}
    edit_manifest(newest, files={STATE: found})
    with pytest.raises(CheckpointError, match=r"step-8/state\.safetensors cannot be read"):
        pretrain(small_recipe(), ZERO1)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..", "other.bin"])
def test_a_checkpoint_manifest_that_names_another_file_is_refused(checkpoint, name):
    known = json.loads((checkpoint / MANIFEST).read_text())["files"]
    for files in ({name: known[STATE]}, {**known, name: known[STATE]}):
        edit_manifest(checkpoint, files=files)
        with pytest.raises(CheckpointError, match=r"not only state\.safetensors"):
            read_progress(checkpoint)


@pytest.mark.parametrize(
    "values",
    [
        {"step": "4"},
        {"step": 5},
        {"step": True},
        {"tokens": -1},
        {"seconds": "1"},
        {"seconds": float("nan")},
        {"data_id": 3},
        {"numbers": []},
        {"numbers": None},
        {"validation_loss_nats": "x"},
        {"unknown": 1},
        {"files": None},
        {"files": "state.safetensors"},
        {"faults": 3},
        {"faults": {"unknown": []}},
        {"faults": {"spikes": ["step"]}},
        {"faults": {"not_finite": 4}},
        {"faults": {"losses": [None]}},
    ],
    ids=str,
)
def test_a_checkpoint_manifest_with_values_that_no_run_has_is_refused(checkpoint, values):
    edit_manifest(checkpoint, **values)
    with pytest.raises(CheckpointError, match="step-4"):
        read_progress(checkpoint)


@pytest.mark.parametrize("text", ["[]", "null", "{", "\xff", "[" * 100_000], ids=range(5))
def test_a_checkpoint_manifest_that_is_no_mapping_is_refused(checkpoint, text):
    (checkpoint / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match="step-4"):
        read_progress(checkpoint)


def test_folders_with_odd_names_are_no_checkpoints(checkpoint):
    for name in ("step-", "step-9x", "step--1", "step-7.tmp", "step-8.tmp.old"):
        checkpoint.with_name(name).mkdir()
    assert newest_checkpoint(checkpoint.parent)[1].step == 4


def edited_data_manifest(store: Path, change) -> bytes:
    """A data manifest with a change, and the right hash of itself."""
    raw = json.loads((store / DATA_MANIFEST).read_text())
    raw.pop(SELF)
    change(raw)
    return json.dumps(raw | {SELF: content_id(raw)}).encode()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "..", ".", "a/b", "a\\b", "a\0b", ""])
@pytest.mark.parametrize("part", ["language", "split", "shard"])
def test_a_data_manifest_that_leads_out_of_the_store_is_refused(small_store, part, name):
    def change(raw: dict) -> None:
        splits = raw["splits"]
        language = next(iter(splits))
        if part == "language":
            splits[name] = splits.pop(language)
        elif part == "split":
            splits[language][name] = splits[language].pop("train")
        else:
            splits[language]["train"][0]["name"] = name

    with pytest.raises(DataError, match="leads out of the store"):
        parse_manifest(edited_data_manifest(small_store, change), small_store / DATA_MANIFEST)


def test_an_untouched_data_manifest_is_read(small_store):
    text = edited_data_manifest(small_store, lambda raw: None)
    assert parse_manifest(text, small_store / DATA_MANIFEST).splits


@pytest.fixture
def pickled_model(small_recipe, trace) -> Path:
    """An export whose weights are a pickle, as pytorch_model.bin."""
    folder, _ = pretrain(small_recipe("--train.steps=1"), ZERO1)
    export = folder / "export"
    weights = AutoModelForMaskedLM.from_pretrained(export).state_dict()
    (export / "model.safetensors").unlink()
    torch.save({**weights, "extra": Payload(trace)}, export / "pytorch_model.bin")
    return export


def test_weights_that_are_a_pickle_are_refused_and_not_run(pickled_model):
    with pytest.raises(CheckpointError, match="safetensors"):
        load_encoder(pickled_model)
    with pytest.raises(ConfigError, match=r"model\.start.*safetensors"):
        started_model(str(pickled_model), 0.1, 900, 16, 1)


def test_the_code_of_a_model_folder_is_refused_and_not_run(pickled_model, trace):
    config = json.loads((pickled_model / "config.json").read_text())
    names = {"AutoConfig": "own.OwnConfig", "AutoModelForMaskedLM": "own.OwnModel"}
    config |= {"model_type": "own", "auto_map": names | {"AutoModel": "own.OwnModel"}}
    (pickled_model / "config.json").write_text(json.dumps(config))
    (pickled_model / "own.py").write_text(f"from pathlib import Path\nPath({str(trace)!r}).touch()")
    with pytest.raises(ConfigError, match=r"model\.start"):
        started_model(str(pickled_model), 0.1, 900, 16, 1)
    with pytest.raises(CheckpointError):
        load_encoder(pickled_model)


TAGS = [
    "!!python/object/apply:os.system ['touch {trace}']",
    "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{trace}']]",
    "!!python/name:os.system",
    "!!python/module:os",
    "!include {trace}",
]


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_in_a_recipe_a_study_or_a_task_is_refused_and_not_run(tmp_path, trace, tag):
    file, value = tmp_path / "file.yaml", tag.format(trace=trace)
    file.write_text(f"train:\n  steps: {value}\n")
    with pytest.raises(ConfigError, match="values are plain data"):
        load_recipe(file)
    file.write_text(f"name: {value}\n")
    with pytest.raises(ConfigError, match="values are plain data"):
        load_study(file)
    with pytest.raises(ConfigError, match="values are plain data"):
        tasks_of(file)


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_on_the_command_line_is_refused_and_not_run(trace, tag):
    with pytest.raises(ConfigError):
        load_recipe(None, [f"--train.steps={tag.format(trace=trace)}"])
    with pytest.raises(ConfigError):
        load_recipe(None, [f"--languages.ids={tag.format(trace=trace)}"])
