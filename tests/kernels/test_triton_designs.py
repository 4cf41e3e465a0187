"""Every design by its Triton kernels, run by Triton's interpreter, against the full logits."""

import pytest
import torch
from alignmlm_kernels import masked_softmax_loss
from alignmlm_kernels.masked_softmax import memory
from alignmlm_kernels.masked_softmax.autograd import MaskedSoftmax, Setting
from alignmlm_kernels.masked_softmax.designs import Plan
from alignmlm_kernels.masked_softmax.reference import Options

from tests.kernels.test_masked_softmax import case, double

OPTIONS = {"label_smoothing": 0.1, "z_loss": 1e-2}


def loss(design: str, x, weight, labels, bias):
    plan = Plan(design, torch.float32, triton=True)
    placed = torch.where(labels < 0, -1, labels)
    setting = Setting(plan, Options(**OPTIONS), None)
    return MaskedSoftmax.apply(x, weight, bias, placed, setting)


@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("design", ["slab", "scaled", "lean"])
@pytest.mark.parametrize("sizes", [(1, 2, 1), (7, 33, 5), (70, 1003, 40)], ids=str)
def test_loss_and_gradients_are_those_of_the_full_logits(sizes, design, with_bias, monkeypatch):
    monkeypatch.setattr(memory, "CPU_CHUNK_BYTES", 1)
    monkeypatch.setattr(memory, "SMALLEST_CHUNK", 512)
    x, weight, labels, bias = case(*sizes)
    labels[0] = -100
    inputs = [x, weight, bias] if with_bias else [x, weight]
    exact_inputs = list(double(*inputs))
    exact = masked_softmax_loss(
        *exact_inputs[:2], labels, *exact_inputs[2:], impl="reference", **OPTIONS
    )
    nats, correct, log_sum_exp = loss(design, x, weight, labels, bias if with_bias else None)
    torch.testing.assert_close(nats.double(), exact.nats, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(log_sum_exp.double(), exact.log_sum_exp, rtol=1e-5, atol=1e-5)
    assert torch.equal(correct, exact.correct)
    found = torch.autograd.grad(nats.sum(), inputs)
    wanted = torch.autograd.grad(exact.nats.sum(), exact_inputs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("design", ["slab", "scaled", "lean"])
def test_repeating_gives_the_same_bits(design):
    x, weight, labels, bias = case(9, 600, 8)
    runs = [loss(design, x, weight, labels, bias)[0] for _ in range(2)]
    assert torch.equal(*runs)
    grads = [torch.autograd.grad(run.sum(), (x, weight, bias)) for run in runs]
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))


def test_the_public_function_takes_the_scaled_design_in_the_interpreter():
    x, weight, labels, bias = case(7, 33, 5)
    found = masked_softmax_loss(x, weight, labels, bias, impl="scaled")
    torch.testing.assert_close(found.nats, masked_softmax_loss(x, weight, labels, bias).nats)
