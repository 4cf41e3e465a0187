import logging

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.evaluated_model import open_export
from alignmlm.evaluation.examples.rendering import (
    IGNORED,
    Trees,
    gold_trees,
    renderer_of,
    reorderer_of,
)
from alignmlm.evaluation.examples.token_classification import numbered, sentence_rows
from alignmlm.evaluation.examples.words import tokens_of_words
from alignmlm.evaluation.settings import SyntaxConfig
from alignmlm.tasks.examples import LabelledSentence
from tests.evaluation.conftest import LANGUAGES, write_export
from tests.toys import conllu, read_sentences

BASE, DERIVED = LANGUAGES
TOOLS = SyntaxConfig(), Trees()
TAGS = ["DET", "NOUN", "VERB", "PUNCT"]
SENTENCE = "the/DET zyxwvu/NOUN drofa/VERB +./PUNCT"


def in_language_of(export, language, text, tools=TOOLS):
    renderer = renderer_of(export, language, reorderer_of(export, language, *tools))
    return sentence_rows(text, renderer, export.seq_len)


@pytest.fixture
def rendered(tmp_path, export):
    tokenizer = load_tokenizer(export.path)

    def in_language(sentence: str, language: str):
        path = tmp_path / "one.conllu"
        path.write_text(conllu([sentence]), encoding="utf-8")
        sentences = read_sentences(path)
        text = numbered(sentences, tokenizer, export.vocabulary, TAGS)
        found = in_language_of(export, language, text)
        (example,) = found.examples
        return example, found.counts["words_cut_off"]

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
    found = tokens_of_words(tokenizer, read_sentences(path), export.vocabulary.unk)
    return [tokenizer.decode(list(word)) for word in found[0]]


def test_a_word_has_the_tokens_of_running_text(tmp_path, export):
    assert words_of(tmp_path, export, SENTENCE) == [" the", " zyxwvu", " drofa", "."]


def test_words_that_share_a_token_in_running_text_are_tokenised_on_their_own(tmp_path, export):
    assert words_of(tmp_path, export, "do/AUX +n't/PART go/VERB") == [" do", " n't", " go"]


def test_a_word_without_tokens_becomes_the_unknown_token(tmp_path, export):
    found = words_of(tmp_path, export, "the/DET \u00a0/X")
    assert len(found) == 2


ENTITY_TAGS = ["B-PER", "I-PER", "O"]


def entities(export, language: str, words: str, labels: str):
    """Tags of the words in a language, and the counts of what happened."""
    forms, tags = tuple(words.split()), tuple(labels.split())
    joined = tuple(word == "." for word in forms)
    tokenizer = load_tokenizer(export.path)
    sentences = [LabelledSentence(forms, tags, joined)]
    text = numbered(sentences, tokenizer, export.vocabulary, ENTITY_TAGS, entities=True)
    rendered = in_language_of(export, language, text)
    (example,) = rendered.examples
    return [ENTITY_TAGS[n] for n in example.labels if n != IGNORED], rendered.counts


def test_entities_of_an_inverted_sentence_are_tagged_anew(export):
    labels, counts = entities(export, DERIVED, "the dofor mima .", "O B-PER I-PER O")
    assert labels == ["B-PER", "I-PER", "O", "O"]
    assert (counts["spans"], counts["spans_torn"]) == (1, 0)


def test_an_entity_with_the_final_mark_is_torn_and_counted(export):
    labels, counts = entities(export, DERIVED, "the dofor mima .", "O B-PER I-PER I-PER")
    assert labels == ["B-PER", "I-PER", "O", "B-PER"]
    assert (counts["spans"], counts["spans_torn"], counts["spans_after"]) == (1, 1, 2)


OTHERS = ["qaa-Latn", "qaa-Latn-x-rep100", "qaa-Latn-x-syn-fra"]


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A model with random words and with a syntax order."""
    folder = tmp_path_factory.mktemp("others") / "export"
    return open_export(write_export(folder, OTHERS))


def rendered_words(export, language: str, sentence: LabelledSentence, tools=TOOLS):
    tokenizer = load_tokenizer(export.path)
    names = sorted(set(sentence.labels))
    text = numbered([sentence], tokenizer, export.vocabulary, names)
    rendered = in_language_of(export, language, text, tools)
    return rendered, names


SENTENCE_OF_FOUR = LabelledSentence(
    ("the", "dofor", "mima", "."), ("DET", "NOUN", "VERB", "PUNCT"), (False, False, False, True)
)


def test_random_words_keep_their_labels_and_lengths(others):
    (base,), (changed,) = (
        rendered_words(others, language, SENTENCE_OF_FOUR)[0].examples for language in OTHERS[:2]
    )
    assert changed.labels == base.labels
    same = np.array(changed.input_ids) == np.array(base.input_ids)
    assert same[[0, -2, -1]].all()
    assert not same[1:-2].all()


TREE = "\n".join(
    "\t".join([str(i), word, "_", tag, "_", "_", head, relation, "_", "_"])
    for i, (word, tag, head, relation) in enumerate(
        [("the", "DET", "2", "det"), ("dofor", "NOUN", "3", "nsubj"), ("mima", "VERB", "0", "root"),
         (".", "PUNCT", "3", "punct")], start=1)
)  # fmt: skip


@pytest.fixture
def syntax(tmp_path):
    """Models that put a determiner behind its noun and a subject behind its verb."""
    for kind, names in (("N", "@NOUN&@_DET&det"), ("V", "@VERB&@_NOUN&nsubj")):
        (tmp_path / f"fra@{kind}.orm").write_text(f"PRE_{names} 80\n", encoding="utf-8")
    return SyntaxConfig(models=str(tmp_path))


def tags_in_syntax(export, syntax, trees):
    rendered, names = rendered_words(export, OTHERS[2], SENTENCE_OF_FOUR, (syntax, trees))
    (example,) = rendered.examples
    return [names[n] for n in example.labels if n != IGNORED], rendered.counts


def test_a_syntax_language_uses_the_gold_tree_of_a_sentence(others, syntax, tmp_path):
    (tmp_path / "gold.conllu").write_text(f"{TREE}\n\n", encoding="utf-8")
    tags, counts = tags_in_syntax(others, syntax, Trees(gold_trees([tmp_path / "gold.conllu"])))
    assert tags == ["VERB", "NOUN", "DET", "PUNCT"]
    assert counts["trees_gold"] == 1


def test_a_sentence_without_a_gold_tree_is_parsed_once(others, syntax):
    asked = []

    def parse(sentences):
        asked.extend(sentences)
        return [f"{TREE}\n\n" for _ in sentences]

    trees = Trees(parse=parse)
    for _ in range(2):
        tags, counts = tags_in_syntax(others, syntax, trees)
        assert (tags, counts["trees_parsed"]) == (["VERB", "NOUN", "DET", "PUNCT"], 1)
    assert asked == [list(SENTENCE_OF_FOUR.words)]


def test_a_sentence_that_a_parser_leaves_out_keeps_its_order_and_is_counted(others, syntax):
    tags, counts = tags_in_syntax(others, syntax, Trees(parse=lambda sentences: [None]))
    assert (tags, counts["trees_missing"]) == (["DET", "NOUN", "VERB", "PUNCT"], 1)


def test_a_syntax_language_without_models_or_trees_is_an_error(others, syntax):
    with pytest.raises(ConfigError, match=r"evaluation\.syntax\.models"):
        tags_in_syntax(others, SyntaxConfig(), Trees())
    with pytest.raises(ConfigError, match="has no gold tree"):
        tags_in_syntax(others, syntax, Trees())


def test_a_word_that_a_tokenizer_has_no_token_for_is_an_error_that_says_so():
    sentence = LabelledSentence(("b",), ("NOUN",), (False,))
    with pytest.raises(DataError, match="the tokenizer has no tokens for some text"):
        tokens_of_words(Tokenizer(models.Unigram([("a", -1.0)])), [sentence], 0)
