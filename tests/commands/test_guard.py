"""What a user can mend is one line and exit 2; Ctrl-C is 130; a bug stays a traceback."""

import errno
import os
from pathlib import Path

import pytest

from alignmlm.commands.guard import guarded
from alignmlm.storage.locks import take_lock
from alignmlm.storage.system_errors import REMEDIES


def ended(capsys, work) -> tuple[int, str]:
    """The exit code and the error output of some work."""
    code = guarded(lambda arguments: work(), ["data", "build"])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("number", sorted(REMEDIES))
def test_what_the_system_refuses_is_one_line_that_names_the_file(capsys, number):
    def work() -> int:
        raise OSError(number, os.strerror(number), "some/file")

    code, err = ended(capsys, work)
    assert code == 2
    assert err.startswith("alignmlm: error: some/file: ")
    assert REMEDIES[number] in err
    assert err.count("\n") == 1


def test_an_error_of_a_disk_in_a_rank_says_which(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    code, err = ended(capsys, lambda: Path("/proc/none/at/all").mkdir())
    assert (code, "error on rank 3: /proc/none/at/all" in err) == (2, True)


def test_other_errors_of_the_system_are_bugs():
    with pytest.raises(OSError, match="Bad file descriptor"):
        guarded(lambda _: os.close(10**6), [])
    assert errno.EBADF not in REMEDIES


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["data", "build"], "the same command goes on"),
        (["eval", "run", "--model=a"], "the same command goes on"),
        (["study", "run", "a.yaml"], "the same command goes on"),
        (["report", "runs"], "nothing was left half-written"),
    ],
)
def test_ctrl_c_says_what_is_left(capsys, arguments, told):
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    assert guarded(interrupt, arguments) == 130
    assert told in " ".join(capsys.readouterr().err.split())


def test_a_file_system_without_locks_is_one_line(capsys, tmp_path, monkeypatch):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    code, err = ended(capsys, lambda: take_lock(tmp_path / "run.lock"))
    assert code == 2
    assert "that file system cannot do this" in err
