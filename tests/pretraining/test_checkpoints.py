import json

import pytest
import torch

from alignmlm.errors import CheckpointError
from alignmlm.pretraining.checkpoints import (
    LATEST,
    MANIFEST,
    STATE,
    Progress,
    load_state,
    newest_checkpoint,
    read_progress,
    save_checkpoint,
    saved_steps,
)


def progress(step: int) -> Progress:
    return Progress(step, step * 10, 1.5, "abc", 0, {"train.steps": 9})


def saved(folder, *steps: int, keep: int = 9):
    for step in steps:
        save_checkpoint(
            folder, {"parameter/w": torch.full((3,), float(step))}, progress(step), keep
        )
    return folder


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    saved(tmp_path, 4)
    path, found = newest_checkpoint(tmp_path)
    assert found == progress(4)
    assert torch.equal(load_state(path)["parameter/w"], torch.full((3,), 4.0))


def test_the_newest_checkpoint_wins_and_is_announced(tmp_path):
    saved(tmp_path, 4, 12, 8)
    assert newest_checkpoint(tmp_path)[1].step == 12
    assert (tmp_path / LATEST).read_text() == "step-8\n"


def test_only_the_newest_are_kept(tmp_path):
    assert sorted(saved_steps(saved(tmp_path, 1, 2, 3, 4, keep=2))) == [3, 4]


def test_a_damaged_newest_one_falls_back_to_the_one_before_and_says_so(tmp_path, caplog):
    saved(tmp_path, 4, 8)
    file = tmp_path / "step-8" / STATE
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert newest_checkpoint(tmp_path)[1].step == 4
    assert "step-8" in caplog.text


def test_a_folder_without_its_manifest_is_damaged(tmp_path):
    saved(tmp_path, 4)
    (tmp_path / "step-4" / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match="step-4"):
        read_progress(tmp_path / "step-4")


def test_another_schema_version_is_refused(tmp_path):
    saved(tmp_path, 4)
    manifest = tmp_path / "step-4" / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 9}))
    with pytest.raises(CheckpointError, match="schema version"):
        read_progress(tmp_path / "step-4")


def test_what_was_cut_off_while_saving_is_not_a_checkpoint(tmp_path):
    saved(tmp_path, 4)
    (tmp_path / "step-8.tmp").mkdir()
    assert newest_checkpoint(tmp_path)[1].step == 4
    saved(tmp_path, 8)
    assert newest_checkpoint(tmp_path)[1].step == 8


def test_a_pickle_in_place_of_the_tensors_is_refused_and_not_run(tmp_path):
    saved(tmp_path, 4)
    torch.save({"parameter/w": torch.zeros(3)}, tmp_path / "step-4" / STATE)
    with pytest.raises(CheckpointError):
        load_state(tmp_path / "step-4")
