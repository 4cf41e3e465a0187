"""The fused product against float64, in Triton's interpreter (float32, float16)."""

import pytest
import torch

pytest.importorskip("triton")

from alignmlm_kernels import KernelError
from alignmlm_kernels.masked_softmax.head import Head
from alignmlm_kernels.masked_softmax.triton_fused import (
    fused_chunk,
    fused_exponentials,
    fused_row_sums,
)
from alignmlm_kernels.masked_softmax.triton_labels import label_logits

# Masks along every size, more tiles than are worked on together, and sizes that need no mask.
SIZES = [(1, 1, 1), (3, 5, 7), (70, 300, 40), (66, 1203, 33), (65, 1296, 32)]


def case(rows: int, vocab: int, width: int, dtype: torch.dtype = torch.float32):
    draw = torch.Generator().manual_seed(rows + vocab + width)
    hidden = torch.randn(rows, width, generator=draw).to(dtype)
    weight = torch.randn(vocab, width, generator=draw).to(dtype)
    bias = torch.randn(vocab, generator=draw).to(dtype)
    return hidden, weight, bias, torch.randint(-1, vocab, (rows,), generator=draw)


def exponentials_into(head: Head, reference: torch.Tensor, slab: torch.Tensor):
    return fused_exponentials(head, reference, label_logits(*head), slab)


def exact_logits(hidden, weight, bias=None) -> torch.Tensor:
    return hidden.double() @ weight.double().T + (0 if bias is None else bias.double())


def of_labels(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.where(labels >= 0, values.gather(1, labels.clamp(0)[:, None])[:, 0], 0)


def without_labels(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    values = values.clone()
    known = (labels >= 0).nonzero()[:, 0]
    values[known, labels[known]] = 0
    return values


def assert_sums_are_exact(found, logits, labels, atol=2e-5):
    torch.testing.assert_close(found.largest.double(), logits.amax(1), rtol=1e-6, atol=atol)
    torch.testing.assert_close(
        found.reference.double() + found.sums.double().log(),
        torch.logsumexp(logits, 1),
        rtol=1e-6,
        atol=atol,
    )
    torch.testing.assert_close(
        found.label_logit.double(), of_labels(logits, labels), rtol=1e-6, atol=atol
    )
    assert torch.equal(found.leads, logits.argmax(1) == labels)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("rows", "vocab", "width"), SIZES)
def test_exponentials_and_sums_are_those_of_float64(rows, vocab, width, with_bias):
    hidden, weight, bias, labels = case(rows, vocab, width)
    bias = bias if with_bias else None
    logits = exact_logits(hidden, weight, bias)
    reference = logits.amax(1).float() - 1
    slab = torch.full((rows, vocab), torch.nan)
    found = exponentials_into(Head(hidden, weight, bias, labels), reference, slab)
    power = without_labels((logits - reference.double()[:, None]).exp(), labels)
    torch.testing.assert_close(slab.double(), power, rtol=5e-5, atol=0)
    assert torch.equal(found.reference, reference)
    assert_sums_are_exact(found, logits, labels)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("rows", "vocab", "width"), SIZES)
def test_sums_need_no_slab(rows, vocab, width, with_bias):
    hidden, weight, bias, labels = case(rows, vocab, width)
    bias = bias if with_bias else None
    found = fused_row_sums(Head(hidden, weight, bias, labels))
    assert torch.equal(found.reference, found.largest)
    assert_sums_are_exact(found, exact_logits(hidden, weight, bias), labels)


@pytest.mark.parametrize(("vocab", "width"), [(300, 40), (320, 32)])
def test_chunks_of_the_vocabulary_make_the_softmax(vocab, width):
    hidden, weight, bias, labels = case(70, vocab, width)
    logits = exact_logits(hidden, weight, bias)
    lse = torch.logsumexp(logits, 1).float()
    chunks = []
    for start in range(0, vocab, 144):
        stop = min(start + 144, vocab)
        inside = (labels >= start) & (labels < stop)
        chunks.append(torch.full((70, stop - start), torch.nan))
        places = torch.where(inside, labels - start, -1)
        part = Head(hidden, weight[start:stop], bias[start:stop], places)
        fused_chunk(part, lse, chunks[-1])
    expected = without_labels(logits.softmax(1), labels)
    torch.testing.assert_close(torch.cat(chunks, 1).double(), expected, rtol=1e-4, atol=1e-30)


def test_rows_far_above_their_reference_are_made_again():
    hidden, weight, bias, labels = case(20, 300, 40)
    logits = exact_logits(hidden, weight, bias)
    reference = logits.amax(1).float()
    far = torch.tensor([0, 7, 19])
    reference[far] -= torch.tensor([71.0, 1e4, torch.inf])
    slab = torch.full((20, 300), torch.nan)
    found = exponentials_into(Head(hidden, weight, bias, labels), reference, slab)
    assert torch.equal(found.reference[far], found.largest[far])
    near = torch.ones(20, dtype=torch.bool).index_fill(0, far, False)
    assert torch.equal(found.reference[near], reference[near])
    power = (logits - found.reference.double()[:, None]).exp()
    torch.testing.assert_close(slab.double(), without_labels(power, labels), rtol=5e-5, atol=0)
    assert_sums_are_exact(found, logits, labels)


def test_a_row_just_below_the_limit_keeps_its_reference():
    hidden, weight, bias, labels = case(3, 40, 16)
    reference = exact_logits(hidden, weight, bias).amax(1).float() - 69.9
    slab = torch.empty(3, 40)
    found = exponentials_into(Head(hidden, weight, bias, labels), reference, slab)
    assert torch.equal(found.reference, reference)
    assert_sums_are_exact(found, exact_logits(hidden, weight, bias), labels)
    assert slab.isfinite().all()


def test_extreme_logits_stay_finite():
    hidden, weight, bias, labels = case(9, 200, 16)
    hidden *= 3e3
    logits = exact_logits(hidden, weight, bias)
    assert logits.abs().amax() > 1e4
    reference = of_labels(logits, labels).float()
    slab = torch.empty(9, 200)
    found = exponentials_into(Head(hidden, weight, bias, labels), reference, slab)
    assert slab.isfinite().all()
    assert_sums_are_exact(found, logits, labels, atol=1e-2)
    found = fused_row_sums(Head(hidden, weight, bias, labels))
    assert_sums_are_exact(found, logits, labels, atol=1e-2)


@pytest.mark.parametrize("row", [2, 4])
def test_what_is_no_number_is_not_hidden(row):
    hidden, weight, bias, _ = case(5, 40, 16)
    hidden[row, 3] = torch.nan
    nowhere, slab = torch.full((5,), -1), torch.empty(5, 40)
    found = exponentials_into(Head(hidden, weight, bias, nowhere), torch.zeros(5), slab)
    assert found.sums.isnan().tolist() == [place == row for place in range(5)]
    assert slab[row].isnan().all()


def test_a_reference_far_above_all_logits_gives_zeros():
    hidden, weight, bias, labels = case(3, 40, 16)
    slab = torch.empty(3, 40)
    found = exponentials_into(Head(hidden, weight, bias, labels), torch.full((3,), 1e4), slab)
    assert (slab == 0).all()
    assert found.sums.tolist() == [0, 0, 0]


@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize("places", [[2, 299], [127, 128], [64, 65]])
def test_the_lowest_column_wins_a_tie(places, winner):
    hidden, weight, _, _ = case(5, 300, 16)
    weight[places] = hidden.sum(0) * 100
    hidden = hidden.sum(0).expand(5, -1).contiguous()
    found = fused_row_sums(Head(hidden, weight, None, torch.full((5,), places[winner])))
    assert found.leads.tolist() == [winner == 0] * 5


@pytest.mark.parametrize("width", [16, 40])
def test_the_leading_label_is_found_in_every_tile(width):
    hidden, weight, bias, _ = case(70, 304, width)
    labels = exact_logits(hidden, weight, bias).argmax(1)
    assert fused_row_sums(Head(hidden, weight, bias, labels)).leads.all()


def test_rows_without_a_label_keep_all_their_exponentials():
    hidden, weight, bias, _ = case(70, 300, 40)
    nowhere = torch.full((70,), -1)
    slab = torch.zeros(70, 300)
    reference = exact_logits(hidden, weight, bias).amax(1).float()
    found = exponentials_into(Head(hidden, weight, bias, nowhere), reference, slab)
    assert (slab > 0).all()
    assert (found.label_logit == 0).all()


@pytest.mark.parametrize("slab_dtype", [torch.bfloat16, torch.float32])
def test_float16_is_multiplied_in_float32(slab_dtype):
    hidden, weight, bias, labels = case(20, 300, 40, torch.float16)
    logits = exact_logits(hidden, weight, bias)
    reference = logits.amax(1).float()
    slab = torch.empty(20, 300, dtype=slab_dtype)
    found = exponentials_into(Head(hidden, weight, bias, labels), reference, slab)
    power = without_labels((logits - reference.double()[:, None]).exp(), labels)
    rtol = 1e-4 if slab_dtype == torch.float32 else 2**-6
    torch.testing.assert_close(slab.double(), power, rtol=rtol, atol=1e-30)
    torch.testing.assert_close(
        found.reference.double() + found.sums.double().log(),
        torch.logsumexp(logits, 1),
        rtol=0,
        atol=1e-4,
    )


def test_columns_beyond_the_slab_are_left_alone():
    hidden, weight, bias, labels = case(70, 300, 40)
    padded = torch.full((70, 304), 7.0)
    reference = exact_logits(hidden, weight, bias).amax(1).float()
    exponentials_into(Head(hidden, weight, bias, labels), reference, padded[:, :300])
    assert (padded[:, 300:] == 7).all()
    assert (padded[:, :300] < 1.001).all()


def test_rows_of_wider_matrices_are_taken_as_they_are():
    hidden, weight, bias, labels = case(20, 300, 40)
    wide, tall = torch.zeros(20, 48), torch.zeros(300, 56)
    wide[:, :40], tall[:, :40] = hidden, weight
    expected = fused_row_sums(Head(hidden, weight, bias, labels))
    found = fused_row_sums(Head(wide[:, :40], tall[:, :40], bias, labels))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_same_inputs_give_the_same_bytes():
    hidden, weight, bias, labels = case(66, 1203, 33)
    reference = torch.zeros(66)
    slabs = torch.empty(66, 1203), torch.empty(66, 1203)
    first, second = (
        exponentials_into(Head(hidden, weight, bias, labels), reference, slab) for slab in slabs
    )
    assert torch.equal(*slabs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert (reference == 0).all()


def test_no_rows_give_no_numbers():
    hidden, weight, bias, labels = (
        t[:0] if n in (0, 3) else t for n, t in enumerate(case(2, 9, 4))
    )
    found = exponentials_into(Head(hidden, weight, bias, labels), torch.empty(0), torch.empty(0, 9))
    assert found.sums.shape == (0,)


def test_exponentials_in_float16_are_an_error():
    hidden, weight, bias, labels = case(2, 9, 4, torch.float16)
    slab = torch.empty(2, 9, dtype=torch.float16)
    with pytest.raises(KernelError, match="exponentials must be bfloat16 or float32"):
        exponentials_into(Head(hidden, weight, bias, labels), torch.zeros(2), slab)


@pytest.mark.parametrize("types", [(torch.float64, torch.float64), (torch.float32, torch.float16)])
def test_other_or_different_types_are_an_error(types):
    hidden, weight, bias, labels = case(2, 9, 4)
    with pytest.raises(KernelError, match="must both be float32, bfloat16 or float16"):
        fused_row_sums(Head(hidden.to(types[0]), weight.to(types[1]), bias, labels))
