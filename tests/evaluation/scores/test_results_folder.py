"""Results of one model that several processes add to; samples always are those of the results."""

import json
from pathlib import Path

import pytest

from alignmlm import __version__
from alignmlm.errors import DataError
from alignmlm.evaluation.scores.results import (
    RESULTS,
    empty,
    holds,
    open_results,
    read_results,
    with_task,
    write_results,
)
from alignmlm.evaluation.scores.scoring import Sample, Scores, recorded_samples
from alignmlm.storage.atomic import PARTIAL
from alignmlm.storage.checksums import with_checksum

MODEL = {"path": "/runs/a/export", "objective": "mlm", "model_xxh3": "1" * 16}
SOURCE, TARGET = "qaa-Latn", "qaa-Latn-x-trans"


def with_one(document, task):
    """The document with a task's results."""
    config = {"task": {"name": task, "version": 1, "metric": "accuracy"}, "source": SOURCE}
    score = Scores(
        seed=0, source=SOURCE, target=TARGET, source_dev=1.0, source_test=90.0, bs=80.0, bz=70.0
    )
    return with_task(document, config, [score], {}, 1.0)


def add(results, task, samples=None):
    """Add a task's results to those in a folder."""
    with results.current() as document:
        return results.write(with_one(document, task), samples)


def samples(answer):
    """The samples of one language."""
    return [
        Sample(seed=0, arm="bz", doc_id="1", doc_hash="2", target=["A"], filtered_resps=[answer],
               gained=1.0, possible=1.0)
    ]  # fmt: skip


def sample_files(folder):
    return sorted(path.name for path in folder.glob("samples_*"))


def test_what_two_processes_add_is_kept(tmp_path):
    first, second = open_results(tmp_path, MODEL), open_results(tmp_path, MODEL)
    add(first, "one")
    found = add(second, "two")
    assert found["configs"].keys() == {"one", "two"}
    assert read_results(tmp_path) == found


def test_the_version_beside_the_last_commit_is_that_of_the_last_measurement(tmp_path):
    add(open_results(tmp_path, MODEL), "one")
    old = read_results(tmp_path) | {"alignmlm_version": "0.0.1"}
    assert with_one(old, "two")["alignmlm_version"] == __version__


def test_the_place_of_a_model_does_not_matter(tmp_path):
    add(open_results(tmp_path, MODEL), "one")
    found = open_results(tmp_path, MODEL | {"path": "/elsewhere"}).document()
    assert found["configs"].keys() == {"one"}


def test_another_model_replaces_the_results_of_one_that_was_there_before(tmp_path):
    add(open_results(tmp_path, MODEL), "one", {"one": {TARGET: samples("A")}})
    other = open_results(tmp_path, MODEL | {"model_xxh3": "2" * 16})
    assert other.document()["configs"] == {}
    assert add(other, "two")["configs"].keys() == {"two"}
    assert sample_files(tmp_path) == []


def test_the_results_of_another_model_that_came_meanwhile_are_not_replaced(tmp_path):
    mine = open_results(tmp_path, MODEL)
    found = add(open_results(tmp_path, MODEL | {"model_xxh3": "2" * 16}), "two")
    with pytest.raises(DataError, match="another model since this evaluation began"):
        add(mine, "one")
    assert read_results(tmp_path) == found


def test_samples_are_named_by_results_and_older_ones_are_removed(tmp_path):
    (tmp_path / f"samples_one@{TARGET}.jsonl").write_text("of a killed evaluation")
    results = open_results(tmp_path, MODEL)
    for answer in ("A", "B"):
        found = add(results, "one", {"one": {TARGET: samples(answer)}})
        (file,) = found["samples"]["one"].values()
        assert sample_files(tmp_path) == [file["file"]]
        read = recorded_samples(tmp_path, found["samples"], "one", TARGET)
        assert [sample.filtered_resps for sample in read] == [[answer]]


def test_changed_samples_are_an_error(tmp_path):
    results = open_results(tmp_path, MODEL)
    found = add(results, "one", {"one": {TARGET: samples("A")}})
    (name,) = sample_files(tmp_path)
    text = (tmp_path / name).read_text()
    for other in (text.replace('["A"]', '["B"]'), text[:-1], None):
        (tmp_path / name).write_text(other) if other else (tmp_path / name).unlink()
        with pytest.raises(DataError, match=f"{name} was changed.*evaluate again"):
            recorded_samples(tmp_path, found["samples"], "one", TARGET)


def test_changed_results_are_an_error(tmp_path):
    write_results(tmp_path, with_one(empty(MODEL), "one"))
    text = (tmp_path / RESULTS).read_text("utf-8")
    for old, new in (("70.0", "71.0"), ('"seconds": 1.0', '"seconds": 2.0'), ("mlm", "tlm")):
        (tmp_path / RESULTS).write_text(text.replace(old, new, 1), "utf-8")
        with pytest.raises(DataError, match=r"results\.json was changed or is damaged"):
            read_results(tmp_path)
    (tmp_path / RESULTS).write_text(json.dumps(json.loads(text)), "utf-8")
    assert read_results(tmp_path) is not None  # the layout of the text does not matter


def test_results_of_an_earlier_version_are_refused_with_what_to_do(tmp_path):
    old = with_checksum(with_one(empty(MODEL), "one") | {"schema_version": 2})
    (tmp_path / RESULTS).write_text(json.dumps(old), "utf-8")
    with pytest.raises(DataError, match="schema version 2; this alignmlm reads 3; delete it to"):
        read_results(tmp_path)


def test_samples_that_a_killed_evaluation_began_to_write_are_gone_after_the_next(tmp_path):
    left, foreign = (tmp_path / f"{name}{PARTIAL}1" for name in ("samples_a@b_0.jsonl", "mine.txt"))
    left.touch()
    foreign.touch()
    add(open_results(tmp_path, MODEL), "one")
    assert foreign.exists()
    assert not left.exists()


def test_answers_that_are_replaced_while_they_are_read_are_those_of_the_results(
    tmp_path, monkeypatch
):
    found = add(open_results(tmp_path, MODEL), "one", {"one": {TARGET: samples("A")}})
    read = Path.read_bytes

    def read_and_removed(path):
        data = read(path)
        path.unlink()
        return data

    monkeypatch.setattr(Path, "read_bytes", read_and_removed)
    (sample,) = recorded_samples(tmp_path, found["samples"], "one", TARGET)
    assert sample.filtered_resps == ["A"]


@pytest.mark.parametrize("text", ["other", None])
def test_results_whose_answers_are_gone_or_changed_do_not_count(tmp_path, text):
    found = add(open_results(tmp_path, MODEL), "one", {"one": {TARGET: samples("A")}})
    assert holds(tmp_path, found, found["configs"]["one"])
    (name,) = sample_files(tmp_path)
    (tmp_path / name).write_text(text) if text else (tmp_path / name).unlink()
    assert not holds(tmp_path, found, found["configs"]["one"])


def test_an_interval_that_is_no_pair_of_numbers_is_named(tmp_path):
    document = with_one(empty(MODEL), "one")
    document["results"][f"one@{TARGET}"]["bz_ci95"] = [1.0]
    write_results(tmp_path, document)
    with pytest.raises(DataError, match="row 0: bz_ci95: high must be of type"):
        read_results(tmp_path)
