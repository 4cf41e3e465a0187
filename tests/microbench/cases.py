"""Inputs of the masked softmax: their shapes and their logits."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from alignmlm.numerics.counter_rng import key

Logits = Literal["random", "trained"]
IGNORED = -100
WEIGHT_SPREAD, BIAS_SPREAD = 0.02, 0.5
MARGIN_NATS = (14.0, 22.0)  # by how much the label of a confident row leads, about


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How large the inputs are; `labelled` of the positions have a label, the others none."""

    positions: int
    labelled: int
    vocab: int
    hidden: int
    bias: bool = True

    def as_row(self) -> dict[str, int | bool]:
        """The sizes as JSON has them."""
        return {name: getattr(self, name) for name in self.__slots__}

    def least_flops(self, mode: str) -> int:
        """Operations of the matrix products: one in a forward pass, two more in a backward one."""
        return (1 if mode == "forward" else 3) * 2 * self.positions * self.vocab * self.hidden

    def least_bytes(self, mode: str, item_bytes: int) -> int:
        """Bytes of hidden states and weights: read in each pass, and their gradients written."""
        times = 1 if mode == "forward" else 3
        return times * (self.positions + self.vocab) * self.hidden * item_bytes

    def __str__(self) -> str:
        """For instance 614x80000x512, with the labelled positions where some have none."""
        positions = str(self.positions)
        if self.labelled < self.positions:
            positions += f":{self.labelled}"
        return f"{positions}x{self.vocab}x{self.hidden}" + ("" if self.bias else " without bias")


def parsed_shape(text: str, bias: bool) -> Shape:
    """A shape written as POSITIONS[:LABELLED]xVOCABxHIDDEN."""
    first, vocab, hidden = text.split("x")
    positions, _, labelled = first.partition(":")
    return Shape(
        positions=int(positions),
        labelled=int(labelled or positions),
        vocab=int(vocab),
        hidden=int(hidden),
        bias=bias,
    )


class Case(NamedTuple):
    """One set of inputs; gradients are wanted for all but the labels."""

    hidden: Tensor
    weight: Tensor
    labels: Tensor
    bias: Tensor | None

    def leaves(self) -> list[Tensor]:
        """What gradients are wanted for."""
        return [t for t in (self.hidden, self.weight, self.bias) if t is not None]


def drawn_labels(shape: Shape, draw: torch.Generator, device: torch.device) -> Tensor:
    """Labels of which low ones are frequent, as words are; IGNORED where a position has none."""
    uniform = torch.rand(shape.positions, generator=draw, device=device, dtype=torch.float64)
    labels = (uniform**3 * shape.vocab).long().clamp_(max=shape.vocab - 1)
    order = torch.randperm(shape.positions, generator=draw, device=device)
    labels[order[shape.labelled :]] = IGNORED
    return labels


def add_confidence(hidden: Tensor, weight: Tensor, labels: Tensor, draw: torch.Generator) -> None:
    """Push every second position towards its label's vector, so that the label wins clearly."""
    rows = torch.arange(0, len(hidden), 2, device=hidden.device)
    wanted = weight[labels[rows].clamp(min=0)].float()
    low, high = MARGIN_NATS
    nats = low + (high - low) * torch.rand(len(rows), 1, generator=draw, device=hidden.device)
    push = nats * wanted / wanted.square().sum(dim=1, keepdim=True)
    hidden[rows] = (hidden[rows].float() + push).to(hidden.dtype)


def make_case(
    shape: Shape, dtype: torch.dtype, device: torch.device, logits: Logits, turn: int
) -> Case:
    """The inputs of a turn: random logits, or those with every second row confident."""
    draw = torch.Generator(device=device)
    draw.manual_seed(key("microbench", str(shape), logits, turn) >> 1)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=draw, device=device, dtype=torch.float32)

    weight = (WEIGHT_SPREAD * normal(shape.vocab, shape.hidden)).to(dtype)
    hidden = normal(shape.positions, shape.hidden).to(dtype)
    labels = drawn_labels(shape, draw, device)
    bias = (BIAS_SPREAD * normal(shape.vocab)).to(dtype) if shape.bias else None
    if logits == "trained":
        add_confidence(hidden, weight, labels, draw)
    case = Case(hidden, weight, labels, bias)
    for leaf in case.leaves():
        leaf.requires_grad_()
    return case
