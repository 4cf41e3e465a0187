"""Logits to exponentials, row by row, in plain PyTorch: the implementation for CPUs.

Blocks of rows stay in the cache from one pass to the next, which beats inductor's fused C++ loop
(614 x 80,000 on two cores: 41 ms in place against 104 ms).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alignmlm_kernels.masked_softmax.row_sums import RowSums

BLOCK_BYTES = 2**21  # of the rows that are worked on at a time


def row_exponentials(
    logits: Float[Tensor, "masked vocab"],
    labels: Int[Tensor, " masked"],
    bias: Float[Tensor, " vocab"] | None = None,
    reference: Float[Tensor, " masked"] | None = None,
) -> RowSums:
    """Sums of each row; the logits, plus the bias, become exp(logit - reference), 0 at the label.

    The reference is the row's largest logit where none is given. A label of -1 means none.
    """
    rows, vocab = logits.shape
    exact = torch.promote_types(logits.dtype, torch.float32)
    sums, label_logit, largest = (logits.new_empty(rows, dtype=exact) for _ in range(3))
    leads = torch.empty(rows, dtype=torch.bool, device=logits.device)
    step = max(1, BLOCK_BYTES // (logits.element_size() * vocab))
    for start in range(0, rows, step):
        here = slice(start, start + step)
        stored, own = logits[here], labels[here]
        block = stored.to(exact)  # the same memory where the logits are exact already
        if bias is not None:
            block += bias
        at, known = own.clamp(min=0)[:, None], own >= 0
        top = block.amax(dim=1)
        of_label = torch.where(known, block.gather(1, at)[:, 0], 0)
        leads[here] = known & (of_label == top)
        tied = leads[here].nonzero()[:, 0]
        leads[start + tied] = block[tied].argmax(dim=1) == own[tied]
        largest[here], label_logit[here] = top, of_label
        block -= (top if reference is None else reference[here])[:, None]
        block.exp_()
        sums[here] = block.sum(dim=1)
        block.scatter_(1, at, torch.where(known[:, None], 0, block.gather(1, at)))
        if block.dtype != stored.dtype:
            stored.copy_(block)
    reference = largest.clone() if reference is None else reference
    return RowSums(
        largest.clone() if reference is None else reference, sums, label_logit, largest, leads
    )


def merged(parts: list[RowSums]) -> RowSums:
    """The sums of rows whose columns came in parts, in the order of the columns."""
    reference = torch.stack([part.reference for part in parts]).amax(dim=0)
    sums, label_logit = torch.zeros_like(reference), torch.zeros_like(reference)
    for part in parts:
        sums += part.sums * (part.reference - reference).exp()
        label_logit += part.label_logit
    largest, leads = parts[0].largest, parts[0].leads
    for part in parts[1:]:
        leads = torch.where(part.largest > largest, part.leads, leads)
        largest = torch.maximum(largest, part.largest)
    return RowSums(reference, sums, label_logit, largest, leads)
