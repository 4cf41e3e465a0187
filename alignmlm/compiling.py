"""Python functions over arrays as machine code, made once and kept between runs."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash


def sources_id() -> str:
    """A hash of every file that compiled code may come from.

    numba keeps code by the file of the function, and does not see that what it calls has changed.
    """
    digest, here = xxhash.xxh3_64(), Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *here.glob("data/*.py"), *here.glob("languages/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "alignmlm" / sources_id()
os.environ.setdefault("NUMBA_CACHE_DIR", str(CACHE))

from numba import njit  # noqa: E402 - it reads where to keep code when it is imported


def compiled(function: Callable) -> Any:
    """The function compiled by numba when first called; it runs without Python's lock.

    Type checkers that wrap every function (under pytest) are taken off first.
    """
    return njit(nogil=True, cache=True, error_model="numpy")(inspect.unwrap(function))


def inlined(function: Callable) -> Any:
    """The same for a small function that is only called by compiled ones."""
    return njit(inline="always", error_model="numpy")(inspect.unwrap(function))
