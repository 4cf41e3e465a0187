"""`alignmlm plan`, from its arguments to its answer."""

import json

import pytest

from alignmlm.commands.plan import plan_command
from alignmlm.errors import ConfigError

FAST = ["--tflops=790"]


def planned(capsys, *arguments: str) -> dict:
    """The answer to some arguments as an object."""
    assert plan_command(["--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_sample_recipe_is_planned_by_default(capsys):
    found = planned(capsys, "--gpus=2", *FAST)
    assert [each["policy"]["stage"] for each in found["stages"]] == [0, 1, 2, 3]
    assert (found["job"]["seq_len"], found["job"]["batch_rows"]) == (64, 32)
    assert found["chosen"] in (0, 1, 2, 3)


def test_a_shape_and_a_policy_can_be_named(capsys):
    named = ("--shape=xlm-r-base", "--deepspeed=ds_configs/zero3-offload.json")
    found = planned(capsys, *named, "--nodes=2", "--train.batch_rows=64", *FAST)
    (only,) = found["stages"]
    assert found["job"]["parameters"] == 278_295_186
    assert only["memory"]["host"] > 0
    assert only["memory"]["optimizer"] == 0


def test_the_tables_say_which_stage_to_take_and_cut_no_number(capsys):
    assert plan_command(["--shape=paper", "--gpus=4", "--tokens_per_s=1e6"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Memory of one GPU, GiB" in told
    assert "…" not in told
    assert "take ZeRO" in told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--shape=papr", *FAST], "did you mean 'paper'"),
        (["--gpus=3", *FAST], "multiple of the world size, 3"),
        ([], "be one of the two"),
        (["--model.start=xlm-roberta-base", *FAST], "name a size by --shape"),
    ],
)
def test_what_cannot_be_planned_is_refused(wrong, told):
    with pytest.raises(ConfigError, match=told):
        plan_command(wrong)


def test_an_unusable_policy_is_named_with_its_file(tmp_path):
    path = tmp_path / "zero7.json"
    path.write_text('{"zero_optimization": {"stage": 7}}')
    with pytest.raises(ConfigError, match=r"zero7\.json: zero_optimization\.stage = 7"):
        plan_command([f"--deepspeed={path}", *FAST])
