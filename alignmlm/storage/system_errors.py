"""What the system refuses to do with a file, as an error that names the file and a remedy."""

import errno
import io
import os
import re

from alignmlm.errors import AlignMLMError


class StorageError(AlignMLMError):
    """A file or folder that the system does not let us read or write."""


REMEDIES = {
    errno.EACCES: "check who may read and write it, or name another place",
    errno.EPERM: "check who may read and write it, or name another place",
    errno.EROFS: "name a place on another file system",
    errno.ENOSPC: "make room on that disk, then start the same command again",
    errno.EDQUOT: "make room in your quota, then start the same command again",
    errno.EFBIG: "name a place on a file system that takes larger files",
    errno.ENOENT: "make it, or name another place",
    errno.ENOTDIR: "a file is where a folder should be: name another place",
    errno.EISDIR: "a folder is where a file should be: name another place",
    errno.EEXIST: "remove it, or name another place",
    errno.ENOTEMPTY: "another process writes there: let one of them end first",
    errno.ELOOP: "a symbolic link leads back to itself: mend it, or name another place",
    errno.ENAMETOOLONG: "name a place with a shorter path",
    errno.EINVAL: "that file system does not take such a name or operation: name another place",
    errno.ENXIO: "it is no ordinary file: name another place",
    errno.EBUSY: "it is in use: name another place",
    errno.EXDEV: "its parts lie on several file systems: name a place on one of them",
    errno.EIO: "check the disk or the network file system, then start the same command again",
    errno.ESTALE: "check the network file system, then start the same command again",
    errno.ETIMEDOUT: "check the network file system, then start the same command again",
    errno.EMFILE: "raise the number of open files: ulimit -n",
    errno.ENFILE: "the machine has too many open files: end other programs",
    errno.ENOMEM: "the machine has no memory left: end other programs",
    errno.ENOLCK: "that file system has no locks: name a place on another one",
    errno.ENOSYS: "that file system cannot do this: name a place on another one",
    errno.EOPNOTSUPP: "that file system cannot do this: name a place on another one",
}


RUST = re.compile(r"\(os error (\d+)\)")  # safetensors and tokenizers raise no OSError


def storage_error(error: BaseException) -> StorageError | None:
    """A disk error as one that names the file and a remedy; None for any other error."""
    number, names = None, []
    if isinstance(error, OSError):
        number = error.errno
        names = [
            os.fsdecode(n) for n in (error.filename, error.filename2) if isinstance(n, str | bytes)
        ]
    elif written := RUST.search(str(error)):
        number = int(written[1])
    if number not in REMEDIES:
        return None
    place = " -> ".join(names) or written_file(error) or "a file"
    return StorageError(f"{place}: {os.strerror(number)}; {REMEDIES[number]}")


def written_file(error: BaseException) -> str | None:
    """The file that was open where an error arose; errors of write() or close() do not name it."""
    name, trace = None, error.__traceback__
    while trace is not None:
        for value in trace.tb_frame.f_locals.values():
            if isinstance(value, io.IOBase) and isinstance(
                file_name := getattr(value, "name", None), str
            ):
                name = file_name
        trace = trace.tb_next
    return name
