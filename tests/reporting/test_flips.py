import shutil
from pathlib import Path

import pytest

from alignmlm.evaluation.evaluate import evaluate
from alignmlm.evaluation.scores.results import empty, read_results, with_task, write_results
from alignmlm.evaluation.scores.scoring import Sample, Scores, recorded_samples
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig
from alignmlm.reporting import page as pages
from alignmlm.reporting.flips import STEPS, flip_data, share, share_letters
from alignmlm.reporting.page import write_page
from alignmlm.reporting.run_facts import run_facts
from tests.evaluation.conftest import LANGUAGES, write_export
from tests.reporting.studies import write_run

TARGET = LANGUAGES[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, toy_task):
    """Two runs of one export, fine-tuned briefly and longer."""
    folder, found = tmp_path_factory.mktemp("flips"), []
    write_export(folder / "model", LANGUAGES)
    for name, epochs, rate in (("short", 1, 2e-4), ("long", 4, 5e-3)):
        run = folder / name
        shutil.copytree(folder / "model", run / "export")
        (run / "metrics.jsonl").write_text('{"step": 1, "train/tokens_per_s": 1.0}\n')
        tuning = FineTuneConfig(epochs=epochs, learning_rate=rate, batch_rows=8)
        evaluate(run, [str(toy_task.path)], EvaluationConfig(finetune=tuning))
        found.append(run)
    return found


@pytest.fixture(scope="module")
def units(runs):
    return flip_data([run_facts(run) for run in runs])


def numbers(letters: str) -> list[float]:
    return [int(letters[at : at + 2], 36) / STEPS for at in range(0, len(letters), 2)]


def samples_of(run, arm: str):
    recorded = read_results(run / "evaluation")["samples"]
    found = recorded_samples(run / "evaluation", recorded, "toy", TARGET)
    return [sample for sample in found if sample.arm == arm]


def test_shares_are_those_of_the_samples(runs, units):
    assert [unit["title"].rsplit(", ", 1)[1] for unit in units] == ["zero-shot", "supervised"]
    for unit, arm in zip(units, ("bz", "bs"), strict=True):
        for place, run in enumerate(runs):
            wanted = [share(sample) for sample in samples_of(run, arm)]
            assert numbers(unit["shares"][str(place)]) == pytest.approx(wanted, abs=1e-3)


def test_answers_and_right_labels_are_those_of_the_samples(runs, units):
    unit = units[0]
    for place, run in enumerate(runs):
        by_id = {sample.doc_id: sample for sample in samples_of(run, "bz")}
        for at, name in enumerate(unit["ids"]):
            right, given = unit["right"][at], unit["given"][str(place)][at]
            assert [unit["labels"][n] for n in right] == by_id[name].target
            assert [unit["labels"][n] for n in given] == by_id[name].filtered_resps


def test_texts_are_original_and_inverted_with_their_labels(units):
    unit = units[0]
    for right, text in zip(unit["right"], unit["texts"], strict=True):
        original, derived = text["original"], text["derived"]
        assert derived == [*original[-2::-1], original[-1]]  # the final mark stays
        assert [label for _, label in derived] == [unit["labels"][n] for n in right]


def test_a_changed_test_file_gives_no_texts_but_the_reason(runs, toy_task):
    file = toy_task.path.parent / "test.conllu"
    before = file.read_bytes()
    try:
        file.write_bytes(before + b"\n")
        (unit, _) = flip_data([run_facts(run) for run in runs])
    finally:
        file.write_bytes(before)
    assert "is not the one that was measured" in unit["hole"]
    assert set(map(str, unit["texts"])) == {"None"}


def answered(answer: str, doc_id: str = "7", doc_hash: str = "f", gained: float = 1.0) -> Sample:
    """A right answer to a question, as a run's samples have it."""
    return Sample(
        seed=0, arm="bz", doc_id=doc_id, doc_hash=doc_hash, target=[answer],
        filtered_resps=[answer], gained=gained, possible=1.0,
    )  # fmt: skip


def run_with(run: Path, samples: list[Sample]) -> Path:
    """A run that has these samples of a task of questions."""
    scores = Scores(
        seed=0, source=LANGUAGES[0], target=TARGET,
        source_dev=90.0, source_test=90.0, bz=100.0, bs=None,
    )  # fmt: skip
    write_run(run, "mlm", 0, points=10)
    task = {"name": "asked", "version": 1, "metric": "squad_f1", "kind": "question_answering"}
    config = {"task": task, "source": LANGUAGES[0]}
    document = with_task(empty({"objective": "mlm"}), config, [scores], {}, 1.0)
    write_results(run / "evaluation", document, {"asked": {TARGET: samples}})
    return run


@pytest.fixture
def questions(tmp_path) -> list[Path]:
    """Two runs that gave one of the two right answers to a question each."""
    answers = {"one": "Paris", "other": "the city of Paris"}
    return [run_with(tmp_path / name, [answered(answer)]) for name, answer in answers.items()]


def test_runs_that_came_near_to_other_right_answers_are_compared(questions):
    (unit,) = flip_data([run_facts(run) for run in questions])
    assert list(unit["shares"]) == ["0", "1"]
    assert unit["labels"][unit["right"][0][0]] == "Paris / the city of Paris"


def test_each_right_answer_to_a_question_is_shown_as_right(browser, questions, tmp_path):
    browser.open(write_page(questions, [], tmp_path / "report.html").as_uri())
    browser.choose("flips-which", "all")
    assert browser.run("document.querySelectorAll('#flips-found td.ok').length") == 2
    assert browser.run("document.querySelectorAll('#flips-found td.wrong').length") == 0


def test_one_run_has_no_flips(runs):
    assert flip_data([run_facts(runs[0])]) == []


def test_the_page_shows_flips_of_two_runs(browser, runs, units, tmp_path):
    page = write_page(runs, [], tmp_path / "report.html")
    browser.size(1280)
    browser.open(page.as_uri())
    unit = units[1]
    browser.choose("flips-unit", "1")
    browser.choose("flips-a", "1")
    browser.choose("flips-b", "0")
    counts = browser.run(
        "Object.fromEntries([...document.querySelectorAll('#flips-counts div')]"
        ".map(e => [e.firstChild.textContent, +e.lastChild.textContent]))"
    )
    a, b = numbers(unit["shares"]["1"]), numbers(unit["shares"]["0"])
    assert counts["A better"] == sum(x > y for x, y in zip(a, b, strict=True)) > 0
    assert counts["only A right"] == sum(x == 1 > y for x, y in zip(a, b, strict=True))
    browser.choose("flips-which", "better")
    first = browser.text("#flips-found")
    assert "Original" in first and "Derived" in first
    browser.run("document.getElementById('flips-after').click()")
    second = browser.text("#flips-found")
    assert second != first
    browser.open(browser.run("location.href"))
    assert browser.text("#flips-found") == second
    assert browser.complaints() == []


def test_the_page_shows_a_pair_of_texts_with_one_label(browser, runs, units, tmp_path, monkeypatch):
    texts = {"original": [["premise", "One."], ["hypothesis", "Two."]], "derived": None}
    place = units[0]["shown"][0]
    unit = units[0] | {"labels": ["yes", "no"], "right": [[0]], "given": {"0": [[0]], "1": [[1]]}}
    unit |= {"texts": [texts], "shown": [place], "ids": units[0]["ids"][:1]}
    monkeypatch.setattr(pages, "flip_data", lambda runs: [unit])
    browser.open(write_page(runs, [], tmp_path / "report.html").as_uri())
    browser.choose("flips-which", "all")
    assert "premise\nOne.\nhypothesis\nTwo.\n" in browser.text("#flips-found")


def test_only_a_whole_example_is_shown_as_right_and_only_nothing_as_wrong():
    assert list(map(share_letters, (0.0, 1e-9, 2999 / 3000, 1.0))) == ["00", "01", "zy", "zz"]


def test_a_first_run_of_other_examples_hides_no_flips_of_the_rest(tmp_path):
    every = [answered("Paris", str(number)) for number in range(3)]
    kept = {"a-limited": 1, "b": 3, "c": 3}
    runs = [run_with(tmp_path / name, every[:count]) for name, count in kept.items()]
    (unit,) = flip_data([run_facts(run) for run in runs])
    assert (unit["examples"], list(unit["shares"])) == (3, ["1", "2"])


def test_examples_of_one_id_are_told_apart(browser, tmp_path):
    samples = [answered(name, "7", name, 0.5) for name in ("first", "second", "third")]
    runs = [run_with(tmp_path / name, samples) for name in "ab"]
    browser.open(write_page(runs, [], tmp_path / "report.html").as_uri())
    browser.choose("flips-which", "all")
    for name in ("first", "second", "third"):
        assert name in browser.text("#flips-found")
        browser.run("document.getElementById('flips-after').click()")
