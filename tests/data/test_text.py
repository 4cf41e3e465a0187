import gzip
from itertools import islice, pairwise

import pytest
from transformers import PreTrainedTokenizerFast

from alignmlm.data.text import RawSentence, from_words, split_sentences, words_of
from alignmlm.data.tokenizer import describe, encode, load_tokenizer, train_tokenizer
from alignmlm.errors import ConfigError, DataError

TEXTS = ["The cats didn't sit on 5,000 mats (or so). Were they red?!", "वह अच्छी हिन्दी है। क्या?",
         "هل هذا نص عربي؟ نعم، بلا شك.", "Naïve café — “quoted”… 😀 end."] * 20  # fmt: skip


def words(text: str) -> list[str]:
    sentence = words_of(text)
    bounds = [*sentence.word_starts, len(sentence.text)]
    return [sentence.text[a:b].strip() for a, b in pairwise(bounds)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 320)


def test_marks_at_the_edges_are_words_and_those_inside_are_not():
    assert words("(don't) go, well-known U.S. 5,000!") == [
        "(", "don't", ")", "go", ",", "well-known", "U.S", ".", "5,000", "!",
    ]  # fmt: skip


def test_hindi_vowel_signs_stay_with_their_letters():
    assert words("वह अच्छी हिन्दी है।") == ["वह", "अच्छी", "हिन्दी", "है", "।"]


def test_a_final_mark_is_a_word_apart_from_other_marks():
    assert words("He said (go).") == ["He", "said", "(", "go", ")", "."]


@pytest.mark.parametrize(
    ("language", "text", "count"),
    [
        ("eng", "Dr. Smith left. He ran.", 2),
        ("hin", "यह एक है। वह दो है।", 2),
        ("eng", "a\nb\n\nc", 3),
    ],
)
def test_sentences_end_where_a_reader_would_say(language, text, count):
    assert len(split_sentences(text, language)) == count


def test_text_is_composed_and_its_white_space_is_single():
    [sentence] = split_sentences("cafe\u0301   au\tlait", "fra")
    assert sentence.text == "caf\u00e9 au lait"


def test_given_words_are_joined_by_single_spaces():
    assert from_words(["Do", "n't", "go"]) == RawSentence("Do n't go", (0, 3, 7))


def test_a_trained_tokenizer_has_the_size_asked_for(tokenizer):
    vocabulary = describe(tokenizer)
    assert tokenizer.get_vocab_size() == vocabulary.size == 320
    assert len({vocabulary.bos, vocabulary.pad, vocabulary.eos, vocabulary.mask}) == 4


def test_fewer_tokens_than_bytes_are_refused():
    with pytest.raises(ConfigError, match="be at least 261"):
        train_tokenizer(TEXTS, 100)


@pytest.mark.parametrize("text", TEXTS[:4])
def test_tokens_start_a_word_where_the_text_does(tokenizer, text):
    for sentence in split_sentences(text, "eng"):
        [(ids, starts)] = encode(tokenizer, [sentence])
        assert starts.sum() == len(sentence.word_starts)
        first = [i for i, start in enumerate(starts) if start] + [len(ids)]
        spelled = [tokenizer.decode(ids[a:b].tolist()).strip() for a, b in pairwise(first)]
        assert spelled == words(sentence.text)


@pytest.mark.parametrize("text", TEXTS[:4])
def test_decoding_gives_the_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids).strip() == text


def test_final_marks_are_known_by_their_ids(tokenizer):
    final = describe(tokenizer).final
    assert tokenizer.token_to_id(".") in final
    assert tokenizer.token_to_id(",") not in final


def test_a_file_that_is_no_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json is no tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(DataError, match="no tokenizer at"):
        load_tokenizer(tmp_path / "none")


def test_real_text_is_tokenised_in_the_shards_as_everywhere_else(shared_data):
    file = shared_data / "corpora" / "en" / "wikipedia_en_2014.txt.gz"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        text = [line.strip() for line in islice(lines, 400) if line.strip()]
    tokenizer = train_tokenizer(text, 2000)
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    sentences = [sentence for line in text for sentence in split_sentences(line, "eng")]
    encoded = list(encode(tokenizer, sentences))
    assert len(encoded) == len(sentences) > 500
    for sentence, (ids, starts) in zip(sentences, encoded, strict=True):
        assert plain(sentence.text)["input_ids"] == ids.tolist()
        assert starts.sum() == len(sentence.word_starts)
