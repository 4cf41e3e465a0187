"""Every design gives the numbers of the specification, in any precision and with any option."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from alignmlm_kernels import KernelError, MaskedSoftmaxLoss, masked_softmax_loss
from alignmlm_kernels.masked_softmax import memory

from tests.limits import HANG_S

SIZES = [(1, 2, 1), (7, 33, 5), (70, 1003, 40), (3, 5000, 8)]
PLAIN = ["slab", "lean"]


def case(masked: int, vocab: int, hidden: int, dtype=torch.float32, spread=1.0):
    draw = torch.Generator().manual_seed(masked * vocab + hidden)
    tensors = [torch.randn(*shape, generator=draw) for shape in [(masked, hidden), (vocab, hidden)]]
    labels = torch.randint(0, vocab, (masked,), generator=draw)
    bias = torch.randn(vocab, generator=draw)
    x, weight = ((spread * t).to(dtype).requires_grad_() for t in tensors)
    return x, weight, labels, bias.to(dtype).requires_grad_()


def gradients(result, *inputs):
    upstream = torch.linspace(0.5, 1.5, len(result.nats), dtype=result.nats.dtype)
    return torch.autograd.grad(result.nats @ upstream, inputs)


def double(*tensors):
    return (t.detach().double().requires_grad_() if t.is_floating_point() else t for t in tensors)


@pytest.fixture(params=[0, 256], ids=["one chunk", "small chunks"])
def small_chunks(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(memory, "SMALLEST_CHUNK", request.param)
        monkeypatch.setattr(memory, "CPU_CHUNK_BYTES", 1)


@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.1, "z_loss": 1e-2}], ids=["", "both"]
)
@pytest.mark.parametrize("impl", PLAIN)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_loss_and_gradients_are_those_of_the_full_logits(sizes, impl, options, small_chunks):
    inputs = case(*sizes)
    x, weight, labels, bias = double(*inputs)
    exact = masked_softmax_loss(x, weight, labels, bias, impl="reference", **options)
    found = masked_softmax_loss(*inputs, impl=impl, **options)
    torch.testing.assert_close(found.nats.double(), exact.nats, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.log_sum_exp.double(), exact.log_sum_exp, rtol=1e-5, atol=1e-5)
    assert torch.equal(found.correct, exact.correct)
    wanted = gradients(exact, x, weight, bias)
    for one, other in zip(gradients(found, *inputs[:2], inputs[3]), wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("impl", PLAIN)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_errs_no_more_than_twice_the_plain_code(dtype, impl):
    inputs = case(70, 1003, 40, dtype)
    x, weight, labels, bias = double(*inputs)
    exact = masked_softmax_loss(x, weight, labels, bias, impl="reference")
    naive = masked_softmax_loss(*inputs, impl="reference")
    found = masked_softmax_loss(*inputs, impl=impl)
    assert found.nats.dtype == torch.float32
    assert off(found.nats, exact.nats) <= 2 * off(naive.nats, exact.nats) + 1e-6
    best = gradients(exact, x, weight, bias)
    plain = gradients(naive, *inputs[:2], inputs[3])
    for one, other, true in zip(gradients(found, *inputs[:2], inputs[3]), plain, best, strict=True):
        assert one.dtype == dtype
        assert off(one, true) <= 2 * off(other, true)


def off(found, exact):
    return (found.double() - exact).norm() / exact.norm()


@pytest.mark.parametrize("impl", PLAIN)
def test_the_gradients_are_those_of_finite_differences(impl):
    x, weight, labels, bias = case(5, 11, 4, torch.float64)
    labels[2] = -100

    def loss(x, weight, bias):
        options = {"label_smoothing": 0.2, "z_loss": 0.1}
        return masked_softmax_loss(x, weight, labels, bias, impl=impl, **options).nats

    assert torch.autograd.gradcheck(loss, (x, weight, bias))


@pytest.mark.parametrize("impl", [*PLAIN, "reference"])
def test_a_position_is_correct_when_its_label_is_the_first_to_win(impl):
    weight, x = torch.eye(4), torch.eye(4)[[2, 0, 1]]
    found = masked_softmax_loss(x, weight, torch.tensor([2, 1, 1]), impl=impl).correct
    assert found.tolist() == [True, False, True]
    tied = masked_softmax_loss(torch.zeros(2, 4), weight, torch.tensor([0, 3]), impl=impl)
    assert tied.correct.tolist() == [True, False]


@pytest.mark.parametrize("impl", [*PLAIN, "reference"])
def test_ignored_positions_add_nothing(impl):
    x, weight, labels, bias = case(70, 1003, 40)
    kept = torch.arange(70) % 3 != 0
    options = {"label_smoothing": 0.1, "z_loss": 0.1, "reduction": "mean", "impl": impl}
    alone = masked_softmax_loss(x[kept], weight, labels[kept], bias, **options)
    among = masked_softmax_loss(
        x, weight, torch.where(kept, labels, -7), bias, ignore_index=-7, **options
    )
    torch.testing.assert_close(among.nats, alone.nats)
    assert not among.correct[~kept].any()
    for one, other in zip(
        torch.autograd.grad(among.nats, (x, weight, bias)),
        torch.autograd.grad(alone.nats, (x, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert masked_softmax_loss(x, weight, labels.fill_(-7), ignore_index=-7, **options).nats == 0


@pytest.mark.parametrize("impl", PLAIN)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits_stay_finite(impl, size):
    x, weight, labels, bias = case(7, 33, 5)
    with torch.no_grad():
        bias[3], bias[30] = size, -size
    found = masked_softmax_loss(x, weight, labels, bias, impl=impl)
    assert found.nats.isfinite().all()
    assert all(grad.isfinite().all() for grad in gradients(found, x, weight, bias))


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (1, 2)])
@pytest.mark.parametrize("impl", PLAIN)
def test_gradients_can_be_asked_for_alone(impl, wanted):
    x, weight, labels, bias = case(7, 33, 5)
    every = gradients(masked_softmax_loss(x, weight, labels, bias, impl=impl), x, weight, bias)
    for place, tensor in enumerate((x, weight, bias)):
        tensor.requires_grad_(place in wanted)
    found = masked_softmax_loss(x, weight, labels, bias, impl=impl)
    inputs = [(x, weight, bias)[place] for place in wanted]
    for one, place in zip(gradients(found, *inputs), wanted, strict=True):
        assert torch.equal(one, every[place])


@pytest.mark.parametrize("impl", PLAIN)
def test_a_tied_weight_gets_the_gradient_of_both_uses(impl):
    _, weight, labels, bias = case(7, 33, 5)
    _, w, _, b = double(torch.zeros(1), weight, labels, bias)
    tokens = torch.arange(7) * 3
    masked_softmax_loss(
        F.embedding(tokens, weight).tanh(), weight, labels, bias, impl=impl
    ).nats.sum().backward()
    F.cross_entropy(
        F.linear(F.embedding(tokens, w).tanh(), w, b), labels, reduction="sum"
    ).backward()
    torch.testing.assert_close(weight.grad.double(), w.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("impl", PLAIN)
def test_the_gradient_of_the_weight_can_go_to_a_buffer(impl, dtype, small_chunks):
    x, weight, labels, bias = case(70, 1003, 40, dtype)
    wanted = gradients(masked_softmax_loss(x, weight, labels, bias, impl=impl), weight)[0]
    buffer = torch.full((1003, 40), 2.0)
    found = masked_softmax_loss(x, weight, labels, bias, impl=impl, weight_grad=buffer)
    upstream = torch.linspace(0.5, 1.5, 70)
    (found.nats @ upstream).backward()
    assert weight.grad is None
    torch.testing.assert_close((buffer - 2).to(dtype), wanted, rtol=2e-2, atol=1e-5)


@pytest.mark.parametrize("impl", PLAIN)
def test_repeating_the_loss_gives_the_same_bits(impl):
    x, weight, labels, bias = case(70, 1003, 40)
    runs = [masked_softmax_loss(x, weight, labels, bias, impl=impl) for _ in range(2)]
    assert torch.equal(runs[0].nats, runs[1].nats)
    for one, other in zip(*(gradients(run, x, weight, bias) for run in runs), strict=True):
        assert torch.equal(one, other)


def test_two_losses_at_once_keep_their_own_exponentials():
    """Memory is used again, but not before its loss is done with it."""
    first, second = case(7, 33, 5), case(7, 33, 5)
    with torch.no_grad():
        second[0].mul_(-3)
    alone = gradients(masked_softmax_loss(*first), *first[:2])
    one, other = masked_softmax_loss(*first), masked_softmax_loss(*second)
    gradients(other, *second[:2])
    for found, wanted in zip(gradients(one, *first[:2]), alone, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("impl", ["auto", *PLAIN])
def test_no_positions_give_zero_gradients_and_no_error(impl):
    x, weight, _, bias = case(1, 9, 4)
    none = torch.zeros(0, dtype=torch.long)
    result = masked_softmax_loss(x[:0], weight, none, bias, impl=impl)
    result.nats.sum().backward()
    assert weight.grad.abs().sum() == 0
    assert bias.grad.abs().sum() == 0
    assert masked_softmax_loss(x[:0], weight, none, bias, reduction="mean", impl=impl).nats == 0


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_the_module_is_the_function(reduction):
    x, weight, labels, bias = case(7, 33, 5)
    found = MaskedSoftmaxLoss(z_loss=0.1, reduction=reduction)(x, weight, labels, bias)
    wanted = masked_softmax_loss(x, weight, labels, bias, z_loss=0.1).nats
    wanted = wanted if reduction == "none" else getattr(wanted, reduction)()
    torch.testing.assert_close(found.nats, wanted)


COMPILED = """
import torch
from alignmlm_kernels import masked_softmax_loss

x, weight, bias = (torch.randn(*s, requires_grad=True) for s in [(70, 40), (1003, 40), (1003,)])
labels = torch.randint(0, 1003, (70,))
for impl in ("slab", "lean"):
    def loss(x, weight, bias):
        return masked_softmax_loss(
            x, weight, labels, bias, impl=impl, z_loss=0.1, label_smoothing=0.1, reduction="mean"
        ).nats
    runs = [torch.compile(loss, fullgraph=True, backend="aot_eager"), loss]
    values = [run(x, weight, bias) for run in runs]
    torch.testing.assert_close(*values)
    for one, other in zip(*(torch.autograd.grad(v, (x, weight, bias)) for v in values)):
        torch.testing.assert_close(one, other)
"""


def test_it_compiles_without_a_break():
    """In a process of its own: dynamo cannot look into the type checks that tests are run with."""
    environment = {**os.environ, "PYTHONPATH": "kernels"}
    subprocess.run([sys.executable, "-c", COMPILED], check=True, timeout=HANG_S, env=environment)


def test_autocast_multiplies_in_its_type_and_sums_in_float32():
    x, weight, labels, bias = case(70, 1003, 40)
    exact = masked_softmax_loss(x, weight, labels, bias).nats
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = masked_softmax_loss(x, weight, labels, bias)
        naive = masked_softmax_loss(x, weight, labels, bias, impl="reference").nats
    assert found.nats.dtype == torch.float32
    assert off(found.nats, exact.double()) <= 2 * off(naive, exact.double())
    assert gradients(found, weight)[0].dtype == torch.float32


def test_checkpointed_activations_give_the_same_gradients():
    x, weight, labels, bias = case(70, 1003, 40)

    def loss(x):
        return masked_softmax_loss(x.tanh(), weight, labels, bias).nats

    once = torch.utils.checkpoint.checkpoint(loss, x, use_reentrant=False)
    for one, other in zip(
        torch.autograd.grad(once.sum(), (x, weight)),
        torch.autograd.grad(loss(x).sum(), (x, weight)),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_a_budget_below_the_exponentials_chooses_the_lean_design():
    big, cpu = (614, 80_000, torch.float32), torch.device("cpu")
    assert memory.chosen_design(*big, cpu, 614 * 80_000 * 4) == "slab"
    assert memory.chosen_design(*big, cpu, 614 * 80_000 * 4 - 1) == "lean"
    gpu = torch.device("cuda")
    assert memory.chosen_design(9_830, 80_000, torch.bfloat16, gpu, 2**31) == "scaled"
    assert memory.chosen_design(9_830, 80_000, torch.float16, gpu, 2**31) == "slab"
    assert memory.chosen_design(9_830, 500_000, torch.bfloat16, gpu, 2**31) == "lean"


def test_settings_out_of_range_are_errors():
    x, weight, labels, _ = case(7, 33, 5)
    for wrong in ({"label_smoothing": 1.0}, {"z_loss": -1.0}):
        with pytest.raises(KernelError, match="label_smoothing must lie in"):
            masked_softmax_loss(x, weight, labels, **wrong)
