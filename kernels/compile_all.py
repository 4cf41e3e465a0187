"""Compile every Triton kernel for three generations of GPU, on a machine that needs none of them.

python kernels/compile_all.py [--json FILE] [--targets 80,90,100] [--only TEXT] [--jobs 2]

Each file alignmlm_kernels/*/triton_*.py says in COMPILED what to compile. Exit status 1: a kernel
spills registers, wants more registers or shared memory than there are, or lost its tensor cores.
"""

import argparse
import contextlib
import importlib
import io
import json
import logging
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from alignmlm_kernels.compiled_case import CompiledCase

PACKAGE = Path(__file__).parent / "alignmlm_kernels"
# Shared memory that one block may have. Source: CUDA programming guide, compute capabilities.
SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
MOST_REGISTERS = 255  # of one thread
TENSOR_CORES = re.compile(r"^\s*(?:@\S+\s+)?(mma\.sync|wgmma\.mma_async|tcgen05\.mma)\b", re.M)
USED = re.compile(r"Used (\d+) registers")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
COLUMNS = ["kernel", "target", "registers", "shared", "spills", "tensor cores", "seconds", ""]

log = logging.getLogger("compile_all")
_WORK: list[tuple[CompiledCase, int]] = []  # read by the forked processes


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """What the assembler said about one kernel on one target."""

    kernel: str
    target: str
    warps: int = 0
    registers: int = 0  # per thread
    shared_bytes: int = 0  # per block
    spill_bytes: int = 0  # stored and loaded, and the stack
    tensor_cores: list[str] = field(default_factory=list)  # instructions
    compile_s: float = 0.0
    problems: list[str] = field(default_factory=list)


def main() -> int:
    """Exit status: 0 when every kernel fits every target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_AS_WRITTEN)
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--targets", default="80,90,100", help="compute capabilities")
    parser.add_argument("--only", default="", help="kernels whose name holds this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    with _compiler():
        work = [
            (case, int(target))
            for case in compiled_cases()
            for target in chosen.targets.split(",")
            if chosen.only in case.name
        ]
        log.info(_line(COLUMNS))
        results = [_logged(result) for result in _all_compiled(work, chosen.jobs)]
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    failed = sum(bool(result.problems) for result in results)
    log.info("%d kernels compiled, %d with problems", len(results), failed)
    return 1 if failed or not results else 0


def compiled_cases() -> list[CompiledCase]:
    """The cases of all kernels, by file."""
    files = sorted(PACKAGE.glob("*/triton_*.py"))
    names = [".".join((PACKAGE.name, file.parent.name, file.stem)) for file in files]
    modules = [importlib.import_module(name) for name in names]
    return [case for module in modules for case in getattr(module, "COMPILED", [])]


def _all_compiled(work: list[tuple[CompiledCase, int]], jobs: int) -> Iterator[Compiled]:
    """The results in order. Children inherit the kernels by fork: they cannot be sent."""
    _WORK.extend(work)
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap(_compiled_at, range(len(work)))


def _compiled_at(place: int) -> Compiled:
    return compiled(*_WORK[place])


def compiled(case: CompiledCase, target: int) -> Compiled:
    """One kernel on one target, with what is wrong about it."""
    start = time.perf_counter()
    try:
        kernel, said = _assembled(case, target)
    except Exception as error:  # Triton and the assembler raise errors of many kinds
        return Compiled(kernel=case.name, target=f"sm_{target}", problems=[_last_line(error)])
    spills, registers = SPILLS.search(said), USED.search(said)
    if not spills or not registers:
        raise RuntimeError(f"{case.name}: the assembler said nothing that can be read:\n{said}")
    result = Compiled(
        kernel=case.name,
        target=f"sm_{target}",
        warps=case.warps,
        registers=int(registers[1]),
        shared_bytes=kernel.metadata.shared,
        spill_bytes=sum(map(int, spills.groups())),
        tensor_cores=sorted(set(TENSOR_CORES.findall(kernel.asm["ptx"]))),
        compile_s=round(time.perf_counter() - start, 2),
    )
    return replace(result, problems=list(_problems(result, case, target)))


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return "does not compile: " + (lines[-1] if lines else type(error).__name__)


def _problems(result: Compiled, case: CompiledCase, target: int) -> Iterator[str]:
    if result.spill_bytes:
        yield f"{result.spill_bytes} bytes spilled"
    if result.registers > MOST_REGISTERS:
        yield f"more than {MOST_REGISTERS} registers"
    if result.registers * case.warps * 32 > 65_536:
        yield "a block needs more registers than a multiprocessor has"
    if result.shared_bytes > SHARED_BYTES[target]:
        yield f"more than {SHARED_BYTES[target]} bytes of shared memory"
    if case.expects_tensor_cores and not result.tensor_cores:
        yield "no tensor cores"


def _assembled(case: CompiledCase, target: int) -> tuple[Any, str]:
    """The compiled kernel and the assembler's own words about it."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = case.function.arg_names
    source = ASTSource(
        fn=case.function,
        signature={n: "constexpr" if n in case.constants else case.types[n] for n in names},
        constexprs=dict(case.constants),
        attrs={(names.index(n),): [["tt.divisibility", 16]] for n in case.divisible_by_16},
    )
    options = {"num_warps": case.warps, "num_stages": case.stages}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        kernel = triton.compile(source, target=GPUTarget("cuda", target, 32), options=options)
    return kernel, said.getvalue()


@contextlib.contextmanager
def _compiler() -> Iterator[None]:
    """Triton as a compiler: no interpreter, an empty cache, the assembler's words printed."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("TRITON_INTERPRET", None)
        os.environ |= {"TRITON_CACHE_DIR": folder, "TRITON_ALWAYS_COMPILE": "1"}
        os.environ["TRITON_DUMP_PTXAS_LOG"] = "1"
        yield


def _logged(result: Compiled) -> Compiled:
    log.info(
        _line(
            [
                result.kernel,
                result.target,
                result.registers,
                result.shared_bytes,
                result.spill_bytes,
                " ".join(result.tensor_cores) or "-",
                result.compile_s,
                "; ".join(result.problems),
            ]
        )
    )
    return result


def _line(cells: list[Any]) -> str:
    widths = (38, 7, 9, 8, 7, 16, 7, 0)
    return " ".join(f"{cell!s:<{width}}" for cell, width in zip(cells, widths, strict=True))


_AS_WRITTEN = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())
