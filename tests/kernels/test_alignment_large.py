"""Norms whose squares are no float32: the loss and its gradient are still those of float64."""

import pytest
import torch
from alignmlm_kernels.alignment import AlignmentOptions, alignment_loss, alignment_statistics
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.test_alignment_values import dictionary, loss_and_gradient, random_embedding

SCALE_FREE = [
    *((impl, distance) for impl in ("reference", "cpu") for distance in ("margin", "infonce")),
    *((impl, "cosine") for impl in ("reference", "cpu", "triton")),
]


def scaled(exponents, hidden=17):
    """An embedding whose rows are multiplied by powers of two, which is exact."""
    embedding = random_embedding(hidden)
    powers = torch.tensor(exponents, dtype=torch.float64).exp2().float()
    return embedding * powers[torch.arange(len(embedding)) % len(powers)][:, None]


@pytest.mark.parametrize(("impl", "distance"), SCALE_FREE)
@pytest.mark.parametrize("kind", ["plain", "hub", "words"])
@pytest.mark.parametrize("exponent", [50, 56, 63, 64, 66, 100, 120])
def test_large_norms_are_no_worse_than_small_ones(impl, distance, kind, exponent):
    pairs = dictionary(kind)
    small, narrow = loss_and_gradient(random_embedding(), pairs, impl=impl, distance=distance)
    found, grown = loss_and_gradient(scaled([exponent]), pairs, impl=impl, distance=distance)
    assert found == small  # to the last bit: a power of two changes no digit
    apart = (grown.double() * 2.0**exponent - narrow).abs().max()
    assert apart <= 1e-5 * narrow.abs().max()


@settings(max_examples=25)
@given(exponents=st.lists(st.integers(-10, 120), min_size=1, max_size=5))
@pytest.mark.parametrize(("impl", "distance"), SCALE_FREE)
def test_rows_of_any_size_have_the_angles_of_float64(impl, distance, exponents):
    embedding, pairs = scaled(exponents), dictionary("plain")
    loss, gradient = loss_and_gradient(
        embedding.double(), pairs, impl="reference", distance=distance
    )
    found, grown = loss_and_gradient(embedding, pairs, impl=impl, distance=distance)
    assert found == pytest.approx(loss.item(), rel=1e-5, abs=1e-5)
    sizes = embedding.double().norm(dim=1)[:, None]  # a gradient is as large as 1 / norm
    assert ((grown.double() - gradient) * sizes).abs().max() <= 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("impl", ["reference", "cpu"])
def test_the_loss_of_norms_above_1e19_is_not_1(impl, dtype):
    embedding, pairs = random_embedding().to(dtype), dictionary("plain")
    small = alignment_loss(embedding, pairs, impl=impl)
    found = alignment_loss(embedding * 2.0**70, pairs, impl=impl)
    assert found == small and abs(small.item() - 1) > 1e-3


def test_statistics_of_large_norms_are_those_of_small_ones():
    pairs, options = dictionary("plain"), AlignmentOptions()
    small = alignment_statistics(random_embedding(), pairs, options)
    assert alignment_statistics(scaled([70]), pairs, options) == small
