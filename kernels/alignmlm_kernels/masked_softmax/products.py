"""Products of matrices and sums of their rows, in float32 at least."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def product(
    a: Float[Tensor, "row inner"], b: Float[Tensor, "inner column"]
) -> Float[Tensor, "row column"]:
    """A @ b, at least in float32.

    A CPU's bfloat16 product is rounded once to bfloat16; a GPU's is not rounded at all.
    """
    exact = torch.promote_types(a.dtype, torch.float32)
    if a.dtype == exact:
        return a @ b
    return torch.mm(a, b, out_dtype=exact) if a.is_cuda else (a @ b).to(exact)


def product_into(
    target: Float[Tensor, "row column"],
    a: Float[Tensor, "row inner"],
    b: Float[Tensor, "inner column"],
    add: bool,
) -> None:
    """A @ b written over a tensor of at least float32, or added to it."""
    if a.dtype == target.dtype:
        torch.addmm(target, a, b, beta=float(add), out=target)
    elif add:
        target += product(a, b)
    else:
        target.copy_(product(a, b))


def column_sums(
    exponentials: Float[Tensor, "masked vocab"], scale: Float[Tensor, " masked"], triton: bool
) -> Float[Tensor, " vocab"]:
    """Sum over the rows of exponential times the row's scale, at least in float32."""
    if triton:
        from alignmlm_kernels.masked_softmax import triton_rows

        return triton_rows.column_sums(exponentials, scale)
    if exponentials.dtype == scale.dtype:
        return scale @ exponentials
    return product(scale[None].to(exponentials.dtype), exponentials)[0]


def add_label_rows(
    gradient: Float[Tensor, "vocab hidden"],
    hidden: Float[Tensor, "masked hidden"],
    coefficient: Float[Tensor, " masked"],
    labels: Int[Tensor, " masked"],
    triton: bool,
) -> None:
    """Add coefficient * hidden of each row to its label's gradient, in place and in a fixed order.

    A label of -1 is nowhere.
    """
    if triton:
        from alignmlm_kernels.masked_softmax import triton_labels

        triton_labels.add_label_rows(gradient, None, hidden, coefficient, labels)
    else:
        rows = (labels >= 0).nonzero()[:, 0]
        scaled = hidden[rows].to(gradient.dtype).mul_(coefficient[rows, None])
        gradient.index_add_(0, labels[rows], scaled)
