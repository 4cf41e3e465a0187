"""Files and folders that appear whole or not at all, and survive a power failure.

Whatever is written has a temporary name until it is on the disk, and is then renamed. A process
that is killed leaves at most a `<name>.tmp-<machine>-<process>`, which the next process to write
the file on that machine removes.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".tmp-"  # between the name of what is being written and its machine and process
MACHINE = os.uname().nodename


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush a folder and everything in it to the disk."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(place, name))
        sync(Path(place))


def rename(source: Path, target: Path) -> None:
    """Rename a file or a folder that was flushed, and flush its new name."""
    source.replace(target)
    sync(target.parent)


def partial_path(path: Path) -> Path:
    """The temporary name under which this process writes a file or a folder."""
    return path.with_name(f"{path.name}{PARTIAL}{MACHINE}-{os.getpid()}")


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """Partial copies of a file or folder, of killed processes or of one still writing."""
    return list(path.parent.glob(f"{glob_escaped(path.name)}{PARTIAL}*"))


def remove_partial(path: Path) -> None:
    """Remove the partial copies that killed processes left; the caller holds the lock."""
    for leftover in leftovers(path):
        remove(leftover)


def remove_dead_partials(path: Path) -> None:
    """Remove partial copies of a file by processes of this machine that no longer run."""
    prefix = f"{path.name}{PARTIAL}{MACHINE}-"
    for leftover in leftovers(path):
        process = leftover.name.removeprefix(prefix)
        if process.isdecimal() and not runs(int(process)):
            leftover.unlink(missing_ok=True)


def runs(process: int) -> bool:
    """Whether a process of this machine is running, whoever started it."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def set_aside(path: Path) -> Path:
    """Move a damaged file or folder aside; returns its new path. The caller holds its lock."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    rename(path, aside)
    return aside


def remove_partials_in(folder: Path) -> None:
    """Remove what killed processes left in a folder; the caller holds the lock of all of it."""
    for leftover in folder.glob(f"*{PARTIAL}*"):
        remove(leftover)


def glob_escaped(name: str) -> str:
    """A glob pattern that matches this name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A path to write to; it replaces the file when the block ends.

    An error in the block leaves everything as it was.
    """
    partial = partial_path(path)
    remove_dead_partials(path)
    try:
        yield partial
        sync(partial)
        rename(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill; it replaces the folder when the block ends.

    The caller holds the lock of the folder. An error in the block leaves everything as it was; a
    kill while an older folder is replaced may leave none.
    """
    remove_partial(path)
    partial = partial_path(path)
    partial.mkdir(parents=True)
    try:
        yield partial
        sync_tree(partial)
        older = partial.with_name(f"{partial.name}-older")
        if path.exists():
            path.rename(older)
        rename(partial, path)
        remove(older)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def replace_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file, whole or not at all."""
    with new_file(path) as partial:
        partial.write_bytes(data)


def replace_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    replace_bytes(path, text.encode())


def append_text(path: Path, text: str) -> None:
    """Append to a file, all of the text or nothing; the file is opened for this call alone.

    So a folder that is gone is noticed, and nothing waits in a buffer.

    Raises:
        OSError: the disk is full, or the folder is gone.
    """
    data = text.encode()
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        if file.write(data) != len(data):
            file.truncate(before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder; folders that another process removes meanwhile are left out."""
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files of a folder; one that another process just removed has none."""
    total = 0
    for path in files_below(folder):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def modified_ns(path: Path) -> int:
    """When a path was last modified, in ns since 1970; 0 if another process just removed it."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return 0
