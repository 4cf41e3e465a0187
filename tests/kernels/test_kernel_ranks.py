"""The vocabulary over several ranks, and training steps by every ZeRO stage."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from alignmlm_kernels import masked_softmax_loss

from tests.kernels.ranks_of_vocabulary import MASKED, OPTIONS, whole
from tests.kernels.ranks_of_zero import plain_steps
from tests.limits import HANG_S


def run_ranks(ranks: int, script: str, *arguments: str) -> None:
    """Run a script of this folder on some gloo ranks."""
    path = Path(__file__).parent / script
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc_per_node={ranks}", str(path), *arguments]
    environment = {**os.environ, "PYTHONPATH": ".:kernels", "OMP_NUM_THREADS": "1"}
    environment["DS_ACCELERATOR"] = "cpu"
    subprocess.run(command, check=True, timeout=HANG_S, env=environment)


@pytest.mark.dist
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_that_share_the_vocabulary_find_what_one_rank_finds(ranks, tmp_path):
    run_ranks(ranks, "ranks_of_vocabulary.py", str(tmp_path))
    hidden, weight, bias, labels = whole()
    inputs = [t.requires_grad_() for t in (hidden, weight, bias)]
    alone = masked_softmax_loss(hidden, weight, labels, bias, **OPTIONS)
    grads = torch.autograd.grad(alone.nats @ torch.linspace(0.5, 1.5, MASKED), inputs)
    for budget_bytes in (2**31, 0):
        names = [tmp_path / f"{ranks}-{rank}-{budget_bytes}.pt" for rank in range(ranks)]
        parts = zip(*(torch.load(name, weights_only=True) for name in names), strict=True)
        for found, wanted in zip(parts, [*alone, *grads], strict=True):
            joined, exact = torch.cat(found).double(), wanted.detach().double()
            assert (joined - exact).norm() <= 1e-6 * exact.norm()


@pytest.mark.dist
def test_training_under_every_zero_stage_equals_plain_pytorch(tmp_path):
    run_ranks(2, "ranks_of_zero.py", str(tmp_path))
    wanted = plain_steps()
    for stage in (1, 2, 3):
        found = torch.load(tmp_path / f"zero{stage}.pt", weights_only=True)
        for name, value in wanted.items():
            assert (found[name] - value).abs().max() < 1e-5, (stage, name)


def test_a_loss_over_ranks_needs_ranks():
    code = (
        "import torch; from alignmlm_kernels import vocabulary_parallel_loss as loss; "
        "loss(torch.randn(2, 3), torch.randn(5, 3), torch.tensor([1, 4]))"
    )
    environment = {**os.environ, "PYTHONPATH": "kernels"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment, capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    assert "KernelError" in done.stderr and "torch.distributed" in done.stderr
