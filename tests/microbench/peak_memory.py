"""What a forward and backward pass holds at its peak, beside the formula that promises it.

python tests/microbench/peak_memory.py [--shape 9830x500000x1024] [--dtype float32] [--impl lean]
"""

import argparse
import sys
from typing import NamedTuple

import timing
import torch
from alignmlm_kernels import masked_softmax_loss
from alignmlm_kernels.masked_softmax import memory


class Peak(NamedTuple):
    """Bytes beyond the inputs and the gradients."""

    promised_bytes: int
    measured_bytes: int


def peak(masked: int, vocab: int, hidden: int, dtype: torch.dtype, impl: str) -> Peak:
    """The formula and one measured pass, on a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    draw = torch.Generator().manual_seed(0)
    shapes = [(masked, hidden), (vocab, hidden), (vocab,)]
    states, weight, bias = (
        (torch.randn(*shape, generator=draw) / 8).to(device, dtype).requires_grad_()
        for shape in shapes
    )
    labels = torch.randint(0, vocab, (masked,), generator=draw).to(device)

    def work(_: int) -> tuple[torch.Tensor, ...]:
        nats = masked_softmax_loss(states, weight, labels, bias, impl=impl).nats
        return torch.autograd.grad(nats.sum(), (states, weight, bias))

    memory.FREE.clear()  # what waits to be used again would not be seen
    held = timing.peak_bytes(work, device)
    gradients = sum(part.numel() * part.element_size() for part in (states, weight, bias))
    promised = memory.peak_bytes(masked, vocab, hidden, dtype, device, impl)
    return Peak(promised, held - gradients)


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="9830x500000x1024", help="POSITIONSxVOCABxHIDDEN")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--impl", default="lean", choices=["slab", "scaled", "lean"])
    chosen = parser.parse_args()
    sizes = [int(size) for size in chosen.shape.split("x")]
    found = peak(*sizes, getattr(torch, chosen.dtype), chosen.impl)
    told = (chosen.shape, chosen.dtype, chosen.impl)
    promised, measured = (size / 2**20 for size in found)
    sys.stdout.write(f"{' '.join(told)}: promised {promised:.1f} MiB, held {measured:.1f} MiB\n")


if __name__ == "__main__":
    main()
