"""The masked softmax beside other libraries: times, memory and errors on the same inputs.

On a GPU everything that is installed takes part. On a CPU Triton's kernels take part with
--interpreter only, at small sizes: then errors count and times mean nothing.
"""

import argparse
import logging
import sys
from dataclasses import replace

import environment  # noqa: F401 - before torch and the kernels
import torch
from cases import Case, Logits, Shape, make_case, parsed_shape
from commands import add_arguments, chosen, clock_of, device_of, is_chosen
from compare import TURNS, Inputs, compared
from exact import exact_of
from peers import OURS, PEERS, Setting, absence
from records import RESULTS, BenchRow, keep, place_of
from rich.console import Console
from tables import WIDTH, show

RESULTS_FILE = RESULTS / "masked_softmax.jsonl"
SHAPES = {
    "cpu": ["614x80000x512"],
    "cuda": ["9830x80000x512", "9830x80000x768", "9830x80000x1024", "9830x500000x512"],
    "small": ["37x1003x40"],
}
ALL_TOKENS = {
    "cpu": ["4096:614x80000x512"],
    "cuda": ["65536:9830x80000x512"],
    "small": ["74:11x1003x40"],
}
ROUNDS = {"cpu": 7, "cuda": 50, "small": 3}
GEMMS = "floor: matrix products"


class Gemms:
    """Nothing but the matrix products of a case, into memory that is there already."""

    def __init__(self, cases: list[Case]) -> None:
        self.cases = [(case.hidden.detach(), case.weight.detach()) for case in cases]
        hidden, weight = self.cases[0]
        self.logits = hidden.new_empty(len(hidden), len(weight))
        self.gradients = [torch.empty_like(hidden), torch.empty_like(weight)]

    def forward(self, turn: int) -> None:
        """The logits."""
        hidden, weight = self.cases[turn % len(self.cases)]
        torch.mm(hidden, weight.T, out=self.logits)

    def both(self, turn: int) -> None:
        """The logits and the two gradients."""
        hidden, weight = self.cases[turn % len(self.cases)]
        self.forward(turn)
        torch.mm(self.logits, weight, out=self.gradients[0])
        torch.mm(self.logits.T, hidden, out=self.gradients[1])


def make_inputs(shape: Shape, dtype: torch.dtype, device: torch.device, logits: Logits) -> Inputs:
    """The inputs of a shape, what they cost at least, and their exact gradients on demand."""
    cases = [make_case(shape, dtype, device, logits, turn) for turn in range(TURNS)]
    exact, gemms = exact_of(cases[0]), Gemms(cases)
    modes = ("forward", "both")
    return Inputs(
        op="masked_softmax",
        shape=shape.as_row(),
        dtype=dtype,
        kind=logits,
        cases=cases,
        counted=shape.labelled,
        gradients=("hidden", "weight", "bias") if shape.bias else ("hidden", "weight"),
        exact=lambda _: exact,
        least_flops={mode: shape.least_flops(mode) for mode in modes},
        least_bytes={mode: shape.least_bytes(mode, dtype.itemsize) for mode in modes},
        floors={GEMMS: {"forward": gemms.forward, "both": gemms.both}},
    )


def parsed_arguments(arguments: list[str]) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser, RESULTS_FILE)
    parser.add_argument("--shapes", nargs="+", help="POSITIONS[:LABELLED]xVOCABxHIDDEN")
    parser.add_argument("--dtype", nargs="+", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--logits", nargs="+", choices=["random", "trained"])
    parser.add_argument("--no-bias", action="store_true", help="peers without one take part")
    parser.add_argument("--all-tokens", action="store_true", help="every position, most ignored")
    return parser.parse_args(arguments)


def usual_types(device: torch.device, small: bool) -> list[str]:
    """The types that matter on a device.

    Without bfloat16 instructions a product of 614 x 80,000 x 512 takes minutes on a CPU.
    """
    if device.type == "cuda":
        return ["bfloat16"]
    fast = small or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return ["float32", "bfloat16"] if fast else ["float32"]


def with_defaults(asked: argparse.Namespace, device: torch.device) -> argparse.Namespace:
    """The arguments with what they leave open filled in."""
    small = asked.smoke or asked.interpreter
    size = "small" if small else device.type
    asked.shapes = asked.shapes or (ALL_TOKENS if asked.all_tokens else SHAPES)[size]
    asked.rounds = asked.rounds or (1 if asked.interpreter else ROUNDS[size])
    asked.dtype = ["float32"] if asked.interpreter else asked.dtype or usual_types(device, small)
    asked.logits = asked.logits or (["trained"] if small else ["random", "trained"])
    return asked


def run_inputs(
    shape: Shape, dtype: torch.dtype, logits: Logits, asked: argparse.Namespace, setting: Setting
) -> list[BenchRow]:
    """All rows of one shape, type and kind of logits."""
    inputs = make_inputs(shape, dtype, setting.device, logits)
    if not is_chosen(GEMMS, asked.only):
        inputs = replace(inputs, floors={})
    return compared(
        chosen([*OURS, *PEERS], asked.only),
        lambda implementation: absence(implementation, shape, setting),
        inputs,
        asked.rounds,
        setting.device,
    )


def main(arguments: list[str]) -> None:
    """Compare on every shape, print the tables, keep the rows."""
    asked, console = parsed_arguments(arguments), Console(width=WIDTH)
    device, clock = device_of(asked), clock_of(asked)
    asked = with_defaults(asked, device)
    setting = Setting(device=device, interpreter=asked.interpreter, smoke=asked.smoke)
    place = place_of(device, asked.commit, clock)
    console.print(f"{place.device}, torch {place.torch}, triton {place.triton}, {place.commit}")
    for text in asked.shapes:
        shape = parsed_shape(text, bias=not asked.no_bias)
        for name in asked.dtype:
            for logits in asked.logits:
                rows = run_inputs(shape, getattr(torch, name), logits, asked, setting)
                show(console, f"{shape}, {name}, {logits} logits", rows, clock)
                if asked.keep:
                    keep(place, rows, asked.keep)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main(sys.argv[1:])
