"""`alignmlm eval show`: a person sees a misread file at once."""

import json

import numpy as np
import pytest

from alignmlm import cli
from alignmlm.commands.preview import eval_show
from alignmlm.evaluation.examples.preview import (
    change_of_model,
    change_without_model,
    lines_of,
    previewed,
    visible,
)
from alignmlm.evaluation.examples.rendering import Trees, renderer_of, reorderer_of
from alignmlm.evaluation.settings import SyntaxConfig
from alignmlm.tasks.examples import (
    Answer,
    LabelledSentence,
    ParallelPair,
    Question,
    SentencePair,
    WordPair,
)
from alignmlm.tasks.task import Task

SYNTAX, TREES = SyntaxConfig(), Trees()
INVERTED = "eng-Latn-x-inv"
SENTENCE = LabelledSentence(
    ("Ann", "Lee", "sings", "."), ("B-PER", "I-PER", "O", "O"), (False,) * 4
)


def task_of(kind: str, metric: str, **others) -> Task:
    form = {
        "token_classification": "conll_columns", "pair_classification": "pair_table",
        "question_answering": "squad_json", "sentence_retrieval": "sentence_table",
        "lexicon_induction": "word_pairs",
    }[kind]  # fmt: skip
    files = {"test": "test.tsv"}
    known = {"language": "eng-Latn", "version": 1, "form": form, "files": files, **others}
    return Task(name="t", kind=kind, metric=metric, **known)


def inverted(example, task):
    return previewed(example, task, INVERTED, change_without_model(INVERTED, SYNTAX, TREES)).example


def test_labels_move_with_their_words_and_the_final_mark_stays():
    words = task_of("token_classification", "accuracy")
    moved = inverted(SENTENCE, words)
    assert moved.words == ("sings", "Lee", "Ann", ".")
    assert moved.labels == ("O", "I-PER", "B-PER", "O")


def test_entities_are_tagged_anew():
    entities = task_of("token_classification", "entity_f1")
    assert inverted(SENTENCE, entities).labels == ("O", "B-PER", "I-PER", "O")


def test_both_sides_of_a_pair_are_changed_and_its_label_stays():
    pair = SentencePair("a b c.", "d e.", "neutral")
    found = inverted(pair, task_of("pair_classification", "accuracy"))
    assert lines_of(found) == [("first", "c b a."), ("second", "e d."), ("label", "neutral")]


def test_answers_follow_their_words_or_the_question_is_dropped():
    task = task_of("question_answering", "squad_f1")
    whole = Question("It is red now.", "What is it?", (Answer("red", 6),))
    assert inverted(whole, task).answers == (Answer("red", 4),)
    torn = Question("It is red. So is he.", "Who is?", (Answer("red. So", 6),))
    assert inverted(torn, task) is None


def test_one_side_of_a_translation_is_changed():
    task = task_of(
        "sentence_retrieval", "retrieval_accuracy", language="fra-Latn", other_language="eng-Latn"
    )
    found = inverted(ParallelPair("un deux trois", "one two three"), task)
    assert found == ParallelPair("un deux trois", "three two one")
    words = task_of(
        "lexicon_induction", "precision_at_1", language="fra-Latn", other_language="eng-Latn"
    )
    assert inverted(WordPair("c'est", "it's"), words) == WordPair("c'est", "it's")


@pytest.mark.parametrize("language", ["qaa-Latn-x-inv-trans", "qaa-Latn"])
def test_a_model_shows_the_ids_that_its_rows_have(export, language):
    sentence = LabelledSentence(("the", "lamp", "must", "."), tuple("ABCD"), (False,) * 3 + (True,))
    task = task_of("token_classification", "accuracy", language="qaa-Latn")
    found = previewed(sentence, task, language, change_of_model(export, language, SYNTAX, TREES))
    order = [2, 1, 0, 3] if "inv" in language else [0, 1, 2, 3]
    assert found.example.labels == tuple(np.array(sentence.labels)[order])
    assert found.example.words == tuple(np.array(sentence.words)[order])
    renderer = renderer_of(export, language, reorderer_of(export, language, SYNTAX, TREES))
    assert set(np.concatenate(found.ids)) <= set(renderer.table.tolist())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\ufeffAnn", "<U+FEFF>Ann"),
        ("10\u00a0000", "10<U+00A0>000"),
        ("a\u200bb\u2060", "a<U+200B>b<U+2060>"),
        ("\u2764\ufe0f", "\u2764<U+FE0F>"),
        ("a\tb\n", "a<U+0009>b<U+000A>"),
        (" PER ", "␣PER␣"),
        ("a  b", "a␣␣b"),
        ("  ", "␣␣"),
        ("café\u0301 नमस्ते", "café\u0301 नमस्ते"),
        ("\ud800", "<U+D800>"),
    ],
)
def test_what_cannot_be_seen_is_shown(text, shown):
    assert visible(text) == shown


@pytest.fixture
def odd_task(tmp_path):
    (tmp_path / "odd.tsv").write_text("A\u200bnn\tPER\n10\u00a0000\tO\n\nLee\tPER\n", "utf-8")
    path = tmp_path / "odd.yaml"
    path.write_text(
        "name: odd\nversion: 1\nkind: token_classification\nmetric: accuracy\nlanguage: eng-Latn\n"
        f"form: conll_columns\nfiles: {{test: {tmp_path / 'odd.tsv'}}}\n",
        "utf-8",
    )
    return path


def test_the_command_shows_examples_beside_each_other_and_counts(odd_task, capsys):
    assert eval_show([str(odd_task), f"--language={INVERTED}"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["A<U+200B>nn", "PER", "10<U+00A0>000", "O"] in lines
    assert ["examples", "2"] in lines
    assert ["label", "PER", "2"] in lines


def test_the_command_prints_json(odd_task, capsys):
    assert eval_show([str(odd_task), f"--language={INVERTED}", "--limit=1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    [example] = found["examples"]
    assert example["original"]["labels"] == ["PER", "O"]
    assert example["languages"][INVERTED]["example"]["labels"] == ["O", "PER"]
    assert found["counts"]["labels"] == {"PER": 2, "O": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split=train"], "--split = 'train', but it must be one of ['test']"),
        (["--language=fra-Latn-x-inv"], "must be made from eng-Latn"),
        (["--language=eng-Latn-x-inw"], "inv"),
        (["--limit=-1"], "at least 0"),
        (["--language=eng-Latn-x-syn-fra"], "ordering models"),
    ],
)
def test_wrong_options_are_one_message(odd_task, capsys, options, message):
    assert cli.guarded(cli.dispatch, ["eval", "show", str(odd_task), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_split_that_can_be_read_is_shown_though_another_makes_the_task_unusable(
    odd_task, tmp_path, capsys
):
    (tmp_path / "train.tsv").write_text("Ann\tLOC\n", "utf-8")
    text = odd_task.read_text("utf-8").replace("{test:", f"{{train: {tmp_path}/train.tsv, test:")
    odd_task.write_text(text, "utf-8")
    assert eval_show([str(odd_task)]) == 2
    out = capsys.readouterr().out
    assert "A<U+200B>nn" in out
    assert "odd is unusable" in out


@pytest.mark.parametrize("options", [[], [f"--language={INVERTED}"]])
def test_heads_are_not_asked_for_where_no_language_needs_trees(odd_task, tmp_path, capsys, options):
    columns = [("Ann", "PROPN"), ("sings", "VERB"), (".", "PUNCT")]
    rows = ((str(n), word, "_", tag, *"______") for n, (word, tag) in enumerate(columns, start=1))
    (tmp_path / "odd.tsv").write_text("\n".join(map("\t".join, rows)) + "\n\n", "utf-8")
    text = odd_task.read_text("utf-8").replace("conll_columns", "conllu_upos")
    odd_task.write_text(text.replace("entity_f1", "accuracy"), "utf-8")
    assert eval_show([str(odd_task), *options]) == 0
    assert ["label", "PROPN", "1"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]
