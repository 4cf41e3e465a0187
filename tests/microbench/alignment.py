"""The alignment loss beside plain torch: times, memory and errors on the same dictionaries."""

import argparse
import logging
import sys
from collections.abc import Callable
from functools import partial

import environment  # noqa: F401 - before torch and the kernels
import torch
from alignmlm_kernels import alignment_loss
from commands import add_arguments, chosen, clock_of, device_of
from compare import TURNS, Inputs, compared
from dictionaries import (
    AlignmentCase,
    Size,
    Words,
    exact_alignment,
    make_dictionary,
    parsed_size,
    summed_distance,
)
from peers import Implementation, LossOf, Reduction
from records import RESULTS, keep, place_of
from rich.console import Console
from tables import WIDTH, show
from torch import Tensor

RESULTS_FILE = RESULTS / "alignment.jsonl"
SIZES = {
    "cpu": ["40000x80000x512", "500000x250000x512"],
    "cuda": ["40000x80000x512", "500000x500000x1024"],
    "small": ["300x500x24"],
}
ROUNDS = {"cpu": 7, "cuda": 50, "small": 3}


def plain(case: AlignmentCase, _: Reduction) -> Tensor:
    """Gather, cosine similarity, mean, in float32."""
    return summed_distance(case.embedding.float(), case.source, case.target) / len(case.pairs)


def ours(impl: str) -> Callable[[], LossOf]:
    """The public function with one of its implementations."""
    chosen = partial(alignment_loss, impl=impl)
    return lambda: lambda case, _: chosen(case.embedding, case.pairs)


def implementation(name: str, opened: Callable[[], LossOf], **where: bool) -> Implementation:
    """One that gives the mean only."""
    return Implementation(name=name, opened=opened, reductions=("mean",), **where)


IMPLEMENTATIONS = (
    *(
        implementation(f"alignmlm: {impl}", ours(impl), triton=impl == "triton")
        for impl in ("auto", "reference", "cpu", "triton")
    ),
    implementation("torch: plain", lambda: plain),
    implementation(
        "torch: plain, compiled", lambda: torch.compile(plain, dynamic=False), slow_start=True
    ),
)


def make_inputs(size: Size, dtype: torch.dtype, device: torch.device, words: Words) -> Inputs:
    """The inputs of a size, and the bytes that they cost at least."""
    cases = [make_dictionary(size, dtype, device, words, turn) for turn in range(TURNS)]
    exact = exact_alignment(cases[0])
    row_bytes = size.hidden * dtype.itemsize
    read_bytes = cases[0].touched_rows() * row_bytes
    return Inputs(
        op="alignment",
        shape=size.as_row(),
        dtype=dtype,
        kind=words,
        cases=cases,
        counted=1,
        gradients=("embedding",),
        exact=lambda _: exact,
        least_bytes={"forward": read_bytes, "both": read_bytes + size.vocab * row_bytes},
    )


def parsed_arguments(arguments: list[str]) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser, RESULTS_FILE)
    parser.add_argument("--sizes", nargs="+", help="PAIRSxVOCABxHIDDEN")
    parser.add_argument("--dtype", nargs="+", choices=["float32", "bfloat16"])
    parser.add_argument("--words", nargs="+", choices=["tokens", "words"])
    return parser.parse_args(arguments)


def with_defaults(asked: argparse.Namespace, device: torch.device) -> argparse.Namespace:
    """The arguments with what they leave open filled in."""
    size = "small" if asked.smoke or asked.interpreter else device.type
    asked.sizes = asked.sizes or SIZES[size]
    asked.rounds = asked.rounds or (1 if asked.interpreter else ROUNDS[size])
    usual = ["float32", "bfloat16"] if device.type == "cuda" else ["float32"]
    asked.dtype = ["float32"] if asked.interpreter else asked.dtype or usual
    asked.words = asked.words or ["tokens", "words"]
    return asked


def absence(made: Implementation, asked: argparse.Namespace, device: torch.device) -> str | None:
    """Why an implementation cannot take part, or None."""
    if made.triton and device.type == "cpu" and not asked.interpreter:
        return "needs CUDA, or --interpreter"
    if made.slow_start and (asked.smoke or asked.interpreter):
        return "compiles for too long for a short run"
    return None


def main(arguments: list[str]) -> None:
    """Compare on every dictionary, print the tables, keep the rows."""
    asked, console = parsed_arguments(arguments), Console(width=WIDTH)
    device, clock = device_of(asked), clock_of(asked)
    asked = with_defaults(asked, device)
    place = place_of(device, asked.commit, clock)
    console.print(f"{place.device}, torch {place.torch}, triton {place.triton}, {place.commit}")
    part = chosen(IMPLEMENTATIONS, asked.only)
    for size in map(parsed_size, asked.sizes):
        for name in asked.dtype:
            for words in asked.words:
                inputs = make_inputs(size, getattr(torch, name), device, words)
                without = lambda made: absence(made, asked, device)  # noqa: E731
                rows = compared(part, without, inputs, asked.rounds, device)
                show(console, f"{size}, {name}, {words}", rows, clock)
                if asked.keep:
                    keep(place, rows, asked.keep)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(sys.argv[1:])
