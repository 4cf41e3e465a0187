"""The loss among PyTorch's other parts: compilation, autocast, checkpoints, modules, ranks."""

import os
import socket
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from alignmlm_kernels import WordPairs
from alignmlm_kernels.alignment import (
    AlignmentLoss,
    AlignmentOptions,
    alignment_loss,
    alignment_statistics,
)
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from tests.kernels.test_alignment_values import dictionary, loss_and_gradient, random_embedding
from tests.limits import HANG_S

DISTANCES = ["cosine", "l2", "margin", "infonce"]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_losses_compiled_as_one_graph_are_the_same(backend):
    command = [sys.executable, "-m", "tests.kernels.compiled_alignment", backend]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("impl", ["reference", "cpu"])
def test_autocast_changes_nothing(impl, distance):
    pairs, leaf = dictionary("words"), random_embedding().requires_grad_()
    settings = {"distance": distance, "impl": impl}
    plain = alignment_loss(leaf, pairs, **settings)
    with torch.autocast("cpu", torch.bfloat16):
        cast = alignment_loss(leaf, pairs, **settings)
    assert cast == plain and cast.dtype == torch.float32
    assert torch.equal(*(torch.autograd.grad(loss, leaf)[0] for loss in (plain, cast)))


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpoints_change_nothing(reentrant):
    pairs, leaf = dictionary("words"), random_embedding().requires_grad_()
    gradient = loss_and_gradient(leaf.detach(), pairs)[1]
    (3 * checkpoint(lambda e: alignment_loss(e, pairs), leaf, use_reentrant=reentrant)).backward()
    assert torch.equal(leaf.grad, gradient)


def test_operators_keep_the_rules_of_pytorch():
    from alignmlm_kernels.alignment.operators import align, choose_pairs

    pairs, leaf = dictionary("words"), random_embedding().requires_grad_()
    lists, sizes, weights = list(pairs.prepared), list(pairs.sizes), pairs.prepared.weights
    torch.library.opcheck(choose_pairs, (weights, 0.5, 1, 2))
    fixed = ("cosine", [0.2, 0.07, 12.0], torch.float32, True, "cpu")
    inputs = (leaf, lists, sizes, weights, lists[1][:0], *fixed)
    torch.library.opcheck(align, inputs, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_share_is_drawn_by_seed_and_step(distance):
    def loss(seed, step):
        options = AlignmentOptions(share=0.3, seed=seed, distance=distance, group_pairs=8)
        return AlignmentLoss(dictionary("plain"), options)(random_embedding(), step).item()

    found = [loss(0, 0), loss(0, 1), loss(1, 0)]
    assert found == [loss(0, 0), loss(0, 1), loss(1, 0)]
    assert len(set(found)) == 3


def test_shares_of_many_steps_average_to_the_whole():
    pairs, embedding = dictionary("plain"), random_embedding()
    parts = [alignment_loss(embedding, pairs, share=0.3, step=step) for step in range(200)]
    assert torch.stack(parts).mean() == pytest.approx(
        alignment_loss(embedding, pairs).item(), abs=0.02
    )


@pytest.mark.parametrize("distance", DISTANCES)
def test_statistics_come_with_the_loss(distance):
    pairs, leaf = dictionary("plain"), random_embedding().requires_grad_()
    options = AlignmentOptions(distance=distance, share=0.5, group_pairs=8)
    found = alignment_statistics(leaf, pairs, options, step=4)
    cosine = alignment_loss(leaf, pairs, share=0.5, step=4)
    assert found.pairs == round(0.5 * len(pairs))
    assert found.loss == AlignmentLoss(pairs, options)(leaf, 4)
    found.loss.backward()
    assert leaf.grad.any()
    if distance in ("cosine", "l2"):
        assert found.mean_cosine == pytest.approx(1 - cosine.item(), abs=1e-6)
    assert 0 <= found.retrieval < 0.5


def test_statistics_of_aligned_words_are_1():
    ids, starts = torch.arange(20), torch.arange(21)
    embedding = random_embedding()
    embedding[20:40] = 3 * embedding[:20]
    pairs = WordPairs(ids, starts, ids + 20, starts)
    found = alignment_statistics(embedding, pairs, AlignmentOptions())
    assert found.mean_cosine == pytest.approx(1)
    assert found.retrieval == 1


def test_any_translation_counts_as_found():
    ids, starts = torch.arange(4), torch.arange(5)
    pairs = WordPairs(torch.zeros_like(ids), starts, ids + 4, starts)
    assert alignment_statistics(random_embedding(), pairs, AlignmentOptions()).retrieval == 1


def test_a_module_keeps_its_weights_whole_and_out_of_its_state():
    module = AlignmentLoss(dictionary("hub"), AlignmentOptions()).bfloat16()
    assert module.pairs.prepared.weights.dtype == torch.float32
    assert not module.state_dict()
    assert module.to("meta").pairs.device.type == "meta"


class Tied(nn.Module):
    def __init__(self, pairs):
        super().__init__()
        self.embedding = nn.Parameter(random_embedding())
        self.align = AlignmentLoss(pairs, AlignmentOptions(share=0.5))

    def forward(self, rows):
        return self.embedding[rows].square().mean() + 10 * self.align(self.embedding, 3)


def rank_gradient(rank, port, folder):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    model = DistributedDataParallel(Tied(dictionary("words")))
    model(torch.arange(6).view(2, 3)[rank]).backward()
    torch.save(model.module.embedding.grad, f"{folder}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # see ranks_of_vocabulary.py


@pytest.mark.dist
def test_two_ranks_have_the_gradient_of_one(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    torch.multiprocessing.spawn(rank_gradient, (port, str(tmp_path)), nprocs=2)
    alone = Tied(dictionary("words"))
    alone(torch.arange(6)).backward()
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert torch.equal(*both)
    assert torch.allclose(both[0], alone.embedding.grad, atol=1e-7)
