"""The policies beyond plain ZeRO: what they hold, and that they train the same model."""

import json
from pathlib import Path

import pytest

from alignmlm.pretraining.run import pretrain

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
