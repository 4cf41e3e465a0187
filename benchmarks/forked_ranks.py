"""Ranks as forks of a process that has imported everything, which takes longer than they do."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

LOOPBACK = "127.0.0.1"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LIBC = ctypes.CDLL(None, use_errno=True)


def forked(work: Callable[[], int]) -> int:
    """The process id of a fork that does some work and ends with its exit code.

    It ends when this process does, and without handlers of this process.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        code = work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def take_place(rank: int, world_size: int, address: str, port: int, apart: bool = False) -> None:
    """Tell this process where it stands, as a launcher would; `apart`: on a node of its own."""
    local_rank, local_world_size = (0, 1) if apart else (rank, world_size)
    place = {"RANK": rank, "WORLD_SIZE": world_size, "MASTER_ADDR": address, "MASTER_PORT": port}
    place |= {"LOCAL_RANK": local_rank, "LOCAL_WORLD_SIZE": local_world_size}
    os.environ |= {name: str(value) for name, value in place.items()}
