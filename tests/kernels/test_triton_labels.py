"""The label's own term against float64, in Triton's interpreter."""

import pytest
import torch

pytest.importorskip("triton")

from alignmlm_kernels import KernelError
from alignmlm_kernels.masked_softmax.triton_labels import add_label_rows, label_logits

SIZES = [(1, 1, 1), (7, 3, 5), (40, 2, 300), (50, 400, 33), (33, 5, 257)]


def case(rows: int, vocab: int, width: int):
    draw = torch.Generator().manual_seed(rows + vocab + width)
    hidden = torch.randn(rows, width, generator=draw)
    weight, bias = torch.randn(vocab, width, generator=draw), torch.randn(vocab, generator=draw)
    return hidden, weight, bias, torch.randint(-1, vocab, (rows,), generator=draw)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("rows", "vocab", "width"), SIZES)
def test_label_logits_are_those_of_float64(rows, vocab, width, with_bias):
    hidden, weight, bias, labels = case(rows, vocab, width)
    logits = hidden.double() @ weight.double().T + (bias.double() if with_bias else 0)
    expected = torch.where(labels >= 0, logits.gather(1, labels.clamp(0)[:, None])[:, 0], 0)
    found = label_logits(hidden, weight, bias if with_bias else None, labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5)


def test_label_logits_of_low_precision_are_summed_in_float32():
    hidden, weight, bias, labels = (
        t.bfloat16() if t.is_floating_point() else t for t in case(50, 400, 33)
    )
    logits = hidden.double() @ weight.double().T + bias.double()
    expected = torch.where(labels >= 0, logits.gather(1, labels.clamp(0)[:, None])[:, 0], 0)
    found = label_logits(hidden, weight, bias, labels)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("rows", "vocab", "width"), SIZES)
def test_rows_of_a_label_are_added_to_its_gradient(rows, vocab, width, with_bias):
    hidden, weight_grad, bias_grad, labels = case(rows, vocab, width)
    coefficient = torch.randn(rows, generator=torch.Generator().manual_seed(3))
    kept = labels >= 0
    terms = coefficient.double()[:, None] * hidden.double()
    exact = weight_grad.double().index_add(0, labels[kept], terms[kept])
    exact_bias = bias_grad.double().index_add(0, labels[kept], coefficient.double()[kept])
    add_label_rows(weight_grad, bias_grad if with_bias else None, hidden, coefficient, labels)
    torch.testing.assert_close(weight_grad.double(), exact, rtol=0, atol=2e-5)
    if with_bias:
        torch.testing.assert_close(bias_grad.double(), exact_bias, rtol=0, atol=1e-5)


def test_rows_without_a_label_change_nothing():
    hidden, weight_grad, bias_grad, _ = case(20, 4, 9)
    before = weight_grad.clone(), bias_grad.clone()
    add_label_rows(weight_grad, bias_grad, hidden, torch.ones(20), torch.full((20,), -1))
    assert torch.equal(weight_grad, before[0])
    assert torch.equal(bias_grad, before[1])


def test_the_same_labels_give_the_same_bytes():
    hidden, start, _, labels = case(60, 3, 40)
    grads = start.clone(), start.clone()
    for grad in grads:
        add_label_rows(grad, None, hidden, torch.rand(60).fill_(0.1), labels)
    assert torch.equal(*grads)


def test_gradients_with_gaps_between_rows_are_filled_in_place():
    hidden, weight_grad, bias_grad, labels = case(20, 4, 9)
    padded = torch.zeros(4, 16)
    padded[:, :9] = weight_grad
    add_label_rows(padded[:, :9], None, hidden, torch.ones(20), labels)
    add_label_rows(weight_grad, bias_grad, hidden, torch.ones(20), labels)
    assert torch.equal(padded[:, :9], weight_grad)
    assert (padded[:, 9:] == 0).all()


def test_no_rows_change_nothing():
    nothing = torch.empty(0, 3), torch.empty(0), torch.empty(0, dtype=torch.long)
    grad = torch.ones(5, 3)
    add_label_rows(grad, None, *nothing)
    assert (grad == 1).all()
    assert label_logits(nothing[0], grad, None, nothing[2]).shape == (0,)


def test_elements_that_are_not_side_by_side_are_an_error():
    hidden, weight, bias, labels = case(7, 3, 5)
    with pytest.raises(KernelError, match="weight must have rows without gaps"):
        label_logits(hidden, weight.T.contiguous().T, bias, labels)
