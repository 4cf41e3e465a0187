"""One rank of the vocabulary-parallel loss; writes what it found for the test to compare."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from alignmlm_kernels import vocabulary_parallel_loss

OPTIONS = {"label_smoothing": 0.1, "z_loss": 1e-2}
MASKED, VOCAB, HIDDEN = 53, 1003, 24


def whole() -> tuple[torch.Tensor, ...]:
    """Hidden states, weight, bias and labels of all ranks; some labels are ignored."""
    draw = torch.Generator().manual_seed(5)
    shapes = [(MASKED, HIDDEN), (VOCAB, HIDDEN), (VOCAB,)]
    labels = torch.randint(0, VOCAB, (MASKED,), generator=draw)
    labels[::7] = -100
    return *(torch.randn(*shape, generator=draw) for shape in shapes), labels


def bounds(size: int, ranks: int) -> list[int]:
    """Uneven parts: the first rank gets the most, the last one may get none."""
    cuts = [size - size * (ranks - rank) ** 2 // ranks**2 for rank in range(ranks)]
    return [*cuts, size]


def main(folder: Path) -> None:
    """Write the losses and gradients of this rank."""
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    hidden, weight, bias, labels = whole()
    rows, tokens = bounds(MASKED, ranks), bounds(VOCAB, ranks)
    own, part = slice(rows[rank], rows[rank + 1]), slice(tokens[rank], tokens[rank + 1])
    inputs = [t.clone().requires_grad_() for t in (hidden[own], weight[part], bias[part])]
    for budget_bytes in (2**31, 0):
        found = vocabulary_parallel_loss(
            inputs[0], inputs[1], labels[own], inputs[2], budget_bytes=budget_bytes, **OPTIONS
        )
        upstream = torch.linspace(0.5, 1.5, MASKED)[own]
        grads = torch.autograd.grad(found.nats @ upstream, inputs)
        torch.save([*found, *grads], folder / f"{ranks}-{rank}-{budget_bytes}.pt")
    dist.barrier()
    os._exit(0)  # torch 2.14 aborts now and then when a rank ends by itself after a backward pass


if __name__ == "__main__":
    main(Path(sys.argv[1]))
