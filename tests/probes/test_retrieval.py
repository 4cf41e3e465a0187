import torch

from alignmlm.languages.dictionary import from_pairs
from alignmlm.probes.words import questions, retrieval_percent, word_pairs

SIZE = 20
PAIRS = from_pairs([((i,), (i + SIZE,)) for i in range(SIZE)])


def two_halves(second: torch.Tensor | None = None) -> torch.Tensor:
    first = torch.randn(SIZE, 8, generator=torch.Generator().manual_seed(0))
    return torch.cat([first, first if second is None else second])


def test_equal_halves_are_fully_aligned():
    assert retrieval_percent(two_halves(), questions(PAIRS, PAIRS)) == 100


def test_length_does_not_matter_to_alignment():
    embedding = two_halves()
    embedding[SIZE:] *= 7
    assert retrieval_percent(embedding, questions(PAIRS, PAIRS)) == 100


def test_a_half_moved_by_one_is_not_aligned_at_all():
    embedding = two_halves(two_halves()[:SIZE].roll(1, dims=0))
    assert retrieval_percent(embedding, questions(PAIRS, PAIRS)) == 0


def test_all_target_words_are_candidates_though_few_are_asked():
    asked = from_pairs(PAIRS.words()[:3])
    found = questions(asked, PAIRS)
    assert (len(found.sources), len(found.candidates)) == (3, SIZE)


def test_any_of_several_translations_is_right():
    both = from_pairs([((0,), (SIZE,)), ((0,), (SIZE + 1,)), ((1,), (SIZE + 2,))])
    embedding = two_halves()
    embedding[SIZE + 1], embedding[SIZE] = embedding[0].clone(), -embedding[0]
    embedding[SIZE + 2] = embedding[1]
    assert retrieval_percent(embedding, questions(both, both)) == 100


def test_a_word_of_several_tokens_is_their_mean():
    pairs = from_pairs([((0, 1), (SIZE,)), ((2,), (SIZE + 1,))])
    embedding = two_halves()
    embedding[SIZE] = (embedding[0] + embedding[1]) / 2
    embedding[SIZE + 1] = embedding[2]
    assert retrieval_percent(embedding, questions(pairs, pairs)) == 100


def test_a_limit_spreads_the_questions_over_the_dictionary():
    found = questions(PAIRS, PAIRS, limit=5).sources
    assert (len(found), found[0], found[-1]) == (5, (0,), (SIZE - 1,))


def test_nothing_asked_is_nothing_measured():
    empty = from_pairs([])
    assert retrieval_percent(two_halves(), questions(empty, PAIRS)) is None


def test_a_dictionary_becomes_tensors_with_the_same_words():
    pairs = word_pairs(from_pairs([((0, 1), (5,)), ((2,), (6, 7, 8))]))
    assert pairs.source_offsets.tolist() == [0, 2, 3]
    assert pairs.target_ids.tolist() == [5, 6, 7, 8]
