"""study.json is checked when it is read, as results.json is."""

import json

import pytest

from alignmlm.artifacts.names import STUDY
from alignmlm.errors import DataError
from alignmlm.evaluation.scores.score_rows import score_rows
from alignmlm.evaluation.scores.study_file import study_document, study_text

ROW = {
    "objective": "mlm", "task": "toy", "source_language": "qaa-Latn",
    "language": "qaa-Latn-x-inv-trans", "seed": 4, "source": 95.0, "bs": 90.0, "bz": 50.0,
    "delta": 40.0, "n_seeds": 3,
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    """A study's file."""
    (tmp_path / STUDY).write_text(study_text("toy", [ROW]), encoding="utf-8")
    return tmp_path / STUDY


def test_what_was_written_is_read(path):
    assert study_document(path)["rows"] == [ROW]
    assert score_rows(path)[0].bz == 50.0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"bz": 50.0', '"bz": 51.0'),
        ('"checksum_xxh3"', '"checksum_xxh2"'),
        ('"toy",\n "units"', '"tox",\n "units"'),
        ('"schema_version": 2', '"schema_version": 3'),
        ('"schema_version": 2', '"schema_versiom": 2'),
    ],
)
def test_a_changed_study_is_named_with_the_remedy(path, before, after):
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(DataError, match=r"study\.json .*run the study again"):
        score_rows(path.parent)


def test_a_study_from_before_checksums_is_still_read(tmp_path):
    document = {"schema_version": 1, "name": "old", "units": {}, "rows": [ROW]}
    (tmp_path / STUDY).write_text(json.dumps(document), encoding="utf-8")
    assert score_rows(tmp_path)[0].bz == 50.0
