"""The kernels on a real device: bfloat16, many words, no waiting for the host."""

import pytest
import torch
from alignmlm_kernels.alignment import alignment_loss

from tests.kernels.test_alignment_values import dictionary, loss_and_gradient, random_embedding

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("kind", ["plain", "hub", "repeated", "words"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_the_gpu_is_no_worse_than_autograd_times_two(distance, dtype, kind):
    embedding = random_embedding(hidden=200).to("cuda", dtype)
    pairs = dictionary(kind).to("cuda")
    exact = loss_and_gradient(embedding.double(), pairs, impl="reference", distance=distance)
    naive = loss_and_gradient(embedding, pairs, impl="reference", distance=distance)
    fused = loss_and_gradient(embedding, pairs, impl="triton", distance=distance)
    for whole, plain, found in zip(exact, naive, fused, strict=True):
        assert (found - whole).abs().max() <= 2 * (plain - whole).abs().max() + 1e-5


@pytest.mark.parametrize("distance", ["cosine", "l2", "margin", "infonce"])
def test_the_host_never_waits_for_the_device(distance):
    leaf, pairs = random_embedding().cuda().requires_grad_(), dictionary("words").to("cuda")
    settings = {"distance": distance, "share": 0.5, "group_pairs": 8}
    alignment_loss(leaf, pairs, **settings).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        alignment_loss(leaf, pairs, **settings, step=1).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
