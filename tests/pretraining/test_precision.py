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
from tests.runs import pretrain

AUTO = "--train.precision=auto"
on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in bf16")


def losses(folder):
    rows = metric_rows(folder / METRICS)
    return [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]


@pytest.fixture
def amx(monkeypatch):
    """What tells torch's answer to whether this CPU has AMX."""

    def told(has_it):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_it)

    return told


@on_a_cpu
def test_bf16_is_chosen_where_the_cpu_has_amx(amx):
    amx(True)
    assert chosen_precision(TrainConfig()) == ("bf16", "this CPU has AMX")
    assert chosen_precision(TrainConfig(precision="fp32"))[0] == "fp32"
    amx(False)
    assert chosen_precision(TrainConfig())[0] == "fp32"
    assert chosen_precision(TrainConfig(precision="bf16"))[0] == "bf16"


@on_a_cpu
def test_a_run_that_is_resumed_on_another_machine_keeps_its_precision(
    small_recipe, tmp_path, amx, caplog
):
    caplog.set_level("INFO")
    amx(True)
    whole, summary = pretrain(small_recipe(AUTO, f"--run.dir={tmp_path / 'whole'}"), None)
    assert summary["precision"] == chosen_before(whole, PRECISION) == "bf16"
    assert "computing in bf16 (this CPU has AMX)" in caplog.text
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    (cut / "summary.json").unlink()
    shutil.rmtree(cut / "checkpoints" / "step-8")
    amx(False)
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
