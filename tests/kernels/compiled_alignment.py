"""What test_alignment_torch.py starts: compiled losses, without the shape checks of the tests."""

import sys

import torch
from alignmlm_kernels.alignment import (
    AlignmentLoss,
    AlignmentOptions,
    alignment_loss,
    alignment_statistics,
)

from tests.kernels.test_alignment_values import dictionary, random_embedding

STEPS = range(3)  # from the second on, the step is no constant of the graph


def losses_and_gradients(function):
    leaf, found = random_embedding().requires_grad_(), []
    for step in STEPS:
        loss = function(leaf, step)
        found += [loss.detach(), *torch.autograd.grad(loss, leaf)]
    return found


def check(function, backend):
    """Compiled as one graph, the function gives the same bits."""
    compiled = torch.compile(function, fullgraph=True, backend=backend)
    both = losses_and_gradients(function), losses_and_gradients(compiled)
    if not all(torch.equal(*one) for one in zip(*both, strict=True)):
        raise ValueError(f"{backend}: {both}")


def main(backend):
    pairs = dictionary("words")
    for distance in ("cosine", "infonce"):
        settings = {"distance": distance, "share": 0.5, "group_pairs": 8}
        options = AlignmentOptions(**settings)
        check(lambda e, step, s=settings: 3 * alignment_loss(e, pairs, **s, step=step), backend)
        check(lambda e, step, o=options: alignment_statistics(e, pairs, o, step=step)[0], backend)
    check(AlignmentLoss(pairs, AlignmentOptions(share=0.3)), backend)


if __name__ == "__main__":
    main(*sys.argv[1:])
