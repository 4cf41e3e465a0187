"""The policies beyond plain ZeRO: what they hold, and that they train the same model."""

import json
from pathlib import Path

import pytest

from alignmlm.errors import ConfigError
from tests.runs import pretrain

POLICIES = ["zero2-offload", "zero3-offload", "many-nodes"]


def losses(folder: Path) -> list[float]:
    """The training losses of a run, in nats."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_gives_the_losses_of_a_run_without_zero(policy, small_recipe, tmp_path):
    short = ("--train.steps=5", "--train.validation_steps=5", "--run.checkpoint_steps=5")
    folders = [
        pretrain(
            small_recipe(*short, f"--run.dir={tmp_path / name}"), Path(f"ds_configs/{name}.json")
        )[0]
        for name in ("zero0", policy)
    ]
    alone, here = map(losses, folders)
    assert len(alone) == 5
    assert here == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_is_explained(policy):
    assert f"## {policy}.json" in Path("docs/ds_configs.md").read_text("utf-8")


def test_offload_asks_for_no_compiled_optimizer():
    for name in ("zero2-offload", "zero3-offload"):
        settings = json.loads(Path(f"ds_configs/{name}.json").read_text())
        assert settings["zero_force_ds_cpu_optimizer"] is False


def offload(folder: Path, **keys) -> Path:
    """A policy that keeps the optimizer's state on the CPU, with other keys beside it."""
    path = folder / "offload.json"
    section = {"stage": 2, "offload_optimizer": {"device": "cpu"}}
    path.write_text(json.dumps({"zero_optimization": section, **keys}))
    return path


def test_offload_needs_no_word_about_deepspeeds_own_optimizer(small_recipe, tmp_path):
    short = ("--train.steps=1", "--train.validation_steps=1", "--run.checkpoint_steps=1")
    folder, _ = pretrain(small_recipe(*short), offload(tmp_path))
    assert len(losses(folder)) == 1


def test_a_policy_that_deepspeed_refuses_is_a_named_error(small_recipe, tmp_path):
    path = offload(tmp_path, zero_force_ds_cpu_optimizer=True)
    with pytest.raises(ConfigError, match=r"--deepspeed = .*offload_optimizer.*ZeRO-Offload"):
        pretrain(small_recipe(), path)
