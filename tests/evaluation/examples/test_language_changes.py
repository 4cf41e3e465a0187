"""Language changes on all of UD_English-EWT, PAN-X English and the questions of XQuAD."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import xxhash

from alignmlm.corpus.sources import expand_path
from alignmlm.data.text import normalise
from alignmlm.data.tokenizer import describe, train_tokenizer
from alignmlm.evaluation.examples.preview import moved_entity_sentence, moved_sentence
from alignmlm.evaluation.examples.question_answering import (
    numbered_questions,
    question_rows,
    question_text,
)
from alignmlm.evaluation.examples.rendering import (
    Renderer,
    Reorderer,
    Trees,
    gold_trees,
    syntax_models,
)
from alignmlm.evaluation.examples.token_classification import numbered
from alignmlm.evaluation.examples.words import tokens_of_words
from alignmlm.evaluation.settings import SyntaxConfig
from alignmlm.languages.orders import FINAL_MARKS, word_order
from alignmlm.languages.sentences import from_words
from alignmlm.tasks.formats import read_split
from alignmlm.tasks.spans import moved_spans, spans_of, tags_of
from alignmlm.tasks.task import SPLITS, load_task

ORDERS = ("inv", "noise3", "perm")


def word_ids(words) -> list[tuple[int, ...]]:
    """A token a word, the same for the same word; sentence-final marks have the ids below 9."""
    marks = sorted(FINAL_MARKS)
    return [
        (marks.index(word),)
        if word in marks
        else (9 + xxhash.xxh32_intdigest(word.encode()) % 2**24,)
        for word in words
    ]


def orders_of(sentences, order: str) -> list[np.ndarray]:
    """The order of the words of each sentence, all made at once."""
    lengths = [len(sentence.words) for sentence in sentences]
    tokens = word_ids([word for sentence in sentences for word in sentence.words])
    text = from_words([list(word) for word in tokens], lengths)
    found = word_order(text, order, 0, np.arange(len(FINAL_MARKS)))
    starts = np.cumsum([0, *lengths[:-1]])
    parts = np.split(found, starts[1:])
    return [part - start for part, start in zip(parts, starts, strict=True)]


def opens_with_a_mark(sentence) -> bool:
    """Whether the mark that closes an inverted sentence was not its last word before.

    Such a sentence is the one kind that does not come back from two inversions.
    """
    marks = [set(word) <= FINAL_MARKS and word in FINAL_MARKS for word in sentence.words]
    return marks[0] and not marks[-1]


def examples_of(name: str):
    task = load_task(name)
    return [
        e for split in SPLITS if split in task.files for e in read_split(task.split(split)).examples
    ]


@pytest.fixture(scope="module")
def treebank(module_data):
    return examples_of("ewt_pos")


@pytest.fixture(scope="module")
def entities(module_data):
    return examples_of("panx_eng")


@pytest.fixture(scope="module")
def module_data():
    if not expand_path("$ALIGNMLM_DATA").is_dir():
        pytest.skip("NO REAL DATA: set ALIGNMLM_DATA")


@pytest.mark.slow
def test_every_sentence_of_ewt_keeps_each_label_at_its_word(treebank):
    assert len(treebank) == 16_622
    for name in ORDERS:
        for sentence, order in zip(treebank, orders_of(treebank, name), strict=True):
            moved = moved_sentence(sentence, order)
            pairs = Counter(zip(sentence.words, sentence.labels, strict=True))
            assert Counter(zip(moved.words, moved.labels, strict=True)) == pairs
            assert moved_sentence(moved, np.argsort(order)) == sentence


@pytest.mark.slow
def test_every_sentence_of_ewt_comes_back_when_it_is_inverted_twice(treebank):
    once = list(map(moved_sentence, treebank, orders_of(treebank, "inv")))
    twice = list(map(moved_sentence, once, orders_of(once, "inv")))
    changed = [old for old, new in zip(treebank, twice, strict=True) if old != new]
    assert changed == list(filter(opens_with_a_mark, treebank))
    assert len(changed) == 1


def is_valid_bio(labels) -> bool:
    return labels[0][0] != "I" and all(
        label[0] != "I" or before[2:] == label[2:] for before, label in pairwise(labels)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "torn", "after"),
    [("inv", 44, 56_079), ("noise3", 14_682, 71_623), ("perm", 26_002, 90_366)],
)
def test_every_sentence_of_panx_has_valid_tags_in_any_order(entities, name, torn, after):
    assert len(entities) == 40_000
    counts: Counter[str] = Counter()
    for sentence, order in zip(entities, orders_of(entities, name), strict=True):
        moved, found = moved_entity_sentence(sentence, order)
        counts.update(found.counts())
        assert is_valid_bio(moved.labels)
        assert [tag[2:] for tag in moved.labels] == [sentence.labels[i][2:] for i in order]
        back = moved_spans(moved_spans(spans_of(sentence.labels), order), np.argsort(order))
        assert tags_of(back) == sentence.labels
    assert counts["spans"] == 56_035
    assert (counts["spans_torn"], counts["spans_after"]) == (torn, after)


@pytest.mark.slow
def test_only_torn_sentences_of_panx_do_not_come_back_from_two_inversions(entities):
    found = list(map(moved_entity_sentence, entities, orders_of(entities, "inv")))
    once = [sentence for sentence, _ in found]
    twice = list(map(moved_entity_sentence, once, orders_of(once, "inv")))
    for sentence, (_, counts), (back, _) in zip(entities, found, twice, strict=True):
        if opens_with_a_mark(sentence):
            assert back.words != sentence.words
        else:
            assert back.words == sentence.words
            assert (back.labels == sentence.labels) == (counts.spans_torn == 0)


@pytest.mark.slow
def test_every_sentence_of_ewt_is_ordered_by_its_gold_tree(treebank, shared_data):
    models = SyntaxConfig(models=str(shared_data / "galactic_dependencies" / "models"))
    folder = shared_data / "ud" / "UD_English-EWT"
    trees = Trees(gold_trees(sorted(folder.glob("*.conllu.gz"))))
    marks = tuple(range(len(FINAL_MARKS)))
    reorderer = Reorderer("syn-fra", 0, marks, syntax_models("syn-fra", models), trees)
    counts: Counter[str] = Counter()
    moved = 0
    for sentence in treebank:
        words = sentence.words
        _, order = reorderer.word_order(words, word_ids(words), [len(words)], counts)
        assert sorted(order.tolist()) == list(range(len(words)))
        moved += order.tolist() != list(range(len(words)))
    assert counts == {"trees_gold": 16_622}
    assert 0.4 < moved / len(treebank) < 0.9


@pytest.mark.parametrize("name", ["xquad_eng", "xquad_ara", "xquad_hin", "xquad_deu"])
def test_answers_of_xquad_follow_their_words_or_are_dropped(shared_data, name):
    task = load_task(name)
    questions = read_split(task.split("test")).examples[:150]
    tokenizer = train_tokenizer([q.context for q in questions], 1000)
    vocabulary = describe(tokenizer)
    table = np.arange(vocabulary.size)
    renderer = Renderer(0, table, vocabulary, Reorderer("inv", 0, vocabulary.final))
    text = numbered_questions(questions, tokenizer, vocabulary.unk, task.language)
    found = question_rows(text, renderer, 512)
    moved, counts = [document.words for document in found.documents.values()], found.counts
    assert len(moved) + counts["questions_dropped"] == len(questions)
    assert counts["questions_dropped"] <= 3
    by_id = {question.id: question for question in questions}
    for question in map(question_text, moved):
        answer = question.answers[0]
        assert question.context[answer.start : answer.stop] == answer.text
        asked = normalise(by_id[question.id].answers[0].text)
        assert Counter("".join(asked.split())) <= Counter("".join(answer.text.split()))


def test_tokens_of_ewt_are_those_of_running_text_with_their_labels_at_the_first(shared_data):
    task = load_task("ewt_pos")
    sentences = read_split(task.split("dev")).examples[:300]
    tokenizer = train_tokenizer([" ".join(s.words) for s in sentences], 1000)
    names = sorted({label for s in sentences for label in s.labels})
    text = numbered(sentences, tokenizer, describe(tokenizer), names)
    assert text.words == tokens_of_words(tokenizer, sentences, describe(tokenizer).unk)
    assert [[names[n] for n in labels] for labels in text.labels] == [
        list(s.labels) for s in sentences
    ]
