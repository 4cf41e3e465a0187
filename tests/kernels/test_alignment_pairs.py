"""What pairs may be, and what is prepared from them."""

from itertools import pairwise

import pytest
import torch
from alignmlm_kernels import KernelError, WordPairs
from alignmlm_kernels.alignment import AlignmentOptions, add_alignment_gradient, alignment_loss
from alignmlm_kernels.alignment.choice import pair_hashes
from jaxtyping import TypeCheckError

REFUSED = (KernelError, TypeCheckError)  # the signature may be quicker


def pairs(source, target, weights=None):
    sides = []
    for words in (source, target):
        sides.append(torch.tensor([token for word in words for token in word], dtype=torch.long))
        sides.append(torch.tensor([0, *(len(word) for word in words)]).cumsum(0))
    return WordPairs(*sides, None if weights is None else torch.tensor(weights))


def word(index, number):
    tokens = index.word_tokens[index.word_offsets[number] : index.word_offsets[number + 1]]
    return tuple(tokens.tolist())


def test_each_word_is_stored_once_whatever_the_order_of_its_tokens():
    index = pairs([[3], [2, 1], [3], [1, 2, 3]], [[1, 2], [3], [9], [1, 2]]).prepared
    words = [word(index, number) for number in range(len(index.word_codes))]
    assert words == [(3,), (9,), (1, 2), (1, 2, 3)]
    assert index.sources.tolist() == [0, 2, 0, 3] and index.targets.tolist() == [2, 0, 1, 2]


def test_partners_are_symmetric_and_keep_the_order_of_the_pairs():
    index = pairs([[3], [4], [3]], [[8], [8], [9]]).prepared
    bounds = index.partner_offsets.tolist()
    partners = [index.partners[slice(*ends)].tolist() for ends in pairwise(bounds)]
    assert partners == [[2, 3], [2], [0, 1], [0]]
    assert index.partner_pairs.tolist() == [0, 2, 1, 0, 1, 2]


def test_a_row_knows_its_words_and_their_shares():
    index = pairs([[3], [5, 5, 3]], [[8], [9]]).prepared
    assert index.rows.tolist() == [3, 5, 8, 9]
    assert index.row_words.tolist() == [0, 3, 3, 1, 2]
    assert index.row_shares.tolist() == pytest.approx([1, 1 / 3, 2 / 3, 1, 1])
    assert index.word_slots.tolist() == [-1, 2, 3, -2]  # token 3 is a word and part of another
    assert index.shared_places.tolist() == [0, 1]


def test_moving_pairs_keeps_the_index():
    first = pairs([[3], [4]], [[8], [9]], [1.0, 2.0])
    moved = first.to("cpu")
    assert moved.sizes == first.sizes
    assert all(torch.equal(*both) for both in zip(moved.prepared, first.prepared, strict=True))


@pytest.mark.parametrize(
    ("source", "offsets", "message"),
    [
        ([1, 2], [0, 2, 1], "from 0 to the 2 ids"),
        ([1, 2, 3], [0, 4, 3], "must rise"),
        ([1, 2], [0, 0, 2], "word 0 has no tokens"),
        ([1, 2], [1, 1, 2], "from 0 to"),
        ([-1, 2], [0, 1, 2], "must lie in [0, "),
        ([1, 2], [0, 2], "as many source as target"),
        ([1.0, 2.0], [0, 1, 2], "int32 or int64"),
    ],
)
def test_tensors_that_are_no_words_are_errors(source, offsets, message):
    target = torch.tensor([5, 6]), torch.tensor([0, 1, 2])
    with pytest.raises(REFUSED) as found:
        WordPairs(torch.tensor(source), torch.tensor(offsets), *target)
    assert isinstance(found.value, TypeCheckError) or message in str(found.value)


@pytest.mark.parametrize(
    "weights", [[-1.0, 2.0], [0.0, 0.0], [float("nan"), 1.0], [1.0], [float("inf"), 1.0]]
)
def test_weights_that_cannot_be_averaged_with_are_errors(weights):
    with pytest.raises(REFUSED):
        pairs([[1], [2]], [[3], [4]], weights)


def test_weights_that_float32_cannot_hold_are_errors():
    ids, offsets = torch.tensor([1, 2]), torch.arange(3)
    weights = torch.tensor([1e300, 1.0], dtype=torch.float64)
    with pytest.raises(KernelError, match="weights must be finite"):
        WordPairs(ids, offsets, ids + 2, offsets, weights)


def test_an_id_outside_the_vocabulary_is_an_error():
    with pytest.raises(KernelError, match=r"below the 9 rows of the embedding, found 9"):
        alignment_loss(torch.randn(9, 4), pairs([[1]], [[9]]))


def test_another_device_is_an_error():
    with pytest.raises(KernelError, match="share a device, found meta and cpu"):
        alignment_loss(torch.randn(9, 4, device="meta"), pairs([[1]], [[2]]))


def test_a_float64_embedding_cannot_go_to_triton():
    with pytest.raises(KernelError, match="no float64"):
        alignment_loss(torch.randn(9, 4).double(), pairs([[1]], [[2]]), impl="triton")


def test_a_buffer_that_does_not_fit_is_an_error():
    embedding, buffer = torch.randn(9, 4), torch.zeros(9, 4, dtype=torch.bfloat16)
    with pytest.raises(KernelError, match="embedding_grad must be"):
        add_alignment_gradient(embedding, pairs([[1]], [[2]]), buffer, AlignmentOptions())


@pytest.mark.parametrize(
    "setting",
    [
        {"share": 0.0},
        {"share": 1.5},
        {"margin": -1.0},
        {"temperature": 0.0},
        {"group_pairs": 1},
        {"impl": "triton", "distance": "infonce"},
    ],
)
def test_settings_outside_their_range_are_errors(setting):
    with pytest.raises(KernelError, match=next(iter(setting))):
        AlignmentOptions(**setting)


def exact_hash(*parts):
    """SplitMix64 in integers of any size."""
    folded = 0
    for part in parts:
        x = ((folded ^ part) + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        folded = x ^ (x >> 31)
    return folded - 2**64 if folded >= 2**63 else folded


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (1, 2), (2**40, 10**9)])
def test_hashes_are_those_of_exact_integers(seed, step):
    found = pair_hashes(3, seed, step, torch.device("cpu")).tolist()
    assert found == [exact_hash(seed, step, pair) for pair in range(3)]


def test_hashes_of_pairs_seeds_and_steps_differ():
    cpu = torch.device("cpu")
    every = torch.cat([pair_hashes(1000, seed, step, cpu) for seed in (0, 1) for step in (0, 1)])
    assert len(every.unique()) == 4000
    assert every.double().mean().abs() < 0.05 * 2**63
