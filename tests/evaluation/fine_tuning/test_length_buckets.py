import numpy as np
import pytest

from alignmlm.evaluation.fine_tuning.batches import LENGTH_STEP, LengthBuckets

LENGTHS = np.random.default_rng(0).integers(3, 90, 500).tolist()


def steps_of(row):
    return -(-LENGTHS[row] // LENGTH_STEP)


@pytest.mark.parametrize("equal_tokens", [True, False])
def test_an_epoch_has_every_row_once_in_batches_of_one_padded_length(equal_tokens):
    buckets = LengthBuckets(LENGTHS, 32, 0, equal_tokens)
    batches = list(buckets)
    assert len(batches) == len(buckets)
    assert sorted(row for batch in batches for row in batch) == list(range(500))
    for batch in batches:
        assert len({steps_of(row) for row in batch}) == 1


def test_batches_have_equal_tokens_or_equal_rows():
    for equal_tokens in (True, False):
        batches = list(LengthBuckets([8, 16, 32, 64] * 64, 32, 0, equal_tokens))
        sizes = [len(batch) for batch in batches]
        assert len(batches) == 8
        assert set(sizes) == ({16, 32, 64} if equal_tokens else {32})


def test_epochs_and_seeds_differ_but_not_their_shapes_and_a_seed_repeats_them():
    def epochs(seed):
        buckets = LengthBuckets(LENGTHS, 32, seed, equal_tokens=True)
        return list(buckets), list(buckets)

    def shapes(batches):
        return sorted((len(batch), steps_of(batch[0])) for batch in batches)

    first, second = epochs(0)
    assert (first, second) == epochs(0)
    assert first != second
    assert first != epochs(1)[0]
    assert shapes(first) == shapes(second) == shapes(epochs(1)[0])


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_no_batch_is_empty_whatever_their_size(rows):
    batches = list(LengthBuckets([5, 400, 6, 7], rows, 0, equal_tokens=True))
    assert all(batches)
    assert sorted(row for batch in batches for row in batch) == [0, 1, 2, 3]
