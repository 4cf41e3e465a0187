"""Which device this machine has, and how much of it belongs to this rank."""

import ctypes
import os

import torch

from alignmlm.ranks.cores import usable_cores


def name_accelerator() -> None:
    """Tell DeepSpeed, which transformers imports too, to use the CPU where there is no GPU."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def share_cores() -> None:
    """Give this rank its part of the node's cores; launchers leave all of them to every rank.

    A set OMP_NUM_THREADS is left as it is.
    """
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, usable_cores() // ranks))


def keep_freed_memory() -> None:
    """Let this process keep the memory of a batch for the next one.

    By default the C library returns blocks of this size to the system as soon as they are freed,
    and the system zeroes each page anew, which takes a loader as long as its actual work.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of glibc
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # another C library
    adjust(mmap_threshold, 2**25)
    adjust(trim_threshold, 2**28)
