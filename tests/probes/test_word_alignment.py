import torch

from alignmlm.probes.word_alignment import agreeing_links, error_rate_percent


def test_equal_states_are_aligned_without_error():
    states = torch.eye(6)
    assert error_rate_percent(states, states, [2, 4]) == 0


def test_swapped_words_count_as_errors():
    states = torch.eye(4)
    swapped = states[[1, 0, 2, 3]]
    assert agreeing_links(states, swapped) == (4, 2)
    assert error_rate_percent(states, swapped, [4]) == 50


def test_links_never_cross_sentences():
    states = torch.eye(4)
    shifted = states[[2, 3, 0, 1]]  # each word's equal lies in the other sentence
    proposed, right = agreeing_links(states[:2], shifted[:2])
    assert proposed <= 2 and right <= 1


def test_a_word_that_is_nobodys_nearest_is_not_linked():
    source = torch.tensor([[1.0, 0.0], [1.0, 0.1]])
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert agreeing_links(source, target) == (1, 1)
    assert agreeing_links(source, target[:1].expand(2, 2)) == (1, 1)
