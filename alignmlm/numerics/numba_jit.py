"""Python functions over arrays compiled to machine code, once, and cached between runs."""

import inspect
import logging
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import xxhash
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.extending import intrinsic

log = logging.getLogger(__name__)

COMPILED = ("data", "languages", "numerics")  # packages that compiled code comes from


def sources() -> list[Path]:
    """Every file that compiled code may come from."""
    package = Path(__file__).parents[1]
    return sorted(path for name in COMPILED for path in (package / name).glob("*.py"))


def sources_id() -> str:
    """A hash of every file that compiled code may come from.

    numba caches code by the function's own file, so it misses changes in what the function calls.
    """
    digest = xxhash.xxh3_64()
    for path in sources():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where to keep compiled code: a folder for the code of these sources alone.

    Raises:
        RuntimeError: the user has no home.
    """
    name = sources_id()
    if given := os.environ.get("NUMBA_CACHE_DIR"):  # by the user, or by a parent process
        return Path(given) if Path(given).name == name else Path(given) / name
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "alignmlm" / name


def kept_in() -> Path | None:
    """The folder that compiled code is kept in; None, with a warning, where there can be none."""
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError) as error:
        log.warning(
            "compiled code cannot be kept (%s), so each process compiles it anew; set "
            "NUMBA_CACHE_DIR to a folder that can be written to",
            error,
        )
        return None
    return folder


# numba read its cache folder at import, so it must read it again; child processes inherit it
CACHE = kept_in()
if CACHE:
    os.environ["NUMBA_CACHE_DIR"] = str(CACHE)
    config.reload_config()


def compiled(function: Callable) -> Any:
    """The function compiled by numba when first called; it runs without the GIL.

    Type checkers that wrap every function (under pytest) are unwrapped first.
    """
    return njit(nogil=True, cache=CACHE is not None, error_model="numpy")(inspect.unwrap(function))


def bare(function: Callable) -> Any:
    """Like `compiled`, for a function that neither allocates arrays nor calls functions that do.

    Array references are not counted in it; counting takes a third of the time of loops over
    sentences.
    """
    uncounted: dict[str, Any] = {"_nrt": False}
    return njit(nogil=True, cache=CACHE is not None, error_model="numpy", **uncounted)(
        inspect.unwrap(function)
    )


def inlined(function: Callable) -> Any:
    """Like `compiled`, for a small function that only compiled ones call: it is inlined there."""
    return njit(inline="always", error_model="numpy")(inspect.unwrap(function))


@intrinsic
def fetch_ahead(typing_context: Any, array: Any, place: Any) -> Any:
    """Prefetch the cache line of a flat array that holds a place, without waiting for it."""

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
