"""All tasks of a command are checked first; what can run runs, and the rest is listed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from alignmlm import cli
from alignmlm.errors import AlignMLMError, ConfigError, DataError
from alignmlm.evaluation.evaluate import evaluate
from alignmlm.evaluation.fine_tuning import training
from alignmlm.evaluation.scores.results import read_results
from alignmlm.evaluation.scores.scoring import recorded_samples
from alignmlm.evaluation.selection import Skipped, check_syntax, selected_tasks
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig, SyntaxConfig
from alignmlm.tasks.task import load_task, read_examples
from tests.evaluation.conftest import LANGUAGES

BASE, TARGET = LANGUAGES
TUNING = FineTuneConfig(epochs=1, learning_rate=5e-3, batch_rows=8)
QUICK = EvaluationConfig(finetune=TUNING, limit=8)
RETRIEVED = "kind: sentence_retrieval\nmetric: retrieval_accuracy\nform: sentence_table\n"
QUESTIONS = "kind: question_answering\nmetric: squad_f1\nform: squad_json\n"
LEXICON = "kind: lexicon_induction\nmetric: precision_at_1\nform: word_pairs\n"


@pytest.fixture
def written(tmp_path):
    """A function that writes a task with files of its own."""

    def write(name: str, head: str, language: str = "qaa-Latn", **splits: str) -> str:
        for split, text in splits.items():
            (tmp_path / f"{name}.{split}").write_text(text, "utf-8")
        files = "".join(f"  {split}: {tmp_path / name}.{split}\n" for split in splits)
        path = tmp_path / f"{name}.yaml"
        text = f"name: {name}\nversion: 1\nlanguage: {language}\n{head}files:\n{files}"
        path.write_text(text, "utf-8")
        return str(path)

    return write


@pytest.fixture
def no_test_labels(written) -> str:
    head = "kind: token_classification\nmetric: accuracy\nform: conll_columns\n"
    return written("broken", head, train="kiru\tNOUN\n", test="kiru\tVERB\n")


@pytest.fixture
def untrainable(written) -> str:
    head = "kind: pair_classification\nmetric: accuracy\nform: pair_table\n"
    return written("lonely", head, test="kiru\tmima\tyes\n")


def test_what_can_run_runs_and_the_rest_is_listed_with_reasons(
    run_folder, toy_task, no_test_labels, untrainable, tmp_path
):
    names = [no_test_labels, str(toy_task.path), untrainable]
    found, skipped = evaluate(run_folder, names, QUICK, tmp_path / "out")
    assert set(found["per_seed"]) == {"toy"}
    assert found["skipped"] == skipped
    assert "labels that train lacks: ['VERB']" in found["skipped"]["broken"]
    assert "training split" in found["skipped"]["lonely"]
    assert read_results(tmp_path / "out") == found
    again, _ = evaluate(run_folder, [str(toy_task.path)], QUICK, tmp_path / "out")
    assert again["skipped"] == {}


def test_all_tasks_are_checked_before_a_model_is_loaded(
    run_folder, no_test_labels, untrainable, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "load_pretrained", None)  # nothing can be loaded
    with pytest.raises(AlignMLMError, match=r"(?s)no task can be measured.*broken: .*lonely: "):
        evaluate(run_folder, [no_test_labels, untrainable], QUICK, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_error_of_a_single_task_is_as_it_is(run_folder, no_test_labels, tmp_path):
    with pytest.raises(DataError, match="labels that train lacks"):
        evaluate(run_folder, [no_test_labels], QUICK, tmp_path / "out")


def test_an_unknown_name_ends_the_command_before_anything_is_measured(
    run_folder, toy_task, tmp_path
):
    with pytest.raises(ConfigError, match="did you mean 'sample_pos'"):
        evaluate(run_folder, [str(toy_task.path), "sample_po"], QUICK, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_lists_what_was_not_measured_and_has_an_exit_code_of_its_own(
    run_folder, toy_task, no_test_labels, tmp_path, capsys
):
    line = [
        "eval", "run", f"--model={run_folder}", f"--output={tmp_path / 'out'}",
        "--evaluation.limit=8", "--evaluation.finetune.epochs=1",
    ]  # fmt: skip
    code = cli.guarded(cli.dispatch, [*line, "--tasks", str(toy_task.path), no_test_labels])
    assert code == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("broken was not measured: ")
    code = cli.guarded(cli.dispatch, [*line, "--json", "--tasks", str(toy_task.path)])
    assert code == 0
    assert json.loads(capsys.readouterr().out)["results"]["toy"]["n_seeds"] == 1


def test_a_group_without_a_training_split_in_the_source_names_what_was_asked_for(export):
    english = replace(export, languages=("fra-Latn", "eng-Latn", "eng-Latn-x-inv"))
    with pytest.raises(ConfigError) as found:
        selected_tasks(english, ["xquad_eng"], QUICK, Skipped())
    assert str(found.value).startswith("--tasks = 'xquad_eng'")
    assert "name one with --evaluation.source_task" in str(found.value)


def test_a_source_task_can_be_named_for_each_task(toy_task):
    task = load_task(str(toy_task.path))
    of_tasks = EvaluationConfig(source_task={"toy": "sample_pos", "qa": "tydiqa_eng"})
    assert of_tasks.source_task_of(task.name, task.group) == "sample_pos"
    assert EvaluationConfig(source_task="x").source_task_of(task.name, task.group) == "x"
    assert EvaluationConfig(source_task={"pos": "y"}).source_task_of(task.name, "pos") == "y"


def test_a_source_task_of_a_task_that_is_not_asked_for_is_an_error(export, toy_task):
    config = EvaluationConfig(source_task={"toi": "sample_pos"})
    with pytest.raises(ConfigError, match="did you mean 'toy'"):
        selected_tasks(export, [str(toy_task.path)], config, Skipped())


def test_a_syntax_order_without_trees_is_found_before_training(export, toy_task, written, tmp_path):
    head = "kind: token_classification\nmetric: accuracy\nform: conll_columns\n"
    words = load_task(written("words", head, test="kiru\tNOUN\n"))
    treeless = read_examples(words, tmp_path)
    with pytest.raises(ConfigError, match="models"):
        check_syntax(["qaa-Latn-x-syn-fra"], [treeless], SyntaxConfig())


def test_languages_of_a_run_are_those_to_measure(run_folder, toy_task, tmp_path):
    config = replace(QUICK, languages=[TARGET, BASE])
    found, _ = evaluate(run_folder, [str(toy_task.path)], config, tmp_path / "out")
    assert (found["configs"]["toy"]["source"], found["configs"]["toy"]["targets"]) == (
        TARGET,
        [BASE],
    )


def test_languages_that_a_run_lacks_are_explained(run_folder, toy_task, tmp_path):
    with pytest.raises(ConfigError, match=r"trained on \['qaa-Latn', .*monolingual"):
        config = replace(QUICK, languages=["fra-Latn"])
        evaluate(run_folder, [str(toy_task.path)], config, tmp_path / "out")


def test_every_retrieved_sentence_and_word_is_written_down(run_folder, written, tmp_path, caplog):
    other = "other_language: qaa-Latn\n"
    sentences = written(
        "lines", RETRIEVED + other, test="the kiru mima.\tthe mima.\nlutek.\tevery kiru pife.\n"
    )
    words = written(
        "words", LEXICON + other, test="kiru mima\nkiru pife\nlutek dofor\nvustut kiru\n"
    )
    config = EvaluationConfig(limit=3, languages=[BASE])
    found, _ = evaluate(run_folder, [sentences, words], config, tmp_path / "out")
    for task, examples in (("lines", 2), ("words", 2)):
        samples = recorded_samples(tmp_path / "out", found["samples"], task, f"{BASE}:{BASE}")
        [row] = found["retrieval"][task]
        assert len(samples) == row["items"] == examples
        assert 100 * sum(s.gained for s in samples) / len(samples) == pytest.approx(row["percent"])
        assert all(s.gained == (s.filtered_resps[0] in s.target) for s in samples)
    assert found["n-samples"]["lines"]["original"] == found["n-samples"]["lines"]["effective"] == 2
    told = found["n-samples"]["words"]
    assert (told["original"], told["effective"]) == (4, 3)
    assert "evaluation.limit leaves 3 candidate words" in caplog.text


def retrieved_pairs(run_folder, task, folder, languages=()):
    """The pairs of languages in the results, after an evaluation of some languages."""
    config = EvaluationConfig(languages=list(languages))
    found, _ = evaluate(run_folder, [task], config, folder)
    return [(row["source"], row["target"]) for row in found["retrieval"]["words"]]


def test_a_language_that_leaves_no_example_is_an_error(run_folder, written, tmp_path):
    context, answer = "the dofor mima. every kiru lutek.", "mima. every"
    answers = [{"text": answer, "answer_start": context.index(answer)}]
    asked = {"id": "1", "question": "dofor mima?", "answers": answers}
    text = json.dumps({"data": [{"paragraphs": [{"context": context, "qas": [asked]}]}]})
    with pytest.raises(DataError, match=f"torn: none of its test examples is left in {TARGET}"):
        evaluate(run_folder, [written("torn", QUESTIONS, train=text, test=text)], QUICK, tmp_path)


def test_retrieval_is_measured_again_for_other_languages(run_folder, written, tmp_path):
    head = LEXICON + "other_language: qaa-Latn\n"
    task, out = written("words", head, test="kiru mima\nlutek dofor\n"), tmp_path / "out"
    every = [(a, b) for a in LANGUAGES for b in LANGUAGES]
    assert retrieved_pairs(run_folder, task, out, [BASE]) == [(BASE, BASE)]
    assert retrieved_pairs(run_folder, task, out) == every
    assert retrieved_pairs(run_folder, task, out, [TARGET]) == [(TARGET, TARGET)]


POS = "kind: token_classification\nmetric: accuracy\nform: conll_columns\n"


def test_a_target_that_is_trained_on_needs_the_split_that_the_epoch_is_chosen_by(export, written):
    text = "kiru\tNOUN\n"
    source = written("one", POS, train=text, dev=text, test=text)
    target = written("two", POS, "qab-Latn", train=text, test=text)
    both = replace(export, languages=(BASE, "qab-Latn"))
    tuning = replace(TUNING, selection="source_dev")
    config = EvaluationConfig(finetune=tuning, source_task=source)
    with pytest.raises(ConfigError, match=r"task two: files .* name dev too"):
        selected_tasks(both, [target], config, Skipped())


@pytest.fixture
def two_of_one_name(written, tmp_path):
    """Two files, each with a task "pos" of its own."""
    files = [written(name, POS, train="kiru\tX\n", test="kiru\tX\n") for name in ("one", "two")]
    for file, name in zip(map(Path, files), ("one", "two"), strict=True):
        file.write_text(file.read_text("utf-8").replace(f"name: {name}", "name: pos"), "utf-8")
    return files


def test_one_name_of_two_tasks_is_an_error(export, two_of_one_name):
    with pytest.raises(ConfigError, match=r"task = .pos., .* two different ones have it"):
        selected_tasks(export, two_of_one_name, QUICK, Skipped())


def test_a_source_task_with_the_name_of_the_tested_one_is_an_error(export, two_of_one_name):
    tested, source = two_of_one_name
    with pytest.raises(ConfigError, match=r"task = .pos., .* two different ones have it"):
        selected_tasks(export, [tested], replace(QUICK, source_task=source), Skipped())


def test_a_task_that_is_named_twice_is_selected_once(export, two_of_one_name):
    file = two_of_one_name[0]
    assert len(selected_tasks(export, [file, f"{file}:pos"], QUICK, Skipped())) == 1
