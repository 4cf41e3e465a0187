import pytest
import torch
from alignmlm_kernels import KernelError, WordPairs, alignment_loss
from alignmlm_kernels.alignment.reference import squared_distances


def pairs(words: list[tuple[list[int], list[int]]]) -> WordPairs:
    sides = []
    for side in zip(*words, strict=True):
        sides.append(torch.tensor([token for word in side for token in word]))
        sides.append(torch.tensor([0, *(len(word) for word in side)]).cumsum(0))
    return WordPairs(*sides)


HUBS = [([0], [5]), ([0], [6]), ([1, 2, 2], [5]), ([3], [7, 8]), ([4], [5])]


def by_hand(embedding, words, distance):
    total = 0.0
    for source, target in words:
        a, b = embedding[source].mean(0), embedding[target].mean(0)
        total += (1 - a @ b / a.norm() / b.norm()) if distance == "cosine" else (a - b) @ (a - b)
    return total / len(words)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
@pytest.mark.parametrize("words", [HUBS, [([0], [5]), ([1], [6])]], ids=["hubs", "single"])
def test_the_loss_is_the_mean_distance_of_the_pairs(distance, words):
    embedding = torch.randn(9, 6, generator=torch.Generator().manual_seed(1)).double()
    found = alignment_loss(embedding, pairs(words), distance=distance)
    assert found == pytest.approx(by_hand(embedding, words, distance).item(), rel=1e-9)


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_the_gradients_are_those_of_finite_differences(distance):
    embedding = torch.randn(9, 3, generator=torch.Generator().manual_seed(1)).double()
    loss = lambda e: alignment_loss(e, pairs(HUBS), distance=distance)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (embedding.requires_grad_(),))


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_a_function_is_a_distance_that_is_computed_in_plain_pytorch(share):
    embedding = torch.randn(9, 6, generator=torch.Generator().manual_seed(1)).double()
    distances = [squared_distances, "l2"]
    losses, gradients = [], []
    for distance in distances:
        own = embedding.clone().requires_grad_()
        losses.append(alignment_loss(own, pairs(HUBS), distance, share=share, step=3))
        gradients.append(torch.autograd.grad(losses[-1], own)[0])
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-9)
    assert torch.allclose(*gradients, rtol=1e-9)
    with pytest.raises(KernelError, match="impl 'triton' has cosine and l2 only"):
        alignment_loss(embedding, pairs(HUBS), squared_distances, impl="triton")


def test_equal_vectors_are_at_0_and_opposite_ones_at_2():
    one = torch.randn(1, 8)
    assert alignment_loss(torch.cat([one, 3 * one]), pairs([([0], [1])])) == pytest.approx(
        0, abs=1e-6
    )
    assert alignment_loss(torch.cat([one, -one]), pairs([([0], [1])])) == pytest.approx(2)


def test_a_gradient_step_brings_the_words_closer():
    embedding = torch.randn(9, 6).requires_grad_()
    before = alignment_loss(embedding, pairs(HUBS))
    before.backward()
    assert alignment_loss(embedding - 0.1 * embedding.grad, pairs(HUBS)) < before


def test_repeating_the_loss_gives_the_same_bits():
    embedding = torch.randn(9, 6)
    assert alignment_loss(embedding, pairs(HUBS)) == alignment_loss(embedding, pairs(HUBS))


def test_low_precision_embeddings_are_summed_in_float32():
    embedding = torch.randn(9, 6).bfloat16()
    exact = alignment_loss(embedding.double(), pairs(HUBS))
    assert alignment_loss(embedding, pairs(HUBS)) == pytest.approx(exact.item(), abs=1e-6)


def test_no_pairs_are_an_error():
    empty = WordPairs(*(torch.zeros(n, dtype=torch.long) for n in (0, 1, 0, 1)))
    with pytest.raises(KernelError, match="at least one pair"):
        alignment_loss(torch.randn(9, 6), empty)
