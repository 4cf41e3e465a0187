"""Python functions over arrays as machine code, made once and kept between runs."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xxhash
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic


def sources_id() -> str:
    """A hash of every file that compiled code may come from.

    numba keeps code by the file of the function, and does not see that what it calls has changed.
    """
    digest, here = xxhash.xxh3_64(), Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *here.glob("data/*.py"), *here.glob("languages/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# numba read where to keep code when it was imported; processes that this one starts find it there
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "alignmlm" / sources_id()
os.environ.setdefault("NUMBA_CACHE_DIR", str(CACHE))
config.reload_config()


def compiled(function: Callable) -> Any:
    """The function compiled by numba when first called; it runs without Python's lock.

    Type checkers that wrap every function (under pytest) are taken off first.
    """
    return njit(nogil=True, cache=True, error_model="numpy")(inspect.unwrap(function))


def bare(function: Callable) -> Any:
    """The same for a function that makes no arrays, nor lets those that it calls make any.

    Nobody counts who holds an array there, which is a third of the time of loops over sentences.
    """
    uncounted: dict[str, Any] = {"_nrt": False}
    return njit(nogil=True, cache=True, error_model="numpy", **uncounted)(inspect.unwrap(function))


def inlined(function: Callable) -> Any:
    """The same for a small function that is only called by compiled ones."""
    return njit(inline="always", error_model="numpy")(inspect.unwrap(function))


@intrinsic
def fetch_ahead(typing_context: Any, array: Any, place: Any) -> Any:
    """Ask the memory for the part of a flat array around a place, and go on without waiting."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), cgutils.voidptr_t)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, keep, of_data = (ir.Constant(number, value) for value in (0, 3, 1))
        builder.call(prefetch, [pointer, read, keep, of_data])
        return context.get_dummy_value()

    return types.void(array, place), generate
