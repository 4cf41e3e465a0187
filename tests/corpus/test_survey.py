"""The files that `alignmlm init` finds in a folder."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignmlm.corpus.sources import SourceConfig, source_paths
from alignmlm.corpus.survey import fitting_tokenizer, patterns, surveyed
from alignmlm.errors import DataError

ROW = json.dumps({"text": "One."}).encode()


def found(folder):
    """The names of the files that a recipe for a folder reads."""
    source = SourceConfig(language="eng-Latn", files=patterns(folder))
    return [path.name for path in source_paths(source)]


def test_all_files_that_a_reader_takes_are_found(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.txt").write_text("One.\n")
    (tmp_path / "in/b.jsonl.gz").write_bytes(gzip.compress(ROW))
    (tmp_path / "c.json").write_bytes(ROW)
    (tmp_path / "d.conllu.xz").touch()
    (tmp_path / "README.md").touch()
    assert sorted(found(tmp_path)) == ["a.txt", "b.jsonl.gz", "c.json", "d.conllu.xz"]


def test_brackets_in_the_name_of_a_folder_are_no_pattern(tmp_path):
    for name in ("t1", "t[1]"):
        (tmp_path / name).mkdir()
    (tmp_path / "t1/other.txt").write_text("One.\n")
    (tmp_path / "t[1]/own.txt").write_text("One.\n")
    assert found(tmp_path / "t[1]") == ["own.txt"]


def test_a_folder_without_text_is_an_error_that_says_what_is_read(tmp_path):
    (tmp_path / "README.md").touch()
    with pytest.raises(DataError, match=r"no folder with files in \.txt, \.jsonl, \.json"):
        patterns(tmp_path)


def test_rows_of_empty_text_are_too_few_words(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [""] * 40}), path)
    with pytest.raises(DataError, match="0 words are too few"):
        fitting_tokenizer([surveyed("eng-Latn", str(path))])
