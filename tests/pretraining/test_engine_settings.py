import re
from pathlib import Path

import pytest

from alignmlm.errors import ConfigError
from alignmlm.pretraining.engine import (
    engine_settings,
    learning_rate,
    read_policy,
)
from alignmlm.pretraining.recipe import OptimizerConfig, TrainConfig
from alignmlm.ranks.shares import micro_batches

FILE = Path("ds_configs/x.json")
TRAIN, ADAM = TrainConfig(batch_rows=64), OptimizerConfig()


@pytest.mark.parametrize("path", sorted(Path("ds_configs").glob("*.json")), ids=lambda p: p.stem)
def test_every_policy_of_the_house_is_accepted(path):
    settings = engine_settings(read_policy(path), path, TRAIN, ADAM, 2)
    stage = re.search(r"zero(\d)", path.stem)
    assert settings["zero_optimization"]["stage"] == (int(stage[1]) if stage else 2)
    assert settings["train_batch_size"] == 64


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


def test_an_unknown_policy_key_names_the_nearest():
    with pytest.raises(ConfigError, match=r"zero_optimisation.*did you mean 'zero_optimization'"):
        engine_settings({"zero_optimisation": {}}, FILE, TRAIN, ADAM, 1)


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
