"""Second derivatives: those of the specification, an error from everything else."""

import pytest
import torch
import torch.distributed as dist
from alignmlm_kernels import (
    KernelError,
    WordPairs,
    alignment_loss,
    masked_softmax_loss,
    vocabulary_parallel_loss,
)

LABELS = torch.tensor([1, 4, 0])
PAIRS = WordPairs(*(torch.tensor(part) for part in ([0, 1], [0, 1, 2], [2, 3], [0, 1, 2])))
DISTANCES = ["cosine", "l2", "margin", "infonce"]


def leaf(*shape):
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def softmax(impl):
    return lambda weight: masked_softmax_loss(leaf(3, 4), weight, LABELS, impl=impl).nats.sum()


def alignment(distance, impl):
    return lambda weight: alignment_loss(weight, PAIRS, distance, impl=impl)


LOSSES = {
    **{f"softmax {impl}": softmax(impl) for impl in ("slab", "lean", "auto")},
    **{f"alignment {distance}": alignment(distance, "cpu") for distance in DISTANCES},
}
SPECIFICATIONS = {
    "softmax": softmax("reference"),
    **{f"alignment {distance}": alignment(distance, "reference") for distance in DISTANCES},
}


@pytest.fixture
def lone_rank():
    """One rank: that of an earlier test of this process, or its own."""
    if dist.is_initialized():
        yield
        return
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def refused(loss):
    weight = leaf(5, 4)
    (gradient,) = torch.autograd.grad(loss(weight), weight, create_graph=True)
    (plain,) = torch.autograd.grad(loss(weight), weight)
    assert torch.equal(gradient, plain)
    assert not plain.requires_grad
    with pytest.raises(KernelError, match="has no second derivative"):
        (loss(weight) + gradient.square().sum()).backward()


@pytest.mark.parametrize("name", LOSSES)
def test_differentiating_a_gradient_is_an_error(name):
    refused(LOSSES[name])


def test_differentiating_a_gradient_of_a_spread_vocabulary_is_an_error(lone_rank):
    refused(lambda weight: vocabulary_parallel_loss(leaf(3, 4), weight, LABELS).nats.sum())


@pytest.mark.parametrize("name", SPECIFICATIONS)
def test_the_specification_has_a_second_derivative(name):
    assert torch.autograd.gradgradcheck(SPECIFICATIONS[name], leaf(5, 4))
