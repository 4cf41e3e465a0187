"""Files that appear whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

PARTIAL = ".tmp-"  # in the name of a file that is being written


def sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_text(path: Path, text: str) -> None:
    """Write a file under another name, then rename it over the old one."""
    partial = path.with_name(f"{path.name}{PARTIAL}{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    sync(partial)
    partial.replace(path)


def append_text(path: Path, text: str) -> None:
    """Write at the end of a file, all of the text or nothing; the file is opened for this alone.

    So a folder that is gone is noticed, and nothing is kept back.

    Raises:
        OSError: the disk is full, or the folder is gone.
    """
    data = text.encode()
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        if file.write(data) != len(data):
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file under another name, then rename it over the old one."""
    partial = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    write(partial)
    sync(partial)
    partial.replace(path)
