import html
import json
import re
from pathlib import Path

import pytest

from alignmlm.errors import DataError
from alignmlm.evaluation.scores.results import empty, with_task, write_results
from alignmlm.evaluation.scores.score_rows import score_rows
from alignmlm.evaluation.scores.scoring import Scores
from alignmlm.reporting import page as page_module
from alignmlm.reporting.page import found_in, source_hash, write_page
from alignmlm.reporting.page_data import POINTS, thinned
from alignmlm.reporting.records import Series
from alignmlm.storage.atomic import files_below
from tests.reporting.conftest import LANGUAGES
from tests.reporting.studies import runs_of, write_run, write_study


def own_html(path) -> str:
    """The page without its data and its script, which hold no HTML."""
    return re.sub(r"<script.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def data_of(path):
    """What the page's script reads."""
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])


@pytest.fixture
def page(run, study, tmp_path):
    return write_page([run], [study], tmp_path / "out" / "report.html")


def test_the_page_fetches_nothing_and_may_not(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)\s*=", text)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert html.unescape(policy).startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'none'" in html.unescape(policy)
    assert "http" not in policy and "unsafe" not in policy


def test_the_policy_names_the_hashes_of_script_and_style(page):
    text = page.read_text(encoding="utf-8")
    for element in ("script", "style"):
        (own,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        assert source_hash(own) in html.unescape(text)


def test_names_and_settings_are_escaped(page):
    text = own_html(page)
    assert "Study a &lt;b&gt; &amp; c" in text
    assert "<b>align" not in text
    settings = {one["key"]: one["values"] for one in data_of(page)["settings"]}
    assert "run.name" not in settings


def test_no_text_ends_the_data(study, tmp_path):
    found = json.loads((study / "study.json").read_text("utf-8"))
    evil = "</script><script>alert(1)</script><!--\u2028"
    found["rows"][0]["objective"] = evil
    (study / "study.json").write_text(json.dumps(found), "utf-8")
    page = write_page([], [study], tmp_path / "report.html")
    assert "<script>alert" not in page.read_text("utf-8")
    assert evil in [line["names"][0] for line in data_of(page)["groups"][0]["table"]["lines"]]


def test_the_page_has_the_studys_numbers(page):
    text = own_html(page)
    assert all(f"<b>{number}</b>" in text for number in ("40.0", "85.0", "55.0", "10.0"))


def test_what_was_not_measured_is_a_hole_with_its_reason(tmp_path):
    study = write_study(tmp_path / "study", ["mlm", "align_mlm"], [0, 1], points=10)
    document = json.loads((study / "study.json").read_text("utf-8"))
    document["rows"] = [r for r in document["rows"] if (r["objective"], r["seed"]) != ("mlm", 1)]
    (study / "study.json").write_text(json.dumps(document), "utf-8")
    (study / "mlm-seed1" / "summary.json").unlink()
    text = own_html(write_page(runs_of(study), [study], tmp_path / "report.html"))
    assert "not finished: step 100 of 100" in text


def test_settings_are_grouped_by_value_and_tell_who_has_which(tmp_path):
    study = write_study(tmp_path / "study", ["mlm", "align_mlm"], [0], points=10)
    found = data_of(write_page(runs_of(study), [study], tmp_path / "report.html"))
    settings = {one["key"]: one["values"] for one in found["settings"]}
    assert settings["objective.name"] == [["mlm", [0]], ["align_mlm", [1]]]
    assert settings["objective.alpha"] == [["10.0", [0, 1]]]


def test_a_study_shows_retrieval_and_tasks_without_training_data(study, tmp_path):
    found = json.loads((study / "study.json").read_text("utf-8"))
    transfer = found["rows"][0] | {"source_language": "a", "bs": None, "delta": None, "bz": 43.21}
    retrieval = {"objective": "mlm", "task": "tatoeba", "language": "a to b", "retrieved": 12.34}
    (study / "study.json").write_text(json.dumps(found | {"rows": [transfer, retrieval]}))
    text = own_html(write_page([], [study], tmp_path / "report.html"))
    assert "<b>43.2</b>" in text
    assert "<td>12.3</td>" in text
    (row,) = score_rows(study)
    assert (row.bz, row.cell.source_language) == (43.21, "a")


def test_a_run_that_goes_on_is_shown_as_such(run, tmp_path):
    (run / "summary.json").unlink()
    page = write_page([run], [], tmp_path / "report.html")
    assert data_of(page)["provenance"][0]["state"].startswith("not finished: step 100")


def measure(run: Path) -> None:
    """Write results of a toy task for a run."""
    scores = Scores(
        seed=0, source=LANGUAGES[0], target=LANGUAGES[1],
        source_dev=90.0, source_test=96.0, bz=56.5, bs=95.0,
    )  # fmt: skip
    task = {"name": "toy", "version": 1, "metric": "accuracy"}
    config = {"task": task, "source": LANGUAGES[0]}
    document = with_task(empty({"objective": "mlm"}), config, [scores], {}, 1.0)
    write_results(run / "evaluation", document)


def test_a_run_is_shown_with_what_was_measured_on_it(run, tmp_path):
    measure(run)
    assert "<b>38.5</b>" in own_html(write_page([run], [], tmp_path / "report.html"))


def test_runs_of_one_name_are_told_apart_by_their_parents_everywhere(tmp_path):
    studies = [write_study(tmp_path / name, ["mlm"], [0], points=10, name=name) for name in "ab"]
    runs = [run for study in studies for run in runs_of(study)]
    found = data_of(write_page(runs, studies, tmp_path / "report.html"))
    names = ["a/mlm-seed0", "b/mlm-seed0"]
    assert [run["name"] for run in found["runs"]] == names
    assert [run["run"] for run in found["provenance"]] == names
    assert [run["study"] for run in found["runs"]] == ["Study a", "Study b"]


def test_two_studies_of_one_name_have_titles_of_their_own(tmp_path):
    studies = [write_study(tmp_path / name, ["mlm"], [0], points=10) for name in "ab"]
    found = data_of(write_page([], studies, tmp_path / "report.html"))
    assert [one["title"] for one in found["groups"]] == ["Study toy (a)", "Study toy (b)"]


def test_loose_runs_whose_folders_have_one_name_are_objectives_of_their_own(tmp_path):
    runs = [tmp_path / name / "runs" / "wiki-1" for name in "AB"]
    for run in runs:
        write_run(run, "mlm", 0, points=10)
        measure(run)
    found = data_of(write_page(runs, [], tmp_path / "report.html"))
    lines = [line["names"][0] for line in found["groups"][0]["table"]["lines"]]
    assert lines == ["A/runs/wiki-1", "B/runs/wiki-1"]


def test_a_folder_that_is_no_study_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"study\.json"):
        write_page([], [tmp_path], tmp_path / "report.html")


def test_runs_of_different_length_share_most_points_of_their_curves():
    series = [Series("loss", list(range(10, 10 * n + 1, 10)), [1.0] * n) for n in (700, 1000)]
    (short, _), (long, _) = map(thinned, series)
    assert (short[0], short[-1], long[0], long[-1]) == (10, 7000, 10, 10000)
    assert max(len(short), len(long)) <= POINTS
    assert len(set(short) & set(long)) >= POINTS // 4


def test_a_short_curve_has_all_its_points():
    assert thinned(Series("loss", [1, 2, 3], [3.0, 2.0, 1.0])) == ([1, 2, 3], [3.0, 2.0, 1.0])
    assert thinned(Series("loss", [], [])) == ([], [])


def test_an_objective_that_lacks_what_others_have_is_named(tmp_path):
    study = write_study(tmp_path / "study", ["mlm", "tlm"], [0], points=10)
    found = json.loads((study / "study.json").read_text("utf-8"))
    for row in found["rows"]:
        if row["objective"] == "tlm":
            row |= {"bs": None, "delta": None}
    (study / "study.json").write_text(json.dumps(found), "utf-8")
    text = own_html(write_page([], [study], tmp_path / "report.html"))
    assert "no BS and no Delta" in text and "every objective" not in text


def test_runs_of_a_negative_seed_belong_to_their_objective(tmp_path):
    study = write_study(tmp_path / "study", ["mlm"], [-1, 0], points=10)
    found = data_of(write_page(*found_in([study]), tmp_path / "report.html"))
    assert [run["label"] for run in found["runs"]] == ["MLM", "MLM"]


def test_folders_are_walked_once(run, study, tmp_path, monkeypatch):
    walked: list[Path] = []

    def files(folder: Path):
        walked.append(folder)
        return files_below(folder)

    monkeypatch.setattr(page_module, "files_below", files)
    assert found_in([run, study]) == ([run], [study])
    assert walked == [run, study]
