"""A run knows the content of the files that its numbers depend on, not only their names."""

import json
import logging
from pathlib import Path

import pytest

from alignmlm.errors import ConfigError
from alignmlm.pretraining.checkpoints import read_progress
from alignmlm.pretraining.contents import numbers_of, order_contents
from alignmlm.pretraining.run_folder import open_folder
from tests.runs import pretrain


def with_dictionary(small_recipe, path: Path, *more: str):
    """A recipe with a dictionary file."""
    file = {"path": str(path), "source": "qaa-Latn", "target": "qaa-Latn-x-inv-trans"}
    return small_recipe(f"--dictionary.files={json.dumps([file])}", *more)


def test_a_dictionary_that_changes_between_kill_and_resume_is_named(small_recipe, tmp_path):
    path, folder = tmp_path / "pairs.txt", tmp_path / "run"
    path.write_text("one eins\n")
    open_folder(folder, with_dictionary(small_recipe, path)).release()
    open_folder(folder, with_dictionary(small_recipe, path)).release()
    path.write_text("one zwei\n")
    with pytest.raises(ConfigError, match=r"dictionary\.content\.0: "):
        open_folder(folder, with_dictionary(small_recipe, path))
    open_folder(folder, with_dictionary(small_recipe, path, "--run.data_change=continue")).release()


class Editor(logging.Handler):
    """Edits a file when a run says that it validates."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        if "validation after step 4" in record.getMessage():
            self.path.write_text("la mi\n")


def test_a_dictionary_that_changes_during_a_run_changes_no_record_of_it(
    small_recipe, tmp_path, caplog
):
    caplog.set_level("INFO")
    path, log = tmp_path / "pairs.txt", logging.getLogger("alignmlm")
    path.write_text("ba do\n")
    editor = Editor(path)
    log.addHandler(editor)
    folder, _ = pretrain(with_dictionary(small_recipe, path), None)
    log.removeHandler(editor)
    assert path.read_text() == "la mi\n"
    started = json.loads((folder / "numbers.json").read_text("utf-8"))
    assert read_progress(folder / "checkpoints" / "step-8").numbers == started


def test_the_same_dictionary_under_another_name_has_the_same_content(small_recipe, tmp_path):
    contents = []
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("one eins\n")
        numbers = numbers_of(with_dictionary(small_recipe, tmp_path / name))
        contents.append(numbers["dictionary.content.0"])
    assert contents[0] == contents[1] is not None


def test_a_recipe_without_such_files_records_none(small_recipe):
    assert not [name for name in numbers_of(small_recipe()) if "content" in name]


def test_another_syntax_order_is_another_content(tmp_path):
    manifest = tmp_path / "orders" / "syn-fra-N-hin-V" / "eng-Latn" / "manifest.json"
    languages = ["eng-Latn", "eng-Latn-x-syn-fra-N-hin-V"]
    assert list(order_contents(str(tmp_path), languages).values()) == [None]
    manifest.parent.mkdir(parents=True)
    found = []
    for text in ("{}", "[]"):
        manifest.write_text(text)
        found += order_contents(str(tmp_path), languages).values()
    assert len({*found}) == 2
