import json
import shutil

import pytest

from alignmlm.cli import guarded
from alignmlm.commands.evaluation import eval_ls, eval_validate
from alignmlm.errors import CheckpointError, ConfigError, DataError
from alignmlm.evaluation.evaluated_model import open_export
from alignmlm.evaluation.language_counts import language_counts
from alignmlm.tasks.formats import read_split
from alignmlm.tasks.task import load_task, task_labels
from alignmlm.tasks.validate import validate_task
from tests.evaluation.conftest import LANGUAGES

BASE = "name: own\nversion: 1\nlanguage: qaa-Latn\n"
PAIRS = f"{BASE}kind: pair_classification\nmetric: accuracy\nform: pair_table\n"
ENTITIES = f"{BASE}kind: token_classification\nmetric: entity_f1\nform: conll_columns\n"
QUESTIONS = f"{BASE}kind: question_answering\nmetric: squad_f1\nform: squad_json\n"


@pytest.fixture
def own(tmp_path):
    """A function from the head of a task and the texts of its splits to the task's YAML."""

    def write(head: str, **splits: str) -> str:
        files = ", ".join(f"{split}: {tmp_path / split}.tsv" for split in splits)
        for split, text in splits.items():
            (tmp_path / f"{split}.tsv").write_text(text, encoding="utf-8")
        path = tmp_path / "own.yaml"
        path.write_text(f"{head}files: {{{files}}}\n", encoding="utf-8")
        return str(path)

    return write


def report_of(path, tmp_path):
    return validate_task(load_task(path), tmp_path)


def test_a_report_counts_what_is_in_each_split(own, tmp_path):
    path = own(PAIRS, train="a b\tc\tx\na b\tc\ty\n", test="a b\tc\tx\nd\te f g\ty\n \te\tx\n")
    report = report_of(path, tmp_path)
    train, test = report.splits["train"], report.splits["test"]
    assert report.error == ""
    assert (train.examples, train.words, train.longest_words) == (2, 6, 3)
    assert (train.same_text, train.in_train) == (1, 0)
    assert (test.examples, test.in_train, test.longest_words) == (2, 1, 4)
    assert (test.labels, test.dropped) == ({"x": 1, "y": 1}, {"empty": 1})


def test_entities_are_counted_and_those_without_b(own, tmp_path):
    path = own(ENTITIES, test="a\tI-X\nb\tI-X\nc\tB-X\n")
    details = report_of(path, tmp_path).splits["test"].details
    assert details == {"entities": 2, "entities_without_b": 1}


@pytest.mark.parametrize(
    ("head", "splits", "message"),
    [
        (PAIRS, {"train": "a\tb\tx\n", "test": "a\tb\ty\n"}, "labels that train lacks"),
        (f"{PAIRS}labels: [x]\n", {"test": "a\tb\ty\n"}, "not among the task's"),
        (PAIRS, {"test": "a\tb\n"}, "no column 3"),
        (PAIRS, {"train": "a\tb\tx\n", "test": "a\tb\t \n"}, "has no label"),
        (ENTITIES, {"test": "a\tB-X\nb\n"}, "'b' has no label"),
        (ENTITIES, {"test": "a\tPER\n"}, "O, B-<type> or I-<type>"),
        (QUESTIONS, {"test": "[]"}, "SQuAD's JSON"),
    ],
)
def test_data_that_cannot_be_used_is_an_error_of_the_report(own, tmp_path, head, splits, message):
    report = report_of(own(head, **splits), tmp_path)
    assert message in report.error
    assert report.splits == {}


def test_labels_of_entities_hold_both_tags_of_each_type(own, tmp_path):
    task = load_task(own(ENTITIES, train="a\tB-X\n", test="a\tO\nb\tB-X\n"))
    with pytest.raises(DataError, match="labels that train lacks"):
        task_labels(task, {s: read_split(task.split(s)) for s in task.files})
    task = load_task(own(ENTITIES, test="a\tO\nb\tB-X\n"))
    assert task_labels(task, {"test": read_split(task.split("test"))}) == ["B-X", "I-X", "O"]


def test_labels_of_each_split_are_checked_where_all_are_rows_of_one_file(tmp_path):
    path = tmp_path / "own.yaml"
    (tmp_path / "all.tsv").write_text("a\tb\tx\nc\td\ty\ne\tf\tx\n", encoding="utf-8")
    rows = {"train": [0, 1], "dev": [1, 2], "test": [2, 3]}
    files = ", ".join(f"{name}: {{path: all.tsv, rows: {part}}}" for name, part in rows.items())
    path.write_text(f"{PAIRS}files: {{{files}}}\n", encoding="utf-8")
    said = report_of(str(path), tmp_path).error
    assert said.startswith("dev file")
    assert "labels that train lacks: ['y']" in said


def test_the_commands_list_and_check_tasks(own, capsys, monkeypatch):
    monkeypatch.setattr("alignmlm.console.terminal.console._width", 200)
    path = own(PAIRS, train="a b\tc\tx\n", test="a b\tc\tx\n")
    assert guarded(eval_ls, [path, "panx_eng"]) == 0
    assert guarded(eval_ls, ["--counts", path]) == 0
    assert guarded(eval_validate, [path]) == 0
    told = capsys.readouterr().out
    for part in ("panx_eng", "entity_f1", "train 1 test 1", "1 also in train"):
        assert part in told


def test_a_task_that_cannot_be_used_is_told_and_fails_the_command(own, capsys):
    good = own(PAIRS, test="a b\tc\tx\n")
    assert guarded(eval_validate, [good]) == 0
    assert guarded(eval_validate, [own(PAIRS, test="a b\tc\n")]) == 2
    assert "no column 3" in " ".join(capsys.readouterr().out.split())


def test_languages_without_a_model_are_an_error(own):
    path = own(PAIRS, test="a b\tc\tx\n")
    with pytest.raises(ConfigError, match="come with --model"):
        eval_validate([path, "--languages", LANGUAGES[1]])


def squad(*answers):
    context = "the dofor mima. every kiru lutek."
    found = [{"text": a, "answer_start": context.index(a)} for a in answers]
    qas = [{"id": str(i), "question": "dofor mima?", "answers": [a]} for i, a in enumerate(found)]
    return json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]})


def changes(own, export, tmp_path, head, test, language=LANGUAGES[1]):
    return language_counts(export, load_task(own(head, test=test)), tmp_path, [language])[language]


def test_questions_that_a_language_tears_apart_are_counted(own, export, tmp_path):
    found = changes(own, export, tmp_path, QUESTIONS, squad("dofor mima", "mima. every", "iru"))
    assert found["examples"] == 3
    assert (found["questions_dropped"], found["answers_torn"]) == (1, 1)
    assert (found["answers_widened"], found["questions_cut"]) == (1, 0)


def test_pairs_longer_than_the_model_are_counted(own, export, tmp_path):
    text = "the dofor.\tthe mima.\tx\n" + " ".join(["dofor"] * 30) + "\tthe mima.\tx\n"
    assert changes(own, export, tmp_path, PAIRS, text)["pairs_too_long"] == 1


def test_entities_that_a_language_tears_apart_are_counted(own, export, tmp_path):
    found = changes(own, export, tmp_path, ENTITIES, "the\tO\nmima\tB-X\n.\tI-X\n")
    assert (found["spans"], found["spans_torn"], found["spans_after"]) == (1, 1, 2)


def test_an_unknown_language_is_an_error(own, export, tmp_path):
    for language, message in (
        ("qaa-Latn-x-invert", "use orders"),
        ("qaa", "start with language and script"),
        ("qaa-Latn-x-perm", "did you mean"),
    ):
        with pytest.raises(ConfigError, match=message):
            changes(own, export, tmp_path, PAIRS, "a\tb\tx\n", language)


def test_a_model_without_a_tokenizer_is_an_error(own, run_folder, tmp_path):
    shutil.copytree(run_folder / "export", tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json was changed"):
        changes(own, open_export(tmp_path / "model"), tmp_path, PAIRS, "a\tb\tx\n")


def test_the_command_tells_what_the_languages_of_a_model_do(own, run_folder, capsys, monkeypatch):
    monkeypatch.setattr("alignmlm.console.terminal.console._width", 200)
    path = own(ENTITIES, test="the\tO\nmima\tB-X\n.\tI-X\n")
    assert guarded(eval_validate, [path, "--model", str(run_folder)]) == 0
    told = capsys.readouterr().out
    assert LANGUAGES[1] in told
    assert "1 spans torn" in told
