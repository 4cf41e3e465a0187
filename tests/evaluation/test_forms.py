import gzip

import pytest

from alignmlm.errors import DataError
from alignmlm.evaluation.forms import label_names, read_sentences
from tests.evaluation.conftest import conllu

CONTRACTION = "\n".join(
    "\t".join([number, form, "_", tag, *"_____", misc])
    for number, form, tag, misc in [
        ("1-2", "don't", "_", "SpaceAfter=No"),
        ("1", "do", "AUX", "_"),
        ("2", "n't", "PART", "_"),
        ("3", "!", "PUNCT", "_"),
        ("3.1", "go", "VERB", "_"),
        ("4-5", "du", "_", "_"),
        ("4", "de", "ADP", "_"),
        ("5", "le", "DET", "_"),
    ]
)


def written(tmp_path, text):
    path = tmp_path / "some.conllu"
    path.write_text(text, encoding="utf-8")
    return path


def test_words_and_tags_come_in_the_order_of_the_file(tmp_path):
    path = written(tmp_path, "# a comment\n" + conllu(["the/DET dog/NOUN +./PUNCT", "go/VERB"]))
    first, second = read_sentences(path, "conllu_upos")
    assert (first.words, first.labels) == (("the", "dog", "."), ("DET", "NOUN", "PUNCT"))
    assert (second.words, second.labels) == (("go",), ("VERB",))


def test_a_word_knows_whether_a_space_stands_before_it(tmp_path):
    (sentence,) = read_sentences(written(tmp_path, conllu(["a/DET b/X +./PUNCT"])), "conllu_upos")
    assert sentence.joined == (False, False, True)


def test_parts_of_a_contraction_are_joined_where_they_spell_it(tmp_path):
    (sentence,) = read_sentences(written(tmp_path, CONTRACTION), "conllu_upos")
    assert sentence.words == ("do", "n't", "!", "de", "le")
    assert sentence.joined == (False, True, True, False, False)


def test_a_gzip_file_reads_like_a_plain_one(tmp_path):
    path = tmp_path / "some.conllu.gz"
    path.write_bytes(gzip.compress(conllu(["go/VERB"]).encode()))
    assert read_sentences(path, "conllu_upos")[0].words == ("go",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (conllu(["the/DET dog/_"]), r":2: word 'dog' has no part of speech"),
        ("1\tdog\n", r":1: a CoNLL-U line has 10 columns"),
        (conllu(["go/VERB"]).replace("1\t", "one\t", 1), r"a word id is no number"),
        ("\n", "has no sentences"),
    ],
)
def test_a_wrong_file_says_where_it_is_wrong(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_sentences(written(tmp_path, text), "conllu_upos")


def test_a_cut_gzip_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "cut.conllu.gz"
    path.write_bytes(gzip.compress(conllu(["go/VERB"] * 50).encode())[:-12])
    with pytest.raises(DataError, match="not a whole gzip file"):
        read_sentences(path, "conllu_upos")


def test_a_label_that_train_lacks_is_an_error_that_names_the_split(tmp_path):
    train = read_sentences(written(tmp_path, conllu(["a/DET"])), "conllu_upos")
    test = read_sentences(written(tmp_path, conllu(["a/DET go/VERB"])), "conllu_upos")
    with pytest.raises(DataError, match=r"test has labels that train lacks: \['VERB'\]"):
        label_names(train, {"test": test})
