"""The exponentials of the logits: three ways to the same values.

slab: logits by a plain product, exponentiated in one sweep. scaled: a fused Triton product
writes the exponentials, relative to the label's logit. lean: the forward pass keeps nothing; the
backward pass recomputes them in chunks of the vocabulary, relative to the log of the sum.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from alignmlm_kernels.masked_softmax import rows as plain
from alignmlm_kernels.masked_softmax.head import Head
from alignmlm_kernels.masked_softmax.memory import Design, chunk_columns, cpu_room
from alignmlm_kernels.masked_softmax.row_sums import RowSums

ALIGNED = 16  # elements: rows of the exponentials start at a multiple, for wide stores on a GPU
SHIFT = {torch.float16: 10.0}  # added to the exponents: small exponentials keep their precision


class Plan(NamedTuple):
    """How the exponentials are computed."""

    design: Design
    dtype: torch.dtype  # of the products and the exponentials
    triton: bool  # sweeps by Triton kernels, else by PyTorch


Piece = tuple[int, Head, Float[Tensor, "masked chunk"]]  # its first token, and its exponentials


def room(plan: Plan, head: Head, columns: int) -> Float[Tensor, "masked vocab"]:
    """Memory for the exponentials of some columns."""
    if head.hidden.device.type == "cpu":
        return cpu_room((len(head.hidden), columns), plan.dtype)
    return gpu_room(head.hidden, columns, plan.dtype)


def gpu_room(hidden: Tensor, columns: int, dtype: torch.dtype) -> Float[Tensor, "masked vocab"]:
    """The same on a GPU; each row starts at a multiple of ALIGNED."""
    wide = -(-columns // ALIGNED) * ALIGNED
    return hidden.new_empty(hidden.shape[0], wide, dtype=dtype)[:, :columns]


def logits_into(head: Head, out: Float[Tensor, "masked vocab"]) -> None:
    """Write the logits, without their bias, into `out`."""
    torch.mm(head.hidden.to(out.dtype), head.weight.to(out.dtype).T, out=out)


def slab_sums(plan: Plan, head: Head, exponentials: Float[Tensor, "masked vocab"]) -> RowSums:
    """Sums of each row by a plain product and a sweep that makes the exponentials."""
    logits_into(head, exponentials)
    if not plan.triton:
        return plain.row_exponentials(exponentials, head.labels, head.bias)
    from alignmlm_kernels.masked_softmax.triton_rows import row_exponentials

    if head.bias is not None:
        exponentials += head.bias.to(exponentials.dtype)
    return row_exponentials(exponentials, head.labels, SHIFT.get(plan.dtype, 0.0))


def scaled_sums(plan: Plan, head: Head, exponentials: Float[Tensor, "masked vocab"]) -> RowSums:
    """Sums of each row by the fused product, which writes the exponentials."""
    from alignmlm_kernels.masked_softmax.triton_fused import fused_exponentials
    from alignmlm_kernels.masked_softmax.triton_labels import label_logits

    head = head.cast(plan.dtype)
    anywhere = head._replace(labels=head.labels.clamp(min=0))
    reference = label_logits(*anywhere)  # any logit does for -1
    label_logit = torch.where(head.labels >= 0, reference, 0)
    return fused_exponentials(head, reference, label_logit, exponentials)


def sums_alone(plan: Plan, head: Head) -> RowSums:
    """Sums of each row; no exponentials are kept."""
    if plan.triton:
        from alignmlm_kernels.masked_softmax.triton_fused import fused_row_sums

        return fused_row_sums(head.cast(plan.dtype))
    return plain.merged([slab_sums(plan, part, block) for part, block in parts(plan, head)])


def parts(plan: Plan, head: Head) -> Iterator[tuple[Head, Float[Tensor, "masked chunk"]]]:
    """The vocabulary in parts, which share the memory for their exponentials."""
    rows, vocab = len(head.hidden), len(head.weight)
    columns = chunk_columns(rows, vocab, plan.dtype, head.hidden.device)
    whole = room(plan, head, columns)
    for start in range(0, vocab, columns):
        stop = min(start + columns, vocab)
        yield head.part(start, stop), whole[:, : stop - start]


def chunks(plan: Plan, head: Head, reference: Float[Tensor, " masked"]) -> Iterator[Piece]:
    """The vocabulary in parts, each with its exponentials relative to the reference."""
    start = 0
    for part, block in parts(plan, head):
        if plan.triton:
            from alignmlm_kernels.masked_softmax.triton_fused import fused_chunk

            fused_chunk(part.cast(plan.dtype), reference, block)
        else:
            logits_into(part, block)
            plain.row_exponentials(block, part.labels, part.bias, reference)
        yield start, part, block
        start += len(part.weight)


def forward(
    plan: Plan, head: Head, keep: bool
) -> tuple[RowSums, Float[Tensor, "masked vocab"] | None]:
    """Sums of each row, and the exponentials where the design keeps them."""
    if plan.design == "lean" or not keep:
        return sums_alone(plan, head), None
    exponentials = room(plan, head, len(head.weight))
    sums = {"slab": slab_sums, "scaled": scaled_sums}[plan.design](plan, head, exponentials)
    return sums, exponentials
