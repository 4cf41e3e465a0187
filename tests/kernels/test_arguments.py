"""Arguments that the losses cannot take."""

import pytest
import torch
from alignmlm_kernels import KernelError, WordPairs, alignment_loss, masked_softmax_loss
from jaxtyping import TypeCheckError

HIDDEN, WEIGHT = torch.randn(2, 3), torch.randn(5, 3)
LABELS = torch.tensor([1, 4])


@pytest.mark.parametrize("place", range(4))
def test_an_input_on_another_device_is_an_error(place):
    inputs = [HIDDEN, WEIGHT, LABELS, torch.randn(5)]
    inputs[place] = inputs[place].to("meta")
    with pytest.raises(KernelError, match=r"must share a device, found .*meta"):
        masked_softmax_loss(*inputs)


@pytest.mark.parametrize(
    "inputs",
    [
        (HIDDEN, torch.randn(5, 4), LABELS),
        (HIDDEN, WEIGHT, torch.tensor([1])),
        (HIDDEN, WEIGHT, LABELS.float()),
        (HIDDEN, WEIGHT, LABELS, torch.randn(4)),
        (HIDDEN[None], WEIGHT, LABELS),
    ],
)
def test_wrong_shapes_and_types_are_caught_by_the_signature(inputs):
    with pytest.raises(TypeCheckError):
        masked_softmax_loss(*inputs)


@pytest.mark.parametrize("label", [5, -1, -2, 2**40])
def test_a_label_outside_the_vocabulary_is_an_error(label):
    with pytest.raises((KernelError, IndexError)):
        masked_softmax_loss(HIDDEN, WEIGHT, torch.tensor([1, label]))


@pytest.mark.parametrize("label", [-1, -2, -7])
def test_a_negative_label_is_named_as_it_was_given(label):
    with pytest.raises(KernelError, match=f"found {label} to 1"):
        masked_softmax_loss(HIDDEN, WEIGHT, torch.tensor([1, label]))


def test_an_unknown_distance_is_an_error():
    pairs = WordPairs(*(torch.tensor(part) for part in ([0], [0, 1], [1], [0, 1])))
    with pytest.raises((KernelError, TypeCheckError)):
        alignment_loss(WEIGHT, pairs, distance="manhattan")


def test_vectors_of_zeros_have_finite_gradients():
    embedding = torch.zeros(2, 3, requires_grad=True)
    pairs = WordPairs(*(torch.tensor(part) for part in ([0], [0, 1], [1], [0, 1])))
    alignment_loss(embedding, pairs).backward()
    assert embedding.grad.isfinite().all()
