"""Products of matrices and sums of their rows, in float32 at least."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK_BYTES = 2**19  # of a CPU's bfloat16 product, which is computed and converted in blocks


def product(
    a: Float[Tensor, "row inner"], b: Float[Tensor, "inner column"]
) -> Float[Tensor, "row column"]:
    """The product a @ b: on a GPU at least float32, on a CPU rounded once to the factors' type."""
    exact = torch.promote_types(a.dtype, torch.float32)
    return torch.mm(a, b, out_dtype=exact) if a.is_cuda and a.dtype != exact else a @ b


def product_into(
    target: Float[Tensor, "row column"],
    a: Float[Tensor, "row inner"],
    b: Float[Tensor, "inner column"],
    add: bool,
) -> None:
    """Write a @ b over a tensor of at least float32, or add it to the tensor.

    On a CPU this takes little memory beyond the target, on a GPU as much again.
    """
    if a.dtype == target.dtype:
        torch.addmm(target, a, b, beta=float(add), out=target)
        return
    step = BLOCK_BYTES // (a.element_size() * target.shape[1])
    step = len(target) if a.is_cuda else max(1, step)
    for written, rows in zip(target.split(step), a.split(step), strict=True):
        write = written.add_ if add else written.copy_
        write(product(rows, b))  # unnamed, so that it is freed before the next one is made


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

    Rows whose label is -1 add nothing.
    """
    if triton:
        from alignmlm_kernels.masked_softmax import triton_labels

        triton_labels.add_label_rows(gradient, None, hidden, coefficient, labels)
    else:
        rows = (labels >= 0).nonzero()[:, 0]
        scaled = hidden[rows].to(gradient.dtype).mul_(coefficient[rows, None])
        gradient.index_add_(0, labels[rows], scaled)
