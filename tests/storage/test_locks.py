"""A lock has one holder among all processes, and none after a kill."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from alignmlm.storage import locks
from alignmlm.storage.locks import LockHeldError, held_or_refused, lock_of, locked, take_lock

HOLDER = """
import sys, time
from pathlib import Path
from alignmlm.storage.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
COUNTER = """
import sys
from pathlib import Path
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.locks import locked
path = Path(sys.argv[1])
for _ in range(50):
    with locked(path):
        replace_text(path, str(int(path.read_text()) + 1))
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path / "results.json"."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "results.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_no_change_of_two_processes_is_lost(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    command = [sys.executable, "-c", COUNTER, str(path)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert path.read_text() == "100"


def test_a_process_that_may_not_wait_is_told_who_holds_the_lock(tmp_path, holder):
    lock = lock_of(tmp_path / "results.json")
    with pytest.raises(LockHeldError, match=f"process {holder.pid} on "), held_or_refused(lock):
        pass


def test_a_waiting_process_says_what_for_and_whom_and_goes_on_after_a_kill(
    tmp_path, holder, caplog, monkeypatch
):
    monkeypatch.setattr(locks, "PATIENCE_S", 0.05)
    threading.Timer(0.3, os.kill, (holder.pid, signal.SIGKILL)).start()
    started = time.monotonic()
    with caplog.at_level(logging.INFO), locked(tmp_path / "results.json"):
        assert time.monotonic() - started > 0.2
    assert f"results.json, which process {holder.pid} on" in caplog.text


def test_a_lock_can_be_taken_again_when_it_was_released(tmp_path):
    take_lock(tmp_path / "run.lock").release()
    with held_or_refused(tmp_path / "run.lock"), pytest.raises(LockHeldError):
        take_lock(tmp_path / "run.lock")
    with held_or_refused(tmp_path / "run.lock"):
        pass


def test_a_lock_whose_file_was_removed_guards_the_new_file(tmp_path):
    old = take_lock(tmp_path / "build" / "lock")
    (tmp_path / "build" / "lock").unlink()
    with held_or_refused(tmp_path / "build" / "lock"), pytest.raises(LockHeldError):
        take_lock(tmp_path / "build" / "lock")
    old.release()
