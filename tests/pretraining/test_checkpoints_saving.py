"""Saving beside the training, on disks that are full, gone or slow: the run is told and goes on."""

import json
import re
import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest
import torch

from alignmlm.errors import CheckpointError
from alignmlm.pretraining.checkpoints import (
    LATEST,
    STATE,
    Progress,
    Rotation,
    load_state,
    newest_checkpoint,
    save_checkpoint,
    saved_steps,
)
from alignmlm.pretraining.saving import Saver, Writing, save, save_last
from alignmlm.ranks.distributed import start_distributed
from tests.pretraining.test_run import losses, metrics
from tests.runs import pretrain

ZERO1 = Path("ds_configs/zero1.json")
LIMIT_BYTES = 2**20  # above metrics.jsonl, below a state


def progress(step: int) -> Progress:
    return Progress(step, 0, 0.0, "abc", 0, {})


def state_of(step: int, numbers: int = 2**19) -> dict[str, torch.Tensor]:
    """A state of twice LIMIT_BYTES."""
    return {"parameter/w": torch.full((numbers,), float(step))}


def limit_files(size_bytes: int) -> None:
    """From now on writing beyond a size fails in this process, as on a full disk."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, most))


@contextmanager
def full_disk() -> Iterator[None]:
    limit_files(LIMIT_BYTES)
    try:
        yield
    finally:
        limit_files(resource.RLIM_INFINITY)


@pytest.fixture
def group():
    start_distributed()
    return torch.distributed.new_group(backend="gloo")


def test_a_full_disk_leaves_the_older_ones_and_nothing_of_the_new_one(tmp_path):
    save_checkpoint(tmp_path, state_of(1), progress(1), Rotation(1))
    with full_disk(), pytest.raises(OSError, match="File too large"):
        save_checkpoint(tmp_path, state_of(2), progress(2), Rotation(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [LATEST, "step-1"]
    assert newest_checkpoint(tmp_path)[1] == progress(1)


def test_a_small_file_system_is_not_filled_to_the_brim(small_disk):
    disk = small_disk("5m")
    save_checkpoint(disk, state_of(1), progress(1), Rotation(1))
    save_checkpoint(disk, state_of(2), progress(2), Rotation(2))
    with pytest.raises(OSError, match=r"2,162,688 bytes are needed and [\d,]+ are free"):
        save_checkpoint(disk, state_of(3), progress(3), Rotation(2))
    assert saved_steps(disk) == [1, 2]


def test_a_folder_that_is_gone_is_not_made_again_and_works_when_it_is_back(tmp_path, group):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    saver = Saver(folder, Rotation())
    save(saver, lambda: state_of(1), progress(1), group, background=False)
    folder.rename(tmp_path / "elsewhere")
    outcome = save(saver, lambda: state_of(2), progress(2), group, background=False)
    assert "No such file" in outcome.fault
    assert not folder.exists()
    (tmp_path / "elsewhere").rename(folder)
    assert save(saver, lambda: state_of(3), progress(3), group, background=False).saved == 3
    assert saved_steps(folder) == [1, 3]


def test_each_failed_save_is_counted_and_told(tmp_path, group, caplog):
    saver = Saver(tmp_path, Rotation())
    with full_disk():
        for step in (1, 2):
            save(saver, lambda: state_of(1), progress(step), group, background=True)
        saver.settle()
    assert saver.take_news()["checkpoint/failed_saves"] == 2
    assert "CHECKPOINT NOT SAVED: step 2" in caplog.text
    assert "2 in a row" in caplog.text
    assert saver.take_news() == {}


def test_the_next_save_waits_for_the_one_in_the_background(tmp_path, group):
    saver = Saver(tmp_path, Rotation(9))
    for step in range(1, 6):
        save(saver, lambda: state_of(1), progress(step), group, background=True)
        assert saver.saved == (step - 1 or None)
    saver.settle()
    assert saved_steps(tmp_path) == [1, 2, 3, 4, 5]


def test_a_save_that_hangs_costs_the_next_one_and_not_the_run(tmp_path, group):
    go_on = threading.Event()
    saver = Saver(tmp_path, Rotation(9), patience_s=0.2)
    save(saver, lambda: state_of(1), progress(1), group, background=False)
    thread = threading.Thread(target=go_on.wait, daemon=True)  # writes step 2, and hangs
    thread.start()
    saver.writing = Writing(progress(2), thread=thread)
    outcome = save(saver, lambda: pytest.fail("collected"), progress(3), group, background=True)
    assert (outcome.busy, outcome.saved) == (True, 1)
    go_on.set()
    thread.join()
    save(saver, lambda: state_of(4), progress(4), group, background=True)
    saver.settle()
    assert saved_steps(tmp_path) == [1, 4]


def test_a_bug_in_the_thread_reaches_the_loop(tmp_path, group):
    saver = Saver(tmp_path, Rotation())
    empty = {"parameter/w": torch.empty(2, device="meta")}
    save(saver, lambda: empty, progress(1), group, background=True)
    with pytest.raises(CheckpointError, match=r"saving failed: TypeError"):
        save(saver, lambda: state_of(2), progress(2), group, background=True)


def test_the_last_save_is_tried_again_and_then_stops_the_run(tmp_path, group):
    saver = Saver(tmp_path, Rotation())
    with full_disk(), pytest.raises(CheckpointError, match="could not be saved in 3 attempts"):
        save_last(saver, lambda: state_of(1), progress(1), group, attempts=3, pause_s=0.0)
    assert saver.failed == 3
    save_last(saver, lambda: state_of(1), progress(1), group, attempts=1)
    assert saver.saved == 1


def test_the_last_save_does_not_count_the_wait_for_a_slow_one_before_it(tmp_path, group):
    saver = Saver(tmp_path, Rotation(), patience_s=0.2)
    thread = threading.Thread(target=lambda: sleep(0.3), daemon=True)  # writes step 1
    thread.start()
    saver.writing = Writing(progress(1), thread=thread)
    save_last(saver, lambda: state_of(2), progress(2), group, attempts=1)
    assert saver.saved == 2


def wait_for(path: Path, pattern: str) -> None:
    while not path.is_file() or not re.search(pattern, path.read_text()):
        sleep(0.002)


@pytest.mark.parametrize("background", ["true", "false"])
def test_a_run_outlives_a_disk_that_is_full_for_a_while(small_recipe, tmp_path, background):
    many = ["--train.steps=60", "--run.checkpoint_steps=5", "--train.validation_steps=60"]
    setting = f"--run.background_saves={background}"
    whole, _ = pretrain(small_recipe(*many, f"--run.dir={tmp_path / 'whole'}"), ZERO1)
    recorded = tmp_path / "run" / "metrics.jsonl"

    def fill_and_free() -> None:
        wait_for(tmp_path / "run" / "checkpoints" / LATEST, r"step-\d\d")
        limit_files(LIMIT_BYTES)
        wait_for(recorded, "checkpoint/failed_saves")
        limit_files(resource.RLIM_INFINITY)

    disk = threading.Thread(target=fill_and_free, daemon=True)
    disk.start()
    folder, summary = pretrain(small_recipe(*many, setting), ZERO1)
    disk.join(10)
    assert summary["steps"] == 60
    assert losses(folder) == losses(whole)
    assert max(row.get("checkpoint/failed_saves", 0) for row in metrics(folder)) >= 1
    a, b = (load_state(f / "checkpoints" / "step-60") for f in (whole, folder))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_whose_last_save_fails_stops_and_goes_on_from_the_one_before(small_recipe):
    folder, _ = pretrain(small_recipe(), ZERO1)
    before = losses(folder)
    for name in ("step-8", LATEST):
        path = folder / "checkpoints" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "summary.json").unlink()
    once = "--run.last_save_attempts=1"
    with full_disk(), pytest.raises(CheckpointError, match="could not be saved in 1 attempts"):
        pretrain(small_recipe(once), ZERO1)
    assert saved_steps(folder / "checkpoints") == [4]
    assert not (folder / "summary.json").exists()
    pretrain(small_recipe(once), ZERO1)
    assert losses(folder) == before


def test_the_manifest_has_the_mean_validation_loss_and_the_best_stays(small_recipe):
    settings = ["--train.validation_steps=2", "--run.checkpoint_steps=2", "--run.keep_best=true"]
    recipe = small_recipe(*settings, "--run.keep_checkpoints=9")
    folder, summary = pretrain(recipe, ZERO1)
    found = json.loads((folder / "checkpoints" / "step-8" / "manifest.json").read_text())
    nats = summary["validation_loss_nats"].values()
    assert found["validation_loss_nats"] == pytest.approx(sum(nats) / len(nats))
    assert (folder / "checkpoints" / "step-8" / STATE).stat().st_size > LIMIT_BYTES
