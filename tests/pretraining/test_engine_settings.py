import json
import re
from pathlib import Path

import pytest

from alignmlm.errors import ConfigError
from alignmlm.pretraining.engine import engine_settings
from alignmlm.pretraining.optimizers import learning_rate
from alignmlm.pretraining.policy import read_policy
from alignmlm.pretraining.recipe import OptimizerConfig, TrainConfig
from alignmlm.ranks.micro_batching import micro_batches

FILE = Path("ds_configs/x.json")
TRAIN, ADAM = TrainConfig(batch_rows=64), OptimizerConfig()


@pytest.mark.parametrize("path", sorted(Path("ds_configs").glob("*.json")), ids=lambda p: p.stem)
def test_every_policy_of_the_house_is_accepted(path):
    settings = engine_settings(read_policy(path), path, TRAIN, ADAM, 2)
    stage = re.search(r"zero(\d)", path.stem)
    assert settings["zero_optimization"]["stage"] == (int(stage[1]) if stage else 2)
    assert settings["train_batch_size"] == 64


@pytest.mark.parametrize("clip_norm", [0.0, 1.0, 3.5])
@pytest.mark.parametrize("path", [None, *Path("ds_configs").glob("*.json")], ids=str)
def test_gradient_clipping_is_written_out_because_deepspeed_clips_at_1_by_default(path, clip_norm):
    if path is not None:
        assert json.loads(path.read_text("utf-8"))["gradient_clipping"] == "auto"
    optimizer = OptimizerConfig(clip_norm=clip_norm)
    settings = engine_settings(read_policy(path), path, TRAIN, optimizer, 2)
    assert settings["gradient_clipping"] == clip_norm


def test_a_negative_clip_norm_is_refused():
    with pytest.raises(ConfigError, match=r"optimizer\.clip_norm = -1\.0"):
        OptimizerConfig(clip_norm=-1.0)


def test_a_value_that_contradicts_the_recipe_names_both():
    with pytest.raises(
        ConfigError, match=r"x\.json: train_batch_size = 32.*train\.batch_rows gives 64"
    ):
        engine_settings({"train_batch_size": 32}, FILE, TRAIN, ADAM, 1)


def test_a_precision_that_contradicts_the_recipe_names_both():
    with pytest.raises(ConfigError, match=r"fp16.*train\.precision"):
        engine_settings({"fp16": {"enabled": True}}, FILE, TRAIN, ADAM, 1)


def test_a_value_that_agrees_with_the_recipe_or_says_auto_is_accepted():
    policy = {"train_batch_size": 64, "gradient_clipping": "auto"}
    assert engine_settings(policy, FILE, TRAIN, ADAM, 1)["gradient_clipping"] == ADAM.clip_norm


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"zero_optimisation": {}}, r"zero_optimisation.*did you mean 'zero_optimization'"),
        ({"zero_optimization": 2}, "zero_optimization = 2, but it must be a mapping"),
        ({"torch_autocast": {"lower_precision_safe_modules": ["os.x"]}}, "torch_autocast = "),
        ({"aio": {"block_sise": 3}}, r"aio\.block_sise = 3.*did you mean 'block_size'"),
        ({"dump_state": 1}, "dump_state = 1, but it must be true or false"),
        ({"communication_data_type": "os.system"}, "be one of "),
        ({"steps_per_print": 0}, "steps_per_print = 0, but it must be above 0"),
        ({"gradient_predivide_factor": 0.0}, "gradient_predivide_factor = 0.0.*above 0"),
    ],
)
def test_a_policy_key_that_is_unknown_or_of_another_type_is_refused(tmp_path, policy, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(policy))
    with pytest.raises(ConfigError, match=message):
        read_policy(path)


def test_a_missing_policy_file_is_named():
    with pytest.raises(ConfigError, match=r"none\.json"):
        read_policy(Path("none.json"))


def test_a_world_size_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(ConfigError, match=r"train\.batch_rows = 64.*multiple of the world size, 3"):
        micro_batches(TRAIN.batch_rows, TRAIN.micro_rows, 3)


def test_micro_rows_that_do_not_divide_a_ranks_share_are_refused():
    with pytest.raises(ConfigError, match=r"train\.micro_rows = 5.*= 32"):
        micro_batches(64, 5, 2)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nearly_zero():
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10)
    rates = [learning_rate(step, config, 100) for step in range(100)]
    assert rates[9] == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.02


def test_a_stable_rate_falls_by_one_minus_the_root_in_its_last_part():
    config = OptimizerConfig(
        learning_rate=1.0, warmup_steps=10, schedule="warmup_stable_decay", decay=0.2
    )
    rates = [learning_rate(step, config, 100) for step in range(100)]
    assert rates[:10] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert set(rates[10:81]) == {1.0}
    assert rates[85] == 0.5
    assert 0 < rates[99] < 0.03


def test_a_cosine_is_at_half_its_height_half_way_and_nearly_zero_at_the_end():
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=10, schedule="cosine")
    rates = [learning_rate(step, config, 100) for step in range(100)]
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[99] < 0.001


def test_muon_with_its_state_on_nvme_is_refused():
    policy = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "nvme"}}}
    with pytest.raises(
        ConfigError, match=r"offload_optimizer\.device = .nvme.*with optimizer\.name"
    ):
        engine_settings(policy, Path("p.json"), TRAIN, OptimizerConfig(name="muon"), 1)
