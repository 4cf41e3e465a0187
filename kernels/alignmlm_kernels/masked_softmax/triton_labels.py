"""Kernels for the term of the label: one logit of each row, one row of the gradient."""
# ruff: noqa: N803, SIM102 - sizes are capitals; constants decide before tensors
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from alignmlm_kernels.compiled_case import CompiledCase
from alignmlm_kernels.masked_softmax.triton_shared import check_rows

BLOCK_ROWS, BLOCK_HIDDEN = 16, 256


def label_logits(
    hidden: Float[Tensor, "masked hidden"],
    weight: Float[Tensor, "vocab hidden"],
    bias: Float[Tensor, " vocab"] | None,
    labels: Int[Tensor, " masked"],
) -> Float[Tensor, " masked"]:
    """The label's logit of each row, float32; 0 where the label is -1.

    Raises:
        KernelError: the elements of a row are not next to each other.
    """
    check_rows(hidden=hidden, weight=weight)
    rows, width = hidden.shape
    logits = torch.empty(rows, dtype=torch.float32, device=hidden.device)
    _label_logits[(triton.cdiv(rows, BLOCK_ROWS),)](
        hidden,
        weight,
        bias if bias is not None else hidden,
        labels,
        logits,
        rows,
        width,
        hidden.stride(0),
        weight.stride(0),
        HAS_BIAS=bias is not None,
        BLOCK_N=BLOCK_ROWS,
        BLOCK_H=BLOCK_HIDDEN,
        num_warps=8,
    )
    return logits


def add_label_rows(
    weight_grad: Float[Tensor, "vocab hidden"],
    bias_grad: Float[Tensor, " vocab"] | None,
    hidden: Float[Tensor, "masked hidden"],
    coefficient: Float[Tensor, " masked"],
    labels: Int[Tensor, " masked"],
) -> None:
    """Add coefficient * hidden of each row to the gradient of its label, in place.

    Rows with the same label are summed in their order, in float32, before they are added to the
    gradient. Rows whose label is -1 add nothing.

    Raises:
        KernelError: the elements of a row are not next to each other.
    """
    check_rows(weight_grad=weight_grad, hidden=hidden)
    rows, width = hidden.shape
    ordered, places = torch.sort(labels, stable=True)
    _add_label_rows[(rows, triton.cdiv(width, BLOCK_HIDDEN))](
        weight_grad,
        bias_grad if bias_grad is not None else weight_grad,
        hidden,
        coefficient,
        ordered,
        places,
        rows,
        width,
        weight_grad.stride(0),
        hidden.stride(0),
        HAS_BIAS=bias_grad is not None,
        BLOCK_N=BLOCK_ROWS,
        BLOCK_H=BLOCK_HIDDEN,
        num_warps=4,
    )


@triton.jit
@no_type_check
def _label_logits(
    hidden_ptr,
    weight_ptr,
    bias_ptr,
    labels_ptr,
    logits_ptr,
    N,
    H,
    stride_hidden,
    stride_weight,
    HAS_BIAS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    label = tl.load(labels_ptr + rows, mask=rows < N, other=-1)
    here = label >= 0
    hidden_rows_ptr = hidden_ptr + rows.to(tl.int64)[:, None] * stride_hidden
    weight_rows_ptr = weight_ptr + label[:, None] * stride_weight
    total = tl.zeros((BLOCK_N, BLOCK_H), tl.float32)
    for start in range(0, H, BLOCK_H):
        units = start + tl.arange(0, BLOCK_H)[None, :]
        mask = here[:, None] & (units < H)
        hidden = tl.load(hidden_rows_ptr + units, mask=mask, other=0.0).to(tl.float32)
        total += hidden * tl.load(weight_rows_ptr + units, mask=mask, other=0.0).to(tl.float32)
    logit = tl.sum(total, axis=1)
    if HAS_BIAS:
        logit += tl.load(bias_ptr + label, mask=here, other=0.0).to(tl.float32)
    tl.store(logits_ptr + rows, logit, mask=rows < N)


@triton.jit
@no_type_check
def _add_label_rows(
    weight_grad_ptr,
    bias_grad_ptr,
    hidden_ptr,
    coefficient_ptr,
    ordered_ptr,
    places_ptr,
    N,
    H,
    stride_grad,
    stride_hidden,
    HAS_BIAS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    first = tl.program_id(0)
    label = tl.load(ordered_ptr + first)
    before = tl.load(ordered_ptr + first - 1, mask=first > 0, other=-1)
    if (label >= 0) & (label != before):  # the first place of a label
        units = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
        total = tl.zeros((BLOCK_H,), tl.float32)
        total_bias = 0.0
        start = first
        while start < N:
            turn = start + tl.arange(0, BLOCK_N)
            same = tl.load(ordered_ptr + turn, mask=turn < N, other=-1) == label
            row = tl.load(places_ptr + turn, mask=same, other=0)
            coefficient = tl.load(coefficient_ptr + row, mask=same, other=0.0).to(tl.float32)
            hidden = tl.load(
                hidden_ptr + row[:, None] * stride_hidden + units[None, :],
                mask=same[:, None] & (units < H)[None, :],
                other=0.0,
            )
            total += tl.sum(coefficient[:, None] * hidden.to(tl.float32), axis=0)
            total_bias += tl.sum(coefficient, axis=0)
            start = tl.where(tl.sum(same.to(tl.int32), axis=0) == BLOCK_N, start + BLOCK_N, N)
        grad_ptr = weight_grad_ptr + label * stride_grad + units
        grad = tl.load(grad_ptr, mask=units < H, other=0.0)
        tl.store(grad_ptr, grad + total, mask=units < H)
        if HAS_BIAS:
            if tl.program_id(1) == 0:
                tl.store(bias_grad_ptr + label, tl.load(bias_grad_ptr + label) + total_bias)


def _cases() -> list[CompiledCase]:
    sizes = {"HAS_BIAS": True, "BLOCK_N": BLOCK_ROWS, "BLOCK_H": BLOCK_HIDDEN}
    gather = CompiledCase(
        name="label_logits bf16",
        function=_label_logits,
        types=dict.fromkeys(["hidden_ptr", "weight_ptr", "bias_ptr"], "*bf16")
        | {"labels_ptr": "*i64", "logits_ptr": "*fp32"}
        | dict.fromkeys(["N", "H", "stride_hidden", "stride_weight"], "i32"),
        constants=sizes,
        divisible_by_16=("hidden_ptr", "weight_ptr", "H", "stride_hidden", "stride_weight"),
        warps=8,
    )
    scatter = CompiledCase(
        name="add_label_rows bf16",
        function=_add_label_rows,
        types=dict.fromkeys(["weight_grad_ptr", "bias_grad_ptr", "coefficient_ptr"], "*fp32")
        | {"hidden_ptr": "*bf16", "ordered_ptr": "*i64", "places_ptr": "*i64"}
        | dict.fromkeys(["N", "H", "stride_grad", "stride_hidden"], "i32"),
        constants=sizes,
        divisible_by_16=("weight_grad_ptr", "hidden_ptr", "H", "stride_grad", "stride_hidden"),
        warps=4,
    )
    return [gather, scatter]


COMPILED = _cases()
