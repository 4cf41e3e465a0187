import logging

import pytest

from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import ConfigError
from alignmlm.evaluation.forms import read_sentences
from alignmlm.evaluation.labelled import IGNORED, examples_in, numbered, tokens_of_words
from tests.evaluation.conftest import LANGUAGES, conllu

BASE, DERIVED = LANGUAGES
TAGS = ["DET", "NOUN", "VERB", "PUNCT"]
SENTENCE = "the/DET zyxwvu/NOUN drofa/VERB +./PUNCT"


@pytest.fixture
def rendered(tmp_path, export):
    tokenizer = load_tokenizer(export.path)

    def in_language(sentence: str, language: str):
        path = tmp_path / "one.conllu"
        path.write_text(conllu([sentence]), encoding="utf-8")
        sentences = read_sentences(path, "conllu_upos")
        text = numbered(sentences, tokenizer, export.vocabulary, TAGS)
        (example,), cut = examples_in(export, language, text)
        return example, cut

    return in_language


def scored(example) -> list[str]:
    return [TAGS[label] for label in example.labels if label != IGNORED]


def test_labels_travel_with_their_words_under_inversion(rendered):
    assert scored(rendered(SENTENCE, BASE)[0]) == ["DET", "NOUN", "VERB", "PUNCT"]
    assert scored(rendered(SENTENCE, DERIVED)[0]) == ["VERB", "NOUN", "DET", "PUNCT"]


def test_each_label_stands_at_the_same_token_in_every_language(rendered, export):
    base, derived = rendered(SENTENCE, BASE)[0], rendered(SENTENCE, DERIVED)[0]
    size = export.vocabulary.size
    places = [
        {(token % size, label) for token, label in zip(e.input_ids, e.labels, strict=True)}
        for e in (base, derived)
    ]
    assert places[0] == places[1]


def test_ids_of_a_derived_language_lie_in_its_own_block(rendered, export):
    bos, *inside, eos = rendered(SENTENCE, DERIVED)[0].input_ids
    assert (bos, eos) == (export.vocabulary.bos, export.vocabulary.eos)
    size = export.vocabulary.size
    assert all(size <= token < 2 * size for token in inside)


def test_only_the_first_token_of_a_word_carries_its_label(rendered):
    example, _ = rendered("zyxwvu/NOUN", BASE)
    assert len(example.input_ids) > 3
    assert example.labels[1] == TAGS.index("NOUN")
    assert set(example.labels[2:]) == {example.labels[0]} == {IGNORED}


def test_words_beyond_the_longest_row_are_counted_and_logged(rendered, export, caplog):
    with caplog.at_level(logging.WARNING):
        example, cut = rendered(" ".join(["the/DET"] * 30), BASE)
    assert len(example.input_ids) == export.seq_len
    assert cut == 30 - len(scored(example)) == 8
    assert "8 of 30 words" in caplog.text


def test_an_example_knows_its_language(rendered):
    assert [rendered(SENTENCE, language)[0].language for language in LANGUAGES] == [0, 1]


def test_a_language_that_the_model_lacks_names_the_nearest(rendered):
    with pytest.raises(ConfigError, match="did you mean 'qaa-Latn-x-inv-trans'"):
        rendered(SENTENCE, "qaa-Latn-x-inf-trans")


def words_of(tmp_path, export, sentence: str) -> list[str]:
    tokenizer = load_tokenizer(export.path)
    path = tmp_path / "words.conllu"
    path.write_text(conllu([sentence]), encoding="utf-8")
    found = tokens_of_words(tokenizer, read_sentences(path, "conllu_upos"), export.vocabulary.unk)
    return [tokenizer.decode(list(word)) for word in found[0]]


def test_a_word_has_the_tokens_of_running_text(tmp_path, export):
    assert words_of(tmp_path, export, SENTENCE) == [" the", " zyxwvu", " drofa", "."]


def test_words_that_share_a_token_in_running_text_are_tokenised_on_their_own(tmp_path, export):
    assert words_of(tmp_path, export, "do/AUX +n't/PART go/VERB") == [" do", " n't", " go"]


def test_a_word_without_tokens_becomes_the_unknown_token(tmp_path, export):
    found = words_of(tmp_path, export, "the/DET \u00a0/X")
    assert len(found) == 2
