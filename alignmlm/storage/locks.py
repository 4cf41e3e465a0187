"""Locks between processes: a file beside what it guards, free again when its holder is gone.

The operating system holds them (flock), so a process that is killed leaves none behind. The file
stays and says who took the lock last.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from alignmlm.errors import AlignMLMError

log = logging.getLogger(__name__)

PATIENCE_S = 3.0  # before a waiting process says what it waits for


class LockHeldError(AlignMLMError):
    """Another process holds a lock that nobody should wait for; the message says which one."""


def lock_of(path: Path) -> Path:
    """The lock file of a file or a folder, beside it."""
    return path.with_name(f".{path.name}.lock")


def holder(lock: Path) -> str:
    """The process that took a lock last, as "process 12 on host"."""
    with suppress(OSError, ValueError):
        return lock.read_text("utf-8").strip() or "another process"
    return "another process"


def taken(lock: Path, timeout_s: float) -> FileLock:
    """The lock of a file, held until it is released or this process ends.

    Raises:
        Timeout: another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock, timeout=timeout_s, thread_local=False, fallback_to_soft=False)
    held.acquire()
    lock.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", "utf-8")
    return held


def take_lock(lock: Path) -> FileLock:
    """The lock of a file, without waiting; held until it is released or this process ends.

    Raises:
        LockHeldError: another process holds it.
    """
    try:
        return taken(lock, timeout_s=0.0)
    except Timeout as error:
        raise LockHeldError(holder(lock)) from error


@contextmanager
def held_or_refused(lock: Path) -> Iterator[None]:
    """Hold the lock of a file, or be refused.

    Raises:
        LockHeldError: another process holds it.
    """
    held = take_lock(lock)
    try:
        yield
    finally:
        held.release()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder, waiting for it; a long wait is logged with the holder."""
    lock = lock_of(path)
    try:
        held = taken(lock, PATIENCE_S)
    except Timeout:
        log.info("waiting for %s, which %s uses", path, holder(lock))
        held = taken(lock, timeout_s=-1.0)
    try:
        yield
    finally:
        held.release()
