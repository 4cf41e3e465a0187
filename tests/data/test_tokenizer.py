"""Tokenizers of other models, as they are loaded and used here."""

import unicodedata

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from alignmlm.data.text import from_words, words_of
from alignmlm.data.tokenizer import SPECIAL, encode, encode_words, load_tokenizer
from alignmlm.errors import DataError

TEXT = ["I don't know the dog.", "the dog runs", "know the dog or don't", "café fermé"]


@pytest.fixture
def of_roberta(tmp_path):
    """A tokenizer like RoBERTa's, whose words have other tokens at the start of a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return load_tokenizer(tmp_path)


def tokens_of_last_word(tokenizer, sentence):
    ((ids, starts),) = encode(tokenizer, [sentence])
    return tuple(ids[np.flatnonzero(starts)[-1] :].tolist())


@pytest.mark.parametrize("word", ["dog", "know", "runs"])
def test_a_word_alone_has_the_tokens_of_running_text(of_roberta, word):
    in_text = tokens_of_last_word(of_roberta, words_of(f"the {word}"))
    assert encode_words(of_roberta, [word]) == [in_text]
    assert tokens_of_last_word(of_roberta, words_of(word)) == in_text


def test_words_beside_a_given_word_that_has_no_token_of_its_own_keep_theirs(of_roberta):
    sentence = from_words(["I", "do", "n't", "know"], [False, False, True, False])
    in_text = tokens_of_last_word(of_roberta, words_of("I know"))
    assert tokens_of_last_word(of_roberta, sentence) == in_text


def test_a_word_is_composed_as_the_text_is(of_roberta):
    parted = unicodedata.normalize("NFD", "café")
    assert encode_words(of_roberta, [parted]) == encode_words(of_roberta, ["café"])


def test_pieces_within_a_word_get_no_space(of_roberta, tmp_path):
    of_roberta.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    of_roberta.save(str(tmp_path / "tokenizer.json"))
    pieces = load_tokenizer(tmp_path).encode("the dog 1984", add_special_tokens=False).tokens
    assert pieces[-4:] == ["1", "9", "8", "4"]


def test_a_sentence_whose_given_words_have_no_tokens_has_none():
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1}))
    tokenizer.normalizer = normalizers.BertNormalizer()  # removes what has no width
    sentences = [from_words(["\u200b", "\u200d"]), from_words(["the", "\u200b"])]
    found = [(ids.tolist(), starts.tolist()) for ids, starts in encode(tokenizer, sentences)]
    assert found == [([], []), ([1], [True])]


def test_text_that_a_tokenizer_has_no_token_for_is_an_error_that_says_so():
    tokenizer = Tokenizer(models.Unigram([("a", -1.0)]))
    with pytest.raises(DataError, match=r"no tokens for some text \(.*unk_id.*an unknown token"):
        list(encode(tokenizer, [words_of("b")]))
