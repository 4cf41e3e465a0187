"""What precision a run computes in by itself, and that it keeps it on another machine."""

import json
import shutil

import pytest
import torch

from alignmlm.artifacts.provenance import CODE, chosen_before
from alignmlm.errors import CheckpointError
from alignmlm.pretraining.engine import chosen_precision
from alignmlm.pretraining.recipe import TrainConfig
from alignmlm.pretraining.run import PRECISION
from alignmlm.pretraining.run_records import METRICS, metric_rows
from alignmlm.ranks import precision
from tests.runs import pretrain

AUTO = "--train.precision=auto"
on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in bf16")


def losses(folder):
    rows = metric_rows(folder / METRICS)
    return [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]


@pytest.fixture
def gain(monkeypatch):
    """Sets how many times as fast as in fp32 this CPU multiplies matrices in bf16."""

    def told(gain):
        times_s = {torch.float32: 1.0, torch.bfloat16: 1 / gain}
        monkeypatch.setattr(precision, "cpu_computes_in_bf16", lambda: True)
        monkeypatch.setattr(precision, "product_s", times_s.__getitem__)

    return told


@on_a_cpu
def test_bf16_is_chosen_where_products_are_far_faster_in_it(gain):
    gain(4.0)
    reason = "this CPU multiplies matrices 4.0 times as fast in bf16 as in fp32"
    assert chosen_precision(TrainConfig()) == ("bf16", reason)
    assert chosen_precision(TrainConfig(precision="fp32"))[0] == "fp32"
    gain(1.6)
    assert chosen_precision(TrainConfig())[0] == "fp32"
    assert chosen_precision(TrainConfig(precision="bf16"))[0] == "bf16"


@on_a_cpu
def test_a_cpu_that_only_emulates_bf16_is_not_measured(monkeypatch):
    monkeypatch.setattr(precision, "cpu_computes_in_bf16", lambda: False)
    assert chosen_precision(TrainConfig()) == ("fp32", "this CPU does not compute in bf16")


@on_a_cpu
def test_this_machine_chooses_the_same_each_time():
    assert len({chosen_precision(TrainConfig())[0] for _ in range(5)}) == 1


@on_a_cpu
def test_a_run_that_is_resumed_on_another_machine_keeps_its_precision(
    small_recipe, tmp_path, gain, caplog
):
    caplog.set_level("INFO")
    gain(4.0)
    whole, summary = pretrain(small_recipe(AUTO, f"--run.dir={tmp_path / 'whole'}"), None)
    assert summary["precision"] == chosen_before(whole, PRECISION) == "bf16"
    assert "computing in bf16 (this CPU multiplies matrices 4.0 times as fast" in caplog.text
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    (cut / "summary.json").unlink()
    shutil.rmtree(cut / "checkpoints" / "step-8")
    gain(1.6)
    resumed, summary = pretrain(small_recipe(AUTO, f"--run.dir={cut}"), None)
    assert summary["precision"] == "bf16"
    assert losses(resumed) == losses(whole)
    assert "bf16 (the run started with it; a new run on this machine would use fp32" in caplog.text


@pytest.mark.parametrize("chosen", [3, {"precision": 16}, {"precision": "fp8"}])
def test_a_damaged_record_of_the_precision_is_named(tmp_path, chosen):
    starts = {"schema_version": 1, "starts": [{"chosen": chosen}]}
    (tmp_path / CODE).write_text(json.dumps(starts))
    with pytest.raises(CheckpointError, match=r"precision|chosen"):
        chosen_precision(TrainConfig(), chosen_before(tmp_path, PRECISION))
