import json
import re

import pytest

from alignmlm.errors import DataError
from alignmlm.evaluation.results import empty, with_task, write_results
from alignmlm.evaluation.score_rows import score_rows
from alignmlm.evaluation.transfer import Scores
from alignmlm.reporting.page import write_page
from tests.reporting.conftest import LANGUAGES


def own_html(path) -> str:
    """The page without plotly's own code."""
    return re.sub(r"<script>.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def page(run, study, tmp_path):
    return write_page([run], [study], tmp_path / "out" / "report.html")


def test_the_page_fetches_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)\s*=", text)
    assert text.count("Plotly.newPlot(") >= 3


def test_names_and_settings_are_escaped(page):
    text = own_html(page)
    assert "Study a &lt;b&gt; &amp; c" in text
    assert "Run run &lt;i&gt;: align_mlm" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<b>align" not in text


def test_the_page_has_the_studys_numbers(page):
    assert all(
        f"<td>{number}</td>" in own_html(page) for number in ("40.0", "85.0", "55.0", "10.0")
    )


def test_a_study_shows_retrieval_and_tasks_without_training_data(study, tmp_path):
    found = json.loads((study / "study.json").read_text("utf-8"))
    transfer = found["rows"][0] | {"source_language": "a", "bs": None, "delta": None, "bz": 43.21}
    retrieval = {"objective": "mlm", "task": "tatoeba", "language": "a to b", "retrieved": 12.34}
    (study / "study.json").write_text(json.dumps(found | {"rows": [transfer, retrieval]}))
    text = own_html(write_page([], [study], tmp_path / "report.html"))
    assert "<td>43.2</td>" in text
    assert "<td>12.3</td>" in text
    (row,) = score_rows(study)
    assert (row.bz, row.cell.source_language) == (43.21, "a")


def test_a_run_that_goes_on_is_shown_as_such(run, tmp_path):
    (run / "summary.json").unlink()
    assert "(not finished)" in own_html(write_page([run], [], tmp_path / "report.html"))


def test_a_run_is_shown_with_what_was_measured_on_it(run, tmp_path):
    scores = Scores(
        seed=0, source=LANGUAGES[0], target=LANGUAGES[1],
        source_dev=90.0, source_test=96.0, bz=56.5, bs=95.0,
    )  # fmt: skip
    task = {"name": "toy", "version": 1, "metric": "accuracy"}
    config = {"task": task, "source": LANGUAGES[0]}
    document = with_task(empty({"objective": "mlm"}), config, [scores], {}, 1.0)
    write_results(run / "evaluation", document)
    assert "<td>38.5</td>" in own_html(write_page([run], [], tmp_path / "report.html"))


def test_a_folder_that_is_no_study_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"study\.json"):
        write_page([], [tmp_path], tmp_path / "report.html")
