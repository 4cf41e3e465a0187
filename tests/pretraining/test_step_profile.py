"""`train --profile`: the costs of a step, and a trace."""

import json
import re

from alignmlm.pretraining.step_profile import PHASES, TRACE
from tests.runs import pretrain


def test_the_profile_of_a_run_adds_up_to_its_step_and_leaves_a_trace(small_recipe, capsys):
    recipe = small_recipe("--train.steps=9", "--train.validation_steps=9", "--train.micro_rows=4")
    folder, _ = pretrain(recipe, None, profiled=True)
    told = capsys.readouterr().err
    phases, largest = told.split("largest costs")
    shares = {name: float(found) for name, found in re.findall(r"(\S.*?) +\S+ +(\S+) *\n", phases)
              if name in (*PHASES, "other")}  # fmt: skip
    assert set(shares) == {*PHASES, "other"}
    assert abs(sum(shares.values()) - 100) <= 2
    assert min(shares["forward"], shares["backward"], shares["head and loss"]) > 1
    costs = [line for line in largest.splitlines() if re.search(r" \d+\.\d *$", line)]
    assert len(costs) == 10
    events = json.loads((folder / TRACE).read_text("utf-8"))["traceEvents"]
    steps = [event for event in events if event.get("name") == "alignmlm: step"]
    backward = [event for event in events if event.get("name") == "alignmlm: backward"]
    assert (len(steps), len(backward)) == (5, 10)


def test_a_run_of_few_steps_says_that_there_is_no_profile(small_recipe, caplog):
    caplog.set_level("INFO")
    folder, _ = pretrain(small_recipe("--train.steps=2"), None, profiled=True)
    assert not (folder / TRACE).exists()
    assert "no profile written: it covers steps 4 to 8" in caplog.text


def test_profiling_changes_no_loss(small_recipe, tmp_path):
    plain, _ = pretrain(small_recipe(f"--run.dir={tmp_path / 'plain'}"), None)
    profiled, _ = pretrain(small_recipe(f"--run.dir={tmp_path / 'profiled'}"), None, profiled=True)
    a, b = (
        [json.loads(line).get("train/loss_nats") for line in (f / "metrics.jsonl").open()]
        for f in (plain, profiled)
    )
    assert a == b
