import numpy as np
import pytest
import torch

from alignmlm.data.tokenizer import encode_words, train_tokenizer
from alignmlm.errors import DataError
from alignmlm.languages.dictionary import file_words, from_pairs
from alignmlm.probes.words import (
    WordProbe,
    file_probe,
    frequency_bands,
    frequency_ranks,
    questions,
    retrieval_percent,
    swapped,
    word_metrics,
    word_probe,
)

SIZE = 30
PAIRS = from_pairs([((i,), (i + SIZE,)) for i in range(SIZE)])


def embedding(noise: float = 0.0) -> torch.Tensor:
    """Two halves that are equal but for noise."""
    source = torch.Generator().manual_seed(0)
    half = torch.randn(SIZE, 12, generator=source)
    return torch.cat([half, half + noise * torch.randn(SIZE, 12, generator=source)])


def test_the_papers_number_is_forward_precision_at_one():
    vectors, probe = embedding(1.5), word_probe(PAIRS, PAIRS)
    found = word_metrics(vectors, probe)
    assert found["forward/cosine_p1_percent"] == retrieval_percent(vectors, questions(PAIRS, PAIRS))
    one, two = (half / half.norm(dim=1, keepdim=True) for half in vectors.double().split(SIZE))
    right = (one @ two.T).argmax(dim=1) == torch.arange(SIZE)
    assert 0 < found["forward/cosine_p1_percent"] < 100
    assert found["forward/cosine_p1_percent"] == pytest.approx(100 * float(right.double().mean()))


def test_backward_is_forward_of_the_swapped_dictionary():
    vectors = embedding(1.5)
    found = word_metrics(vectors, word_probe(PAIRS, PAIRS))
    turned = word_metrics(vectors, word_probe(swapped(PAIRS), swapped(PAIRS)))
    for key, value in found.items():
        way, measure = key.split("/")
        other = {"forward": "backward", "backward": "forward"}[way]
        assert value == turned[f"{other}/{measure}"]


def test_held_out_words_are_asked_among_all_words():
    held_out = from_pairs(PAIRS.words()[:4])
    probe = word_probe(held_out, PAIRS)
    assert len(probe.forward.candidates) == len(probe.backward.candidates) == SIZE
    found = word_metrics(embedding(), probe)
    assert found["forward/words"] == found["backward/words"] == 4
    assert found["forward/csls_p1_percent"] == found["backward/cosine_p1_percent"] == 100


def test_nothing_asked_is_an_empty_dict():
    assert word_metrics(embedding(), word_probe(from_pairs([]), PAIRS)) == {}


def test_csls_of_a_pool_of_all_words_is_that_without_a_limit_and_none_is_left_out():
    vectors, probe = embedding(1.5), word_probe(PAIRS, PAIRS)
    assert word_metrics(vectors, probe, SIZE) == word_metrics(vectors, probe)
    without = word_metrics(vectors, probe, 0)
    assert not any("csls" in key for key in without)
    assert without.items() <= word_metrics(vectors, probe).items()


def test_frequency_ranks_follow_counts_and_keep_the_order_of_equals():
    assert frequency_ranks(np.array([5, 9, 5, 0, 12])).tolist() == [3, 2, 4, 5, 1]


def test_bands_part_the_words():
    counts = np.array([50, 40, 30, 20, 10, 0, 0])
    bands = frequency_bands(counts, edges=(2, 4))
    assert {name: np.flatnonzero(inside).tolist() for name, inside in bands.items()} == {
        "rank_1_2": [0, 1], "rank_3_4": [2, 3], "rank_5_up": [4], "unseen": [5, 6],
    }  # fmt: skip
    assert (np.stack(list(bands.values())).sum(axis=0) == 1).all()


def test_bands_rank_the_words_asked_among_all_words_and_add_up():
    vectors = embedding()
    vectors[SIZE + 3] = -vectors[3]  # the word of rank 4 is lost
    counts = ({(i,): 100 - i for i in range(SIZE - 1)}, {(i + SIZE,): 7 for i in range(SIZE)})
    probe = word_probe(from_pairs(PAIRS.words()[2:]), PAIRS)
    found = word_metrics(vectors, probe, 0, counts)
    assert found["forward/rank_1_1000/words"] == SIZE - 3
    assert found["forward/unseen/words"] == 1
    assert found["forward/rank_1_1000/cosine_p1_percent"] == pytest.approx(
        100 * (1 - 1 / (SIZE - 3))
    )
    assert found["forward/unseen/cosine_p1_percent"] == 100
    assert found["backward/rank_1_1000/words"] == SIZE - 2
    assert "forward/rank_1001_5000/cosine_p1_percent" not in found


def test_a_limit_holds_both_ways():
    probe = word_probe(PAIRS, PAIRS, limit=5)
    assert len(probe.forward.sources) == len(probe.backward.sources) == 5


def test_vectors_in_half_precision_are_compared_in_float32():
    found = word_metrics(embedding(0.1).to(torch.bfloat16), word_probe(PAIRS, PAIRS))
    assert found["forward/cosine_p1_percent"] == 100


@pytest.fixture
def muse(shared_data) -> WordProbe:
    """The 1,500 words that MUSE keeps for tests, among all words of both parts."""
    asked, every = (shared_data / "muse" / f"en-fr.{part}.txt" for part in ("5000-6500", "0-5000"))
    tokenizer = train_tokenizer([" ".join(words) for words in file_words(every)], 2000)

    def target(words: list[str]) -> list[tuple[int, ...]]:
        return [tuple(2000 + i for i in ids) for ids in encode_words(tokenizer, words)]

    return file_probe(asked, every, lambda words: encode_words(tokenizer, words), target)


def test_muse_is_asked_both_ways_with_all_translations(muse):
    assert len(muse.forward.sources) == 1500
    assert sum(map(len, muse.forward.answers)) > 2500
    assert len(muse.forward.candidates) > 10_000


def test_bilingual_lexicon_induction_from_equal_spelling_alone(muse):
    """With both languages' tokens equal, words that are spelled alike translate each other."""
    half = torch.randn(2000, 32, generator=torch.Generator().manual_seed(0))
    found = word_metrics(torch.cat([half, half]), muse, 500)
    assert 10 < found["forward/cosine_p1_percent"] < 60
    assert found["forward/cosine_p1_percent"] < found["forward/cosine_p5_percent"]
    assert found["backward/cosine_p1_percent"] > 5


def test_a_file_that_is_no_dictionary_is_named(tmp_path):
    (tmp_path / "bad.txt").write_text("one two three\n", encoding="utf-8")
    path = tmp_path / "bad.txt"
    with pytest.raises(DataError, match=r"bad\.txt:1"):
        file_probe(path, path, lambda words: [(1,)] * len(words), lambda words: [(2,)] * len(words))
