import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from alignmlm.errors import CheckpointError
from alignmlm.pretraining.checkpoints import (
    LATEST,
    MANIFEST,
    STATE,
    Progress,
    Rotation,
    finish_save,
    load_state,
    newest_checkpoint,
    read_progress,
    save_checkpoint,
    saved_steps,
    to_keep,
)
from alignmlm.storage.checksums import with_checksum

STATE_OF_ONE = {"parameter/w": torch.ones(3)}


def progress(step: int) -> Progress:
    return Progress(step, step * 10, 1.5, "abc", 0, {"train.steps": 9})


def saved(folder, *steps: int, keep: int = 9):
    for step in steps:
        save_checkpoint(
            folder, {"parameter/w": torch.full((3,), float(step))}, progress(step), Rotation(keep)
        )
    return folder


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    saved(tmp_path, 4)
    path, found = newest_checkpoint(tmp_path)
    assert found == progress(4)
    assert torch.equal(load_state(path)["parameter/w"], torch.full((3,), 4.0))


def test_the_newest_checkpoint_wins_and_is_announced(tmp_path):
    saved(tmp_path, 4, 8, 12)
    assert newest_checkpoint(tmp_path)[1].step == 12
    assert (tmp_path / LATEST).read_text() == "step-12\n"


def test_only_the_newest_are_kept(tmp_path):
    assert saved_steps(saved(tmp_path, 1, 2, 3, 4, keep=2)) == [3, 4]


def test_the_best_is_kept_too(tmp_path):
    losses = {1: 5.0, 2: 3.0, 3: 4.0, 4: None, 5: 3.5}
    found = [replace(progress(s), validation_loss_nats=nats) for s, nats in losses.items()]
    assert to_keep(found, Rotation(1, best=True)) == {2, 5}
    assert to_keep(found[3:4], Rotation(1, best=True)) == {4}
    for each in found:
        save_checkpoint(tmp_path, STATE_OF_ONE, each, Rotation(1, best=True))
    assert saved_steps(tmp_path) == [2, 5]


def test_one_is_kept_for_each_so_many_hours_of_training(tmp_path):
    hours = [0.5, 1.2, 1.9, 2.05, 2.5, 4.1, 4.2]
    for step, hour in enumerate(hours):
        now = replace(progress(step), seconds=3600 * hour)
        save_checkpoint(tmp_path, STATE_OF_ONE, now, Rotation(1, every_hours=1.0))
    assert [hours[step] for step in saved_steps(tmp_path)] == [1.2, 2.05, 4.1, 4.2]


def test_a_save_that_was_killed_before_its_end_is_finished(tmp_path):
    saved(tmp_path, 4, 8)
    (tmp_path / LATEST).write_text("step-4\n")
    (tmp_path / f"{LATEST}.tmp-here-7").write_text("step-8\n")
    (tmp_path / "step-2.tmp").mkdir()
    finish_save(tmp_path, 8, Rotation(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [LATEST, "step-8"]
    assert (tmp_path / LATEST).read_text() == "step-8\n"


def test_before_the_first_save_remains_alone_are_removed(tmp_path):
    (tmp_path / "step-2.tmp").mkdir()
    finish_save(tmp_path, 0, Rotation(1))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_went_back_drops_the_later_steps_when_it_has_saved(tmp_path):
    saved(tmp_path, 4, 8, 12)
    saved(tmp_path, 6, keep=1)
    assert saved_steps(tmp_path) == [6]


def test_a_step_that_is_saved_again_replaces_the_one_before(tmp_path):
    saved(tmp_path, 4)
    save_checkpoint(tmp_path, STATE_OF_ONE, replace(progress(4), tokens=7), Rotation())
    path, found = newest_checkpoint(tmp_path)
    assert (path.name, found.tokens) == ("step-4", 7)
    assert torch.equal(load_state(path)["parameter/w"], STATE_OF_ONE["parameter/w"])


def test_a_replacement_that_was_cut_off_leaves_the_one_before(tmp_path):
    saved(tmp_path, 4, 8)
    (tmp_path / "step-8").rename(tmp_path / "step-8.old")
    assert newest_checkpoint(tmp_path)[1].step == 8
    saved(tmp_path, 9)
    assert saved_steps(tmp_path) == [4, 8, 9]
    assert not list(tmp_path.glob("*.old"))


def test_the_state_is_a_safetensors_file_that_others_read(tmp_path):
    state = {
        "parameter/matrix": torch.randn(5, 7).t(),
        "exp_avg/scalar": torch.tensor(2.0),
        "exp_avg_sq/nothing": torch.zeros(0, 3),
        "parameter/half": torch.randn(4).bfloat16(),
    }
    save_checkpoint(tmp_path, state, progress(1), Rotation())
    found = load_file(tmp_path / "step-1" / STATE)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value.float()) for name, value in state.items())


def test_a_damaged_newest_one_falls_back_to_the_one_before_and_says_so(tmp_path, caplog):
    saved(tmp_path, 4, 8)
    file = tmp_path / "step-8" / STATE
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert newest_checkpoint(tmp_path)[1].step == 4
    assert "step-8" in caplog.text
    assert "GOING BACK from step 8 to 4: 4 steps are lost" in caplog.text


def test_where_none_is_whole_the_run_stops_and_does_not_begin_anew(tmp_path):
    saved(tmp_path, 4, 8)
    for step in (4, 8):
        (tmp_path / f"step-{step}" / STATE).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"none of the checkpoints of steps \[4, 8\]"):
        newest_checkpoint(tmp_path)


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


def unreadable_for_now(file) -> None:
    """Let the system refuse to read a file that is not damaged."""
    file.rename(file.with_name("aside"))
    file.symlink_to(file.name)  # a link to itself: ELOOP


@pytest.mark.parametrize("name", [STATE, MANIFEST])
def test_a_checkpoint_that_cannot_be_read_for_now_is_an_error_that_names_it(tmp_path, name):
    unreadable_for_now(saved(tmp_path, 4, 8) / "step-8" / name)
    with pytest.raises(OSError, match=f"step-8/{name}"):
        newest_checkpoint(tmp_path)


def test_no_checkpoint_is_removed_while_one_cannot_be_read(tmp_path, caplog):
    unreadable_for_now(saved(tmp_path, 4, 8) / "step-4" / MANIFEST)
    assert saved_steps(saved(tmp_path, 9, keep=1)) == [4, 8, 9]
    assert "could not be removed" in caplog.text


def test_a_checkpoint_of_another_schema_version_is_not_skipped_as_if_damaged(tmp_path):
    manifest = saved(tmp_path, 4, 8) / "step-8" / MANIFEST
    newer = {**json.loads(manifest.read_text("utf-8")), "schema_version": 9}
    manifest.write_text(json.dumps(with_checksum(newer)), "utf-8")
    with pytest.raises(CheckpointError, match=r"step-8 has schema version 9.*the alignmlm that"):
        newest_checkpoint(tmp_path)
