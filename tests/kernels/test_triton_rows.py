"""The row and column kernels against float64, in Triton's interpreter."""

import pytest
import torch

pytest.importorskip("triton")

from alignmlm_kernels import KernelError
from alignmlm_kernels.masked_softmax.triton_rows import column_sums, row_exponentials

SIZES = [(1, 1), (1, 2), (5, 7), (4, 1024), (3, 1025), (3, 8192), (2, 9001), (2, 16_400)]


def case(rows: int, vocab: int, spread: float = 4.0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(rows * vocab)
    logits = torch.randn(rows, vocab, generator=draw) * spread
    return logits, torch.randint(-1, vocab, (rows,), generator=draw)


def without_labels(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    values = values.clone()
    known = (labels >= 0).nonzero()[:, 0]
    values[known, labels[known]] = 0
    return values


@pytest.mark.parametrize("shift", [0.0, 10.0])
@pytest.mark.parametrize(("rows", "vocab"), SIZES)
def test_the_slab_holds_the_exponentials_and_the_sums_are_theirs(rows, vocab, shift):
    logits, labels = case(rows, vocab)
    exact = logits.double()
    power = (exact - exact.amax(1, keepdim=True) + shift).exp()
    slab = logits.clone()
    found = row_exponentials(slab, labels, shift)
    torch.testing.assert_close(slab.double(), without_labels(power, labels), rtol=3e-6, atol=0)
    torch.testing.assert_close(found.sums.double(), power.sum(1), rtol=2e-6, atol=0)
    assert torch.equal(found.reference, logits.amax(1) - shift)
    assert torch.equal(found.largest, logits.amax(1))
    assert torch.equal(found.leads, logits.argmax(1) == labels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_is_summed_before_it_is_rounded(dtype):
    logits, labels = case(6, 3000)
    slab = logits.to(dtype)
    exact = slab.double()
    power = (exact - exact.amax(1, keepdim=True) + 5).exp()
    found = row_exponentials(slab, labels, 5.0)
    torch.testing.assert_close(found.sums.double(), power.sum(1), rtol=2e-6, atol=0)
    # The interpreter cuts bfloat16 off instead of rounding it.
    torch.testing.assert_close(slab.double(), without_labels(power, labels), rtol=2**-7, atol=1e-6)


def test_the_labels_logit_is_read_before_it_is_overwritten():
    logits, labels = case(40, 1300)
    expected = torch.where(labels >= 0, logits.gather(1, labels.clamp(0)[:, None])[:, 0], 0)
    assert torch.equal(row_exponentials(logits, labels).label_logit, expected)


def test_a_row_without_a_label_keeps_all_its_exponentials():
    logits, _ = case(3, 50)
    found = row_exponentials(logits, torch.full((3,), -1))
    assert (logits > 0).all()
    assert found.label_logit.tolist() == [0, 0, 0]


@pytest.mark.parametrize("vocab", [9, 2500, 20_000])
@pytest.mark.parametrize("winner", [0, 1])
def test_the_lowest_column_wins_a_tie(vocab, winner):
    logits, _ = case(4, vocab)
    ties = torch.tensor([[0, vocab - 1], [3, 5], [vocab - 2, vocab - 1], [1, vocab // 2]])
    logits.scatter_(1, ties, 99.0)
    assert row_exponentials(logits, ties[:, winner]).leads.tolist() == [winner == 0] * 4


def test_all_logits_equal_give_the_first_column_and_ones():
    logits = torch.full((2, 1500), -1e4)
    found = row_exponentials(logits, torch.tensor([-1, 7]))
    assert found.leads.tolist() == [False, False]
    assert found.sums.tolist() == [1500, 1500]
    assert (logits == 1).sum(1).tolist() == [1500, 1499]


def test_extreme_logits_stay_finite():
    logits, labels = case(6, 1100, spread=1e4)
    expected = torch.logsumexp(logits.double(), 1)
    found = row_exponentials(logits, labels)
    assert logits.isfinite().all()
    torch.testing.assert_close(
        found.reference.double() + found.sums.double().log(), expected, rtol=1e-7, atol=1e-6
    )


def test_what_is_no_number_is_not_hidden():
    logits, labels = case(3, 1100)
    logits[1, 700] = torch.nan
    assert row_exponentials(logits, labels).sums.isnan().tolist() == [False, True, False]


def test_columns_beyond_the_slab_are_left_alone():
    logits, labels = case(4, 2500)
    padded = torch.full((4, 2512), 7.0)
    padded[:, :2500] = logits
    row_exponentials(padded[:, :2500], labels)
    row_exponentials(logits, labels)
    assert (padded[:, 2500:] == 7).all()
    assert torch.equal(padded[:, :2500], logits)


def test_the_same_rows_give_the_same_bytes():
    logits, labels = case(3, 9001)
    twice = logits.clone()
    first, second = row_exponentials(logits, labels), row_exponentials(twice, labels)
    assert torch.equal(logits, twice)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_no_rows_give_no_numbers():
    found = row_exponentials(torch.empty(0, 5), torch.empty(0, dtype=torch.long))
    assert found.sums.shape == (0,)
    assert column_sums(torch.empty(0, 5), torch.empty(0)).tolist() == [0] * 5


def test_rows_with_gaps_are_an_error():
    with pytest.raises(KernelError, match="logits must have rows without gaps"):
        row_exponentials(torch.empty(5, 4).T, torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize(("rows", "vocab"), [(1, 1), (70, 3), (63, 200), (700, 129)])
def test_column_sums_are_those_of_float64(rows, vocab):
    draw = torch.Generator().manual_seed(rows)
    slab, scale = torch.rand(rows, vocab, generator=draw), torch.randn(rows, generator=draw)
    expected = (slab.double() * scale.double()[:, None]).sum(0)
    found = column_sums(slab, scale)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6 * rows)
    assert torch.equal(found, column_sums(slab, scale))
