import json
import shutil

import pytest

from alignmlm.errors import CheckpointError
from alignmlm.evaluation.export import open_export


def test_a_run_folder_and_its_export_folder_are_the_same_model(run_folder):
    assert open_export(run_folder) == open_export(run_folder / "export")


def test_a_folder_without_an_export_is_an_error_that_says_what_is_missing(tmp_path):
    with pytest.raises(CheckpointError, match=r"no export at .*alignmlm\.json"):
        open_export(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"schema_version": 2}, "schema version 2"), ({"vocabulary": {}}, "does not describe")],
)
def test_a_description_that_cannot_be_used_is_an_error(run_folder, tmp_path, change, message):
    raw = json.loads((run_folder / "export" / "alignmlm.json").read_text(encoding="utf-8"))
    shutil.copytree(run_folder / "export", tmp_path, dirs_exist_ok=True)
    (tmp_path / "alignmlm.json").write_text(json.dumps(raw | change), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        open_export(tmp_path)


def test_other_weights_are_another_model(run_folder, tmp_path):
    shutil.copytree(run_folder / "export", tmp_path / "export")
    weights = tmp_path / "export" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    assert open_export(tmp_path).identity() != open_export(run_folder).identity()


def test_weights_that_could_run_code_are_refused_by_name(run_folder, tmp_path):
    shutil.copytree(run_folder / "export", tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors weights, only .*pytorch_model"):
        open_export(tmp_path)
