"""Files and folders appear whole or not at all."""

import os
import subprocess
import sys

import pytest

from alignmlm.storage.atomic import (
    MACHINE,
    append_text,
    folder_bytes,
    new_file,
    new_folder,
    partial_path,
    remove_partial,
    replace_text,
)
from tests.storage.coming_and_going import folders_come_and_go


def names(folder):
    """The names of all files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_is_replaced_whole(tmp_path):
    replace_text(tmp_path / "a.json", "one")
    replace_text(tmp_path / "a.json", "zwei\n")
    assert (tmp_path / "a.json").read_bytes() == b"zwei\n"
    assert names(tmp_path) == ["a.json"]


def test_an_error_while_a_file_is_written_leaves_the_older_one(tmp_path):
    replace_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "a") as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_takes_the_place_of_an_older_one(tmp_path):
    for content in ("one", "two"):
        with new_folder(tmp_path / "export") as partial:
            (partial / content).write_text(content)
            assert not (tmp_path / "export" / content).exists()
    assert names(tmp_path) == ["export/two"]


def test_an_error_while_a_folder_is_written_leaves_the_older_one(tmp_path):
    with new_folder(tmp_path / "export") as partial:
        (partial / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "export") as partial:
        (partial / "b").write_text("half")
        raise ZeroDivisionError
    assert names(tmp_path) == ["export/a"]


def test_what_a_killed_process_left_of_a_folder_is_removed_by_the_next_one(tmp_path):
    leftover = tmp_path / "export[1].tmp-1"
    leftover.mkdir()
    (leftover / "half").write_text("")
    (tmp_path / "export1.tmp-1").write_text("another's")
    with new_folder(tmp_path / "export[1]") as partial:
        (partial / "a").write_text("")
    remove_partial(tmp_path / "export[1]")
    assert names(tmp_path) == ["export1.tmp-1", "export[1]/a"]


def test_the_name_of_an_unfinished_file_names_its_process(tmp_path):
    assert partial_path(tmp_path / "a.json").name == f"a.json.tmp-{MACHINE}-{os.getpid()}"


def test_text_is_appended(tmp_path):
    append_text(tmp_path / "log", "a\n")
    append_text(tmp_path / "log", "ü\n")
    assert (tmp_path / "log").read_text("utf-8") == "a\nü\n"


def test_a_file_written_again_removes_what_dead_processes_of_this_machine_left(tmp_path):
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    dead = f"a.json.tmp-{MACHINE}-{ended.stdout.strip()}"
    others = [f"a.json.tmp-{MACHINE}-{os.getppid()}", "a.json.tmp-elsewhere-1", f"b{dead}"]
    for name in (dead, *others):
        (tmp_path / name).touch()
    replace_text(tmp_path / "a.json", "{}")
    assert names(tmp_path) == sorted(["a.json", *others])


def test_the_size_of_a_folder_leaves_out_what_another_process_just_removed(tmp_path):
    (tmp_path / "kept").write_text("12345", "utf-8")
    with folders_come_and_go(tmp_path / "models"):
        sizes = {folder_bytes(tmp_path) for _ in range(2000)}
    assert sizes <= {5, 6}
