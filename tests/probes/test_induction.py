"""Pairs induced from text: counts of neighbours, and what is induced from them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from alignmlm.languages.dictionary import Dictionary, from_pairs
from alignmlm.pretraining.assembly import assemble
from alignmlm.probes.induction import (
    FROM_EMBEDDINGS,
    WINDOW,
    Candidates,
    control_of,
    induce_from_embeddings,
    induce_from_text,
    neighbour_counts,
    pair_counts,
    without_control,
)

VOCABULARY, SPECIAL = 300, 5


def text_counts(seed: int, tokens: int = 200_000) -> csr_array:
    """Neighbour counts of text in which each word prefers some words after it."""
    words = VOCABULARY - SPECIAL
    preferred = np.random.default_rng(0).dirichlet(np.full(words, 0.1), size=words).cumsum(axis=1)
    draws, text = np.random.default_rng(seed).random(tokens), np.zeros(tokens, np.int64)
    for place in range(1, tokens):
        text[place] = np.searchsorted(preferred[text[place - 1]], draws[place]) % words
    text += SPECIAL
    special = np.arange(VOCABULARY) < SPECIAL
    counts = csr_array((VOCABULARY, VOCABULARY), dtype=np.int32)
    for distance in range(1, WINDOW + 1):
        counts += pair_counts(text[None, :-distance], text[None, distance:], special)
    return csr_array(counts + counts.T)


@pytest.fixture(scope="module")
def two_texts() -> tuple[csr_array, csr_array]:
    """Counts of two texts of one language that have no sentence in common."""
    return text_counts(1), text_counts(2)


def renamed(counts: csr_array, names: np.ndarray) -> csr_array:
    """The same counts of words with other ids."""
    coordinates = counts.tocoo()
    places = names[coordinates.row], names[coordinates.col]
    return csr_array((coordinates.data, places), shape=counts.shape)


def dictionaries(fraction: float):
    """Ids of the second language, the given pairs and the held-out ones."""
    random = np.random.default_rng(3)
    names = np.arange(VOCABULARY)
    names[SPECIAL:] = random.permutation(names[SPECIAL:])
    pairs = [((int(a),), (int(names[a]),)) for a in random.permutation(names[SPECIAL:])]
    cut = round(fraction * len(pairs))
    return names, from_pairs(pairs[:cut]), from_pairs(pairs[cut:])


@pytest.mark.parametrize("fraction", [0.5, 0.1])
def test_words_with_the_same_given_neighbours_are_paired(two_texts, fraction):
    names, given_pairs, held_out = dictionaries(fraction)
    induction = induce_from_text(two_texts[0], renamed(two_texts[1], names), given_pairs, held_out)
    pairs = set(induction.pairs.words())
    right = pairs & set(held_out.words())
    assert len(right) >= 0.95 * len(pairs)
    assert len(right) >= 0.8 * len(held_out)
    for side in (0, 1):
        assert not {pair[side] for pair in pairs} & {pair[side] for pair in given_pairs.words()}


def test_a_word_whose_given_partner_has_several_tokens_is_not_induced(two_texts):
    names, single, others = dictionaries(0.5)
    sides = [
        [(a, (*b, 7)) for a, b in others.words()[:40]],
        [((*a, 7), b) for a, b in others.words()[40:80]],
    ]
    given_pairs = from_pairs([*single.words(), *sides[0], *sides[1]])
    target = renamed(two_texts[1], names)
    pairs = induce_from_text(two_texts[0], target, given_pairs, from_pairs([])).pairs.words()
    assert len(pairs) > 20
    for side in (0, 1):
        assert not {pair[side] for pair in pairs} & {pair[side] for pair in given_pairs.words()}


def test_the_held_out_pairs_change_nothing_but_the_measures(two_texts):
    names, given_pairs, held_out = dictionaries(0.5)
    target = renamed(two_texts[1], names)
    told, untold = (
        induce_from_text(two_texts[0], target, given_pairs, known)
        for known in (held_out, from_pairs([]))
    )
    assert told.pairs.words() == untold.pairs.words()
    assert told.control == untold.control
    assert told.rounds[-1].known > untold.rounds[-1].known == 0


def test_nothing_is_induced_where_the_control_fails(two_texts):
    names, given_pairs, held_out = dictionaries(0.5)
    sources, targets = zip(*given_pairs.words(), strict=True)
    wrong = from_pairs(zip(sources, targets[1:] + targets[:1], strict=True))
    induction = induce_from_text(two_texts[0], renamed(two_texts[1], names), wrong, held_out)
    assert len(induction.pairs) == 0
    assert induction.control.right < induction.control.known


@pytest.mark.parametrize("pairs", [[], [((7,), (8,))], [((7, 9), (8,))]])
def test_too_few_given_pairs_induce_nothing(two_texts, pairs):
    assert len(induce_from_text(*two_texts, from_pairs(pairs), from_pairs([])).pairs) == 0


def rotated_languages(noise: float) -> torch.Tensor:
    """Embeddings of two languages, one a rotated, shifted and noisy copy of the other."""
    random = torch.Generator().manual_seed(0)
    words, width = VOCABULARY - SPECIAL, 32
    base = torch.randn(words, width, generator=random)
    turn = torch.linalg.qr(torch.randn(width, width, generator=random)).Q
    copy = base @ turn + 3 + noise * torch.randn(words, width, generator=random)
    special = torch.randn(SPECIAL, width, generator=random)
    return torch.cat([special, base, copy])


def their_pairs(fraction: float) -> tuple[Dictionary, Dictionary, Candidates]:
    """Given and held-out pairs of the rotated languages, and the words to induce pairs for."""
    pairs = [((a,), (a + VOCABULARY - SPECIAL,)) for a in range(SPECIAL, VOCABULARY)]
    chosen = np.random.default_rng(3).permutation(len(pairs))
    cut = round(fraction * len(pairs))
    used, held_out = (from_pairs(pairs[i] for i in part) for part in (chosen[:cut], chosen[cut:]))
    aside = control_of(used)
    sides = [np.append(held_out.single_tokens()[:, side], aside[:, side]) for side in (0, 1)]
    return used, held_out, (np.sort(sides[0]), np.sort(sides[1]))


def test_embeddings_that_differ_by_a_rotation_are_paired():
    used, held_out, words = their_pairs(0.5)
    induction = induce_from_embeddings(rotated_languages(noise=0.3), words, used, held_out)
    pairs = set(induction.pairs.words())
    assert len(pairs & set(held_out.words())) >= 0.9 * len(held_out)
    assert induction.control.right == induction.control.known == len(control_of(used))
    for side in (0, 1):
        assert not {pair[side] for pair in pairs} & {pair[side] for pair in used.words()}


def test_embeddings_that_differ_by_more_than_a_rotation_induce_nothing():
    used, held_out, words = their_pairs(0.5)
    noisy = rotated_languages(noise=30.0)
    assert len(induce_from_embeddings(noisy, words, used, held_out).pairs) == 0


def test_embeddings_induce_nothing_without_enough_words_of_the_control():
    used, held_out, words = their_pairs(0.2)
    assert len(control_of(used)) < FROM_EMBEDDINGS.least_known
    assert len(induce_from_embeddings(rotated_languages(0.0), words, used, held_out).pairs) == 0


def test_what_is_set_aside_and_what_is_not_make_up_the_given_pairs():
    used, _, _ = their_pairs(0.5)
    several = from_pairs([*used.words(), ((7, 8), (400,))])
    rest = without_control(several)
    aside = [((a,), (b,)) for a, b in control_of(several).tolist()]
    assert sorted([*rest.words(), *aside]) == several.words()
    assert ((7, 8), (400,)) in rest.words()
    assert len(aside) == 15


tokens = st.lists(st.lists(st.integers(0, 6), min_size=4, max_size=4), min_size=1, max_size=5)


@given(tokens)
def test_neighbours_are_counted_one_by_one(rows):
    ids, special = np.array(rows), np.arange(7) < 2
    expected = np.zeros((7, 7), np.int64)
    for left, right in zip(ids[:, :-1].ravel(), ids[:, 1:].ravel(), strict=True):
        expected[left, right] += left >= 2 and right >= 2
    counted = pair_counts(ids[:, :-1], ids[:, 1:], special)
    assert np.array_equal(counted.toarray(), expected)
    backwards = ids[:, ::-1]
    reverse = pair_counts(backwards[:, :-1], backwards[:, 1:], special)
    assert np.array_equal((counted + counted.T).toarray(), (reverse + reverse.T).toarray())


def test_counts_of_a_language_are_of_its_own_script_and_do_not_exceed_the_text(small_recipe):
    loader = assemble(small_recipe()).loader
    whole, part = (neighbour_counts(loader, 1, tokens, seed=0) for tokens in (10**9, 100))
    assert set(np.unique(whole.nonzero()[0])) <= set(loader.lexicon.tables[1].tolist())
    assert (whole != whole.T).nnz == 0
    assert 0 < part.sum() <= 2 * WINDOW * 4 * loader.payload_tokens < whole.sum()
