"""Steps that go wrong in real runs on one rank, and signals."""

import json
import os
import shlex
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alignmlm.data.batches import Batch
from alignmlm.errors import AlignMLMError, CheckpointError, ConfigError
from alignmlm.objectives.objective import Losses
from alignmlm.pretraining import training_run
from alignmlm.pretraining.faults import (
    FaultConfig,
    FaultRecord,
    Faults,
    SkipList,
    StepOutcome,
    is_spike,
    read_skip_list,
    write_skip_list,
)
from alignmlm.ranks import signals
from tests.runs import pretrain

STEADY = [4.0, 4.1, 3.9, 4.05, 3.95, 4.0, 4.02, 3.98]
JUMPS = ["--train.steps=14", "--faults.spike_window=8", "--train.validation_steps=14"]
NEVER = 10**9


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> dict[int, float]:
    return {row["step"]: row["train/loss_nats"] for row in rows(folder) if "train/loss_nats" in row}


def same_state(a: Path, b: Path, step: int) -> bool:
    states = [load_file(f / "checkpoints" / f"step-{step}" / "state.safetensors") for f in (a, b)]
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that lets every run from now on call another after each forward pass."""
    make = training_run.make_module

    def spoiling(change: Callable[[Batch, Losses], Losses | None]) -> None:
        def made(*arguments):
            module = make(*arguments)
            module.register_forward_hook(
                lambda module, inputs, made: change(inputs[0], made) if module.training else None
            )
            return module

        monkeypatch.setattr(training_run, "make_module", made)

    return spoiling


def times(factor: float, *batches: int) -> Callable[[Batch, Losses], Losses | None]:
    def change(batch: Batch, made: Losses) -> Losses | None:
        if batch.step not in batches:
            return None
        return made._replace(prediction_nats=made.prediction_nats * factor, nats=made.nats * factor)

    return change


def faults_of(folder: Path, **settings) -> Faults:
    return Faults(FaultConfig(**settings), FaultRecord(), SkipList(), folder)


def test_a_loss_far_above_those_before_it_is_a_spike_and_a_fall_is_none():
    config = FaultConfig(spike_window=8)
    assert is_spike(STEADY, 6.0, config)
    assert not is_spike(STEADY, 4.3, config)
    assert not is_spike(STEADY, 1.0, config)
    assert not is_spike(STEADY[:7], 6.0, config)
    assert not is_spike(STEADY, 6.0, replace(config, spike_threshold=0.0))


def test_too_many_steps_in_a_row_stop_the_run_and_name_the_first_batch(tmp_path):
    faults = faults_of(tmp_path, stop_after=2)
    broken = [StepOutcome(step, float("nan"), 1.0) for step in (7, 9, 10)]
    fine = StepOutcome(8, 4.0, 1.0)
    with pytest.raises(AlignMLMError, match=r"2 steps in a row .* step 9 \(batch 8: .*--step 8`"):
        faults.judge([broken[0], fine, *broken[1:]], tell=False)
    assert faults.record.not_finite == [7, 9, 10]


def test_the_command_that_shows_a_batch_can_be_copied(tmp_path):
    where = faults_of(tmp_path / "my run").where(4)
    command = shlex.split(where.split("`")[1])
    assert str(tmp_path / "my run" / "recipe.yaml") in command


def test_going_back_to_one_place_too_often_stops_the_run(tmp_path):
    faults = faults_of(tmp_path, stop_after=2, rewind_batches=2)
    faults.plan_rewind(9, 8)
    faults.plan_rewind(12, 8)
    assert faults.skip.steps == [9, 11, 12]
    with pytest.raises(AlignMLMError, match="after 2 rewinds to step 8"):
        faults.plan_rewind(14, 8)


@pytest.mark.parametrize("text", ['{"steps": ["x"]}', '{"step": [1]}', "[", '{"steps": [-1]}'])
def test_a_skip_list_that_is_none_is_refused_with_an_example(tmp_path, text):
    (tmp_path / "skip.json").write_text(text)
    with pytest.raises(CheckpointError, match=r'must look like \{"steps"'):
        read_skip_list(tmp_path)


@pytest.mark.parametrize("setting", ["stop_after", "spike_window", "rewind_batches"])
def test_settings_without_sense_are_refused(setting):
    with pytest.raises(ConfigError, match=rf"faults\.{setting} = 0"):
        FaultConfig(**{setting: 0})


def trained_without(steps, folder: Path, small_recipe, policy: Path, *settings: str) -> Path:
    """The folder of a run that never sees the batches of some steps."""
    folder.mkdir()
    write_skip_list(folder, SkipList(steps))
    pretrain(small_recipe(f"--run.dir={folder}", *settings), policy)
    return folder


@pytest.mark.parametrize("stage", range(4))
def test_a_step_that_is_not_finite_changes_as_little_as_one_that_is_left_out(
    small_recipe, tmp_path, spoil, stage
):
    policy = Path(f"ds_configs/zero{stage}.json")
    skipped = trained_without([3], tmp_path / "skipped", small_recipe, policy)
    spoil(times(float("nan"), 2))
    folder, summary = pretrain(small_recipe(), policy)
    assert summary["steps"] == 8
    assert same_state(folder, skipped, 8)
    assert sorted(losses(folder)) == sorted(losses(skipped)) == [1, 2, 4, 5, 6, 7, 8]
    assert rows(folder)[-2]["train/not_finite_steps"] == 1
    assert rows(skipped)[-2]["train/left_out_steps"] == 1


def test_a_run_goes_on_exactly_after_a_step_that_was_not_taken(
    small_recipe, tmp_path, spoil, listening
):
    spoil(times(float("inf"), 1))
    whole, _ = pretrain(small_recipe(f"--run.dir={tmp_path / 'whole'}"), None)
    spoil(lambda batch, made: stop_at(5)(batch, made) or times(float("inf"), 1)(batch, made))
    with pytest.raises(signals.SavedAndStoppedError):
        pretrain(small_recipe(), None)
    signals.forget()
    spoil(times(1.0, NEVER))
    folder, _ = pretrain(small_recipe(), None)
    assert same_state(folder, whole, 8)
    assert losses(folder) == losses(whole)


def stop_at(batch: int, number: int = signal.SIGTERM) -> Callable[[Batch, Losses], None]:
    """Sends this process a signal while it trains on a batch."""

    def change(seen: Batch, made: Losses) -> None:
        if seen.step == batch:
            os.kill(os.getpid(), number)

    return change


@pytest.fixture
def listening():
    """Signals ask instead of killing."""
    with signals.listening():
        yield
    signals.forget()


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_run_that_is_told_to_end_saves_and_goes_on_exactly(
    small_recipe, tmp_path, spoil, listening, number
):
    whole, _ = pretrain(small_recipe(f"--run.dir={tmp_path / 'whole'}"), None)
    spoil(stop_at(5, number))
    with pytest.raises(signals.SavedAndStoppedError):
        pretrain(small_recipe(), None)
    folder = tmp_path / "run"
    assert (folder / "checkpoints" / "step-6" / "manifest.json").is_file()
    signals.forget()
    spoil(times(1.0, NEVER))
    pretrain(small_recipe(), None)
    assert same_state(folder, whole, 8)
    assert losses(folder) == losses(whole)


def test_a_signal_before_the_first_step_ends_the_run_before_it(small_recipe, tmp_path, listening):
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(signals.SavedAndStoppedError):
        pretrain(small_recipe(), None)
    assert not rows(tmp_path / "run")
    signals.forget()
    assert pretrain(small_recipe(), None)[1]["steps"] == 8


def test_a_spike_is_reported_and_counted_and_changes_nothing(small_recipe, spoil):
    spoil(times(50.0, 10))
    folder, _ = pretrain(small_recipe(*JUMPS), None)
    assert sorted(losses(folder)) == list(range(1, 15))
    assert rows(folder)[-2]["train/loss_spikes"] == 1


@pytest.mark.parametrize("stage", range(4))
def test_a_run_that_goes_back_equals_one_that_never_saw_the_batches(
    small_recipe, tmp_path, spoil, stage
):
    policy = Path(f"ds_configs/zero{stage}.json")
    skipped = trained_without([10, 11], tmp_path / "skipped", small_recipe, policy, *JUMPS)
    spoil(times(50.0, 10))
    folder, _ = pretrain(small_recipe(*JUMPS, "--faults.rewind=true"), policy)
    assert read_skip_list(folder) == SkipList([10, 11], [8])
    assert same_state(folder, skipped, 14)
    assert losses(folder) == losses(skipped)
