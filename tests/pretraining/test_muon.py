"""Muon: the update itself, and real runs on one rank at every ZeRO stage."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from alignmlm.errors import CheckpointError
from alignmlm.models.masked_lm import Matrix
from alignmlm.pretraining.assembly import assemble
from alignmlm.pretraining.checkpoints import load_state
from alignmlm.pretraining.muon import orthogonal
from alignmlm.pretraining.optimizers import make_optimizer
from alignmlm.pretraining.partitions import Partitions
from alignmlm.pretraining.recipe import OptimizerConfig
from alignmlm.pretraining.training_run import make_module
from tests.runs import pretrain

MUON = ["--model.architecture=modernbert", "--optimizer.name=muon"]


@pytest.mark.parametrize("shape", [(48, 16), (16, 48)])
def test_an_update_has_singular_values_near_one_before_its_scale(shape):
    found = orthogonal(torch.randn(shape) * 1e-4, 1, torch.float32)
    values = torch.linalg.svdvals(found / (0.2 * 48**0.5))
    assert 0.6 < values.min() <= values.max() < 1.25


def test_matrices_in_the_rows_of_one_are_turned_each_by_itself():
    strong, weak = torch.randn(16, 16), torch.randn(16, 16) * 1e-6
    together = orthogonal(torch.cat([strong, weak]), 2, torch.float32)
    assert torch.allclose(together[:16], orthogonal(strong, 1, torch.float32), atol=1e-6)
    assert torch.allclose(together[16:], orthogonal(weak, 1, torch.float32), atol=1e-6)


class Matrices(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.matrix = torch.nn.Parameter(torch.randn(24, 16))
        self.vector = torch.nn.Parameter(torch.randn(16))


def made(module: Matrices) -> torch.optim.Optimizer:
    matrices = [Matrix(module.matrix)]
    optimizer = make_optimizer(module, OptimizerConfig(name="muon", weight_decay=0.1), matrices)
    optimizer.partitions = Partitions(optimizer, 0, matrices)
    optimizer.momentum, optimizer.dtype = 0.95, torch.float32
    names = ("momentum", "update")
    optimizer.state[module.matrix] = {name: torch.zeros(24, 16) for name in names}
    for group in optimizer.param_groups:
        group["lr"] = 0.02
    return optimizer


def test_steps_are_those_of_torch_up_to_its_bfloat16():
    ours, theirs = Matrices(), Matrices()
    one, other = (
        made(ours),
        torch.optim.Muon(
            [theirs.matrix],
            lr=0.02,
            weight_decay=0.1,
            momentum=0.95,
            adjust_lr_fn="match_rms_adamw",
        ),
    )
    begun = ours.matrix.detach().clone()
    for _ in range(5):
        gradient = torch.randn(24, 16)
        for module, optimizer in ((ours, one), (theirs, other)):
            module.matrix.grad = gradient.clone()
            optimizer.step()
    moved = (ours.matrix - begun).norm()
    assert (ours.matrix - theirs.matrix).norm() < 0.02 * moved


def test_a_step_that_is_not_finite_changes_nothing():
    module = Matrices()
    optimizer = made(module)
    module.matrix.grad, module.vector.grad = torch.randn(24, 16), torch.randn(16)
    optimizer.step()
    before = [module.matrix.clone(), module.vector.clone()]
    momentum = optimizer.state[module.matrix]["momentum"].clone()
    module.matrix.grad[0, 0] = float("nan")
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert torch.equal(module.matrix, before[0])
    assert torch.equal(module.vector, before[1])
    assert torch.equal(optimizer.state[module.matrix]["momentum"], momentum)


@pytest.mark.parametrize("architecture", ["roberta", "modernbert"])
def test_muon_has_the_matrices_of_the_layers_and_nothing_else(small_recipe, architecture):
    recipe = small_recipe(f"--model.architecture={architecture}", "--objective.name=tlm")
    module = make_module(recipe, assemble(recipe))
    chosen = {id(matrix.weight) for matrix in module.masked_model.matrices}
    names = [name for name, value in module.named_parameters() if id(value) in chosen]
    layers = [name for name, value in module.named_parameters() if ".layer" in name]
    assert names == [n for n in layers if n.endswith("weight") and "norm" not in n.lower()]


def losses(folder: Path) -> list[float]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]


@pytest.fixture(scope="module")
def policies() -> list[Path]:
    return [Path(f"ds_configs/zero{stage}.json") for stage in range(4)]


def test_every_stage_gives_the_same_losses_and_goes_on_exactly(small_recipe, tmp_path, policies):
    found = []
    for stage, policy in enumerate(policies):
        recipe = small_recipe(*MUON, f"--run.dir={tmp_path / str(stage)}")
        folder, _ = pretrain(recipe, policy)
        found.append(losses(folder))
        assert found[-1] == pytest.approx(found[0], abs=1e-5)
        (folder / "summary.json").unlink()
        shutil.rmtree(folder / "checkpoints" / "step-8")
        assert losses(pretrain(recipe, policy)[0]) == found[-1]


def test_a_checkpoint_has_one_moment_of_a_matrix_and_two_of_all_else(small_recipe):
    folder, _ = pretrain(small_recipe(*MUON), None)
    names = load_state(folder / "checkpoints" / "step-8").keys()
    assert sum(name.startswith("momentum/") for name in names) == 8
    assert not any(
        "layers.0.attn.Wo.weight" in name for name in names if name.startswith("exp_avg")
    )
    assert any(name.startswith("exp_avg_sq/") for name in names)


def test_a_checkpoint_of_the_other_optimizer_is_refused(small_recipe, tmp_path):
    from alignmlm.pretraining.engine import Engine, engine_settings
    from alignmlm.pretraining.state import restore_state, start_moments

    folder, _ = pretrain(small_recipe("--optimizer.name=adamw"), None)
    recipe = small_recipe(*MUON)
    settings = engine_settings({}, None, recipe.train, recipe.optimizer, 1)
    engine = Engine(make_module(recipe, assemble(recipe)), settings, recipe.optimizer)
    start_moments(engine, 8)
    with pytest.raises(CheckpointError, match="of another optimizer: no momentum/"):
        restore_state(engine, load_state(folder / "checkpoints" / "step-8"))


def test_bf16_follows_fp32_with_muon(small_recipe, tmp_path):
    exact, _ = pretrain(small_recipe(*MUON, f"--run.dir={tmp_path / 'fp32'}"), None)
    recipe = small_recipe(*MUON, f"--run.dir={tmp_path / 'bf16'}", "--train.precision=bf16")
    assert losses(pretrain(recipe, None)[0]) == pytest.approx(losses(exact), abs=0.02)
