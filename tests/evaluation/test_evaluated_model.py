"""Exports are opened when every file is as it was written, and refused with its name if not."""

import json
import shutil
from pathlib import Path

import pytest

from alignmlm.errors import CheckpointError
from alignmlm.evaluation.evaluated_model import open_export, open_model
from alignmlm.storage.checksums import with_checksum
from tests.evaluation.shapes import write_checkpoint


@pytest.fixture
def copy(run_folder, tmp_path) -> Path:
    """A copy of an export, to be changed."""
    return Path(shutil.copytree(run_folder / "export", tmp_path / "copy"))


def edit_description(folder: Path, **values: object) -> None:
    """Change alignmlm.json as somebody does who knows how its checksum is made."""
    raw = json.loads((folder / "alignmlm.json").read_text("utf-8"))
    text = json.dumps(with_checksum({**raw, **values}))
    (folder / "alignmlm.json").write_text(text, encoding="utf-8")


def test_a_run_folder_and_its_export_folder_are_the_same_model(run_folder):
    assert open_export(run_folder) == open_export(run_folder / "export")


def test_a_folder_without_an_export_is_an_error_that_says_what_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match=r"no export at .*alignmlm\.json"):
        open_export(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 1}, "schema version 1; .*`alignmlm export RUN`"),
        ({"vocabulary": {}}, r"vocabulary: settings = \[\]"),
        ({"step": "600"}, "step = '600', but it must be a int"),
        ({"seq_len": -1}, "seq_len = -1"),
        ({"languages": [None]}, r"languages = \[None\]"),
        ({"files": None}, "files must be of type dict, found None"),
        ({"licence": "MIT"}, "does not describe an export"),
    ],
)
def test_a_description_that_cannot_be_used_is_an_error(copy, change, message):
    edit_description(copy, **change)
    with pytest.raises(CheckpointError, match=message):
        open_export(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_changed_file_of_an_export_is_refused_by_name(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"{name} was changed or is damaged: its hash is"):
        open_export(copy)
    (copy / name).write_bytes(data[:-1])
    with pytest.raises(
        CheckpointError, match=rf"{name} was changed or is damaged: it has .* bytes"
    ):
        open_export(copy)
    (copy / name).unlink()
    with pytest.raises(
        CheckpointError, match=rf"{name} was changed or is damaged: it cannot be read"
    ):
        open_export(copy)


def test_a_description_that_was_edited_is_refused(copy):
    text = (copy / "alignmlm.json").read_text("utf-8")
    (copy / "alignmlm.json").write_text(text.replace('"languages_seed": 0', '"languages_seed": 1'))
    with pytest.raises(CheckpointError, match=r"alignmlm\.json was changed or is damaged"):
        open_export(copy)


def test_a_file_that_an_export_does_not_name_is_refused(copy):
    (copy / "vocab.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"vocab\.json is not one of the files"):
        open_export(copy)


def test_a_readme_may_be_written_anew(copy, export):
    (copy / "README.md").write_text("ours")
    assert open_export(copy).identity() == export.identity()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A checkpoint of transformers, without alignmlm.json."""
    texts = ["the dofor every kiru"] * 9
    return write_checkpoint(tmp_path_factory.mktemp("foreign"), "roberta", texts, 270, 64)


def identity_of(folder: Path) -> dict[str, object]:
    """What tells a checkpoint without alignmlm.json from others."""
    return open_model(folder, ["qaa-Latn"]).identity()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.json", '"num_attention_heads": 2', '"num_attention_heads": 1'),
        ("tokenizer.json", '"id": 4', '"id": 4 '),
        ("vocab.json", "", "{}"),
    ],
)
def test_another_config_or_tokenizer_is_another_model(checkpoint, tmp_path, name, old, new):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    assert identity_of(folder) == identity_of(checkpoint)
    text = (folder / name).read_text("utf-8") if (folder / name).exists() else ""
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), "utf-8")
    assert identity_of(folder) != identity_of(checkpoint)


def indexed(checkpoint: Path, folder: Path, name: str) -> Path:
    """A copy of a checkpoint whose weights an index leads to."""
    shutil.copytree(checkpoint, folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.bias": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_weights_behind_an_index_are_part_of_the_model(checkpoint, tmp_path):
    folder = indexed(checkpoint, tmp_path / "copy", "model-00001-of-00001.safetensors")
    before = identity_of(folder)
    weights = folder / "model-00001-of-00001.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    assert identity_of(folder) != before


@pytest.mark.parametrize(
    "name",
    ["../decoy.safetensors", "/tmp/x.safetensors", "pytorch_model.bin", ".", "a/b.safetensors"],
)
def test_an_index_that_leads_out_of_the_folder_or_to_pickles_is_refused(checkpoint, tmp_path, name):
    shutil.copy(checkpoint / "model.safetensors", tmp_path / "decoy.safetensors")
    folder = indexed(checkpoint, tmp_path / "copy", name)
    with pytest.raises(CheckpointError, match=r"index\.json leads to"):
        identity_of(folder)


def test_a_link_that_leads_out_of_the_folder_is_refused(checkpoint, tmp_path):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors leads out of its folder"):
        identity_of(folder)


def test_the_links_of_the_hubs_cache_are_followed(checkpoint, tmp_path):
    snapshot, blobs = tmp_path / "model" / "snapshots" / "abc", tmp_path / "model" / "blobs"
    snapshot.mkdir(parents=True)
    shutil.copytree(checkpoint, blobs)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert identity_of(snapshot) == identity_of(checkpoint)


@pytest.mark.parametrize("key", ["auto_map", "transformers_weights"])
def test_a_config_that_names_code_or_other_weights_is_refused(checkpoint, tmp_path, key):
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {key: "other.safetensors"}))
    with pytest.raises(CheckpointError, match=key):
        identity_of(folder)


def test_weights_that_could_run_code_are_refused_by_name(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"model\.safetensors was changed or is damaged"):
        open_export(copy)
