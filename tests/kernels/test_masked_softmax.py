import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from alignmlm_kernels import masked_softmax_loss


def case(masked: int, vocab: int, hidden: int, dtype=torch.float32):
    draw = torch.Generator().manual_seed(masked * vocab + hidden)
    tensors = [torch.randn(*shape, generator=draw) for shape in [(masked, hidden), (vocab, hidden)]]
    labels = torch.randint(0, vocab, (masked,), generator=draw)
    bias = torch.randn(vocab, generator=draw)
    return *(t.to(dtype).requires_grad_() for t in tensors), labels, bias.to(dtype).requires_grad_()


@pytest.mark.parametrize(("masked", "vocab", "hidden"), [(1, 2, 1), (7, 33, 5), (70, 1003, 40)])
def test_the_loss_is_the_cross_entropy_of_the_logits(masked, vocab, hidden):
    x, weight, labels, bias = case(masked, vocab, hidden)
    exact = F.cross_entropy(
        F.linear(x.double(), weight.double(), bias.double()), labels, reduction="none"
    )
    result = masked_softmax_loss(x, weight, labels, bias)
    assert (result.nats - exact).abs().max() < 1e-5


def test_low_precision_is_summed_in_float32():
    x, weight, labels, bias = case(70, 1003, 40, torch.bfloat16)
    result = masked_softmax_loss(x, weight, labels, bias)
    logits = F.linear(x, weight, bias).float()
    assert result.nats.dtype == torch.float32
    assert torch.equal(result.nats, F.cross_entropy(logits, labels, reduction="none"))


def test_the_gradients_are_those_of_finite_differences():
    x, weight, labels, bias = case(5, 11, 4, torch.float64)
    assert torch.autograd.gradcheck(
        lambda x, w, b: masked_softmax_loss(x, w, labels, b).nats, (x, weight, bias)
    )


def test_a_position_is_correct_when_its_label_wins():
    weight, x = torch.eye(4), torch.eye(4)[[2, 0]]
    assert masked_softmax_loss(x, weight, torch.tensor([2, 1])).correct.tolist() == [True, False]


def test_no_positions_give_zero_gradients_and_no_error():
    x, weight, _, bias = case(1, 9, 4)
    result = masked_softmax_loss(x[:0], weight, torch.zeros(0, dtype=torch.long), bias)
    result.nats.sum().backward()
    assert weight.grad.abs().sum() == 0
    assert bias.grad.abs().sum() == 0
