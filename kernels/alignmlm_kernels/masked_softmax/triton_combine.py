"""Kernels that combine the sums of the product's tiles, and recompute rows out of range."""
# ruff: noqa: N803 - sizes are capitals, as in the papers
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from alignmlm_kernels.compiled_case import CompiledCase
from alignmlm_kernels.masked_softmax.head import Head
from alignmlm_kernels.masked_softmax.row_sums import RowSums

MOST = tl.constexpr(70.0)  # logit minus reference: exp(70) times a million is within float32
COMBINE_TILES, COMBINE_ROWS = 64, 32
REPAIR_COLUMNS, REPAIR_UNITS = 64, 128


class TileSums(NamedTuple):
    """The numbers of each row of every tile of columns."""

    largest: Float[Tensor, "tile masked"]  # logit
    best: Int[Tensor, "tile masked"]  # its column, the lowest on ties
    sums: Float[Tensor, "tile masked"]  # relative to the row's reference, or else to largest


def combined_sums(
    parts: TileSums,
    reference: Float[Tensor, " masked"] | None,
    labels: Int[Tensor, " masked"],
    label_logit: Float[Tensor, " masked"],
) -> RowSums:
    """The sums of all tiles, in a fixed order.

    Where the reference is more than 70 below the largest logit, that logit becomes the reference,
    and the sum is invalid until `repair`.
    """
    tiles, rows = parts.sums.shape
    numbers = parts.sums.new_empty(3, rows)
    best = torch.empty(rows, dtype=torch.int64, device=numbers.device)
    _combine[(triton.cdiv(rows, COMBINE_ROWS),)](
        *parts,
        numbers if reference is None else reference,
        *numbers,
        best,
        tiles,
        rows,
        HAS_REFERENCE=reference is not None,
        BLOCK_T=COMBINE_TILES,
        BLOCK_N=COMBINE_ROWS,
        num_warps=4,
    )
    return RowSums(numbers[0], numbers[1], label_logit, numbers[2], best == labels)


def repair(
    head: Head,
    reference: Float[Tensor, " masked"],
    exponentials: Float[Tensor, "masked vocab"],
    combined: RowSums,
) -> None:
    """Compute again, in place, the rows whose largest logit is more than 70 above the reference.

    Each row is checked on the device, so that the host never waits.
    """
    hidden, weight, bias, labels = head
    _repair[(len(hidden),)](
        hidden,
        weight,
        bias if bias is not None else hidden,
        reference,
        labels,
        exponentials,
        combined.largest,
        combined.sums,
        *weight.shape,
        hidden.stride(0),
        weight.stride(0),
        exponentials.stride(0),
        HAS_BIAS=bias is not None,
        BLOCK_V=REPAIR_COLUMNS,
        BLOCK_H=REPAIR_UNITS,
        num_warps=4,
    )


@triton.jit
@no_type_check
def _combine(
    tile_largest_ptr,
    tile_best_ptr,
    tile_sums_ptr,
    given_ptr,
    reference_ptr,
    sums_ptr,
    largest_ptr,
    best_ptr,
    T,
    N,
    HAS_REFERENCE: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    rows = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    tiles = tl.arange(0, BLOCK_T)
    near = tl.minimum(rows, N - 1)
    lane = tl.full((BLOCK_T, BLOCK_N), float("-inf"), tl.float32)
    lane_best = tl.zeros((BLOCK_T, BLOCK_N), tl.int32)
    for start in range(0, T, BLOCK_T):
        place = (start + tiles).to(tl.int64)[:, None] * N + near[None, :]
        mask = (start + tiles < T)[:, None]
        value = tl.load(tile_largest_ptr + place, mask=mask, other=float("-inf"))
        column = tl.load(tile_best_ptr + place, mask=mask, other=0)
        lane_best = tl.where(value > lane, column, lane_best)
        lane = tl.where(value > lane, value, lane)
    largest = tl.max(lane, axis=0)
    best = tl.min(tl.where(lane == largest[None, :], lane_best, 2147483647), axis=0)
    total = tl.zeros((BLOCK_T, BLOCK_N), tl.float32)
    for start in range(0, T, BLOCK_T):
        place = (start + tiles).to(tl.int64)[:, None] * N + near[None, :]
        mask = (start + tiles < T)[:, None]
        value = tl.load(tile_sums_ptr + place, mask=mask, other=0.0)
        if not HAS_REFERENCE:
            tile_largest = tl.load(tile_largest_ptr + place, mask=mask, other=float("-inf"))
            value *= tl.exp(tile_largest - largest[None, :])
        total += value
    reference = largest
    if HAS_REFERENCE:
        given = tl.load(given_ptr + near)
        reference = tl.where(largest - given > MOST, largest, given)
    tl.store(reference_ptr + rows, reference, mask=rows < N)
    tl.store(sums_ptr + rows, tl.sum(total, axis=0), mask=rows < N)
    tl.store(largest_ptr + rows, largest, mask=rows < N)
    tl.store(best_ptr + rows, best.to(tl.int64), mask=rows < N)


@triton.jit
@no_type_check
def _repair(
    hidden_ptr,
    weight_ptr,
    bias_ptr,
    given_ptr,
    labels_ptr,
    exponentials_ptr,
    largest_ptr,
    sums_ptr,
    V,
    H,
    stride_hidden,
    stride_weight,
    stride_exponentials,
    HAS_BIAS: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    largest = tl.load(largest_ptr + row)
    if largest - tl.load(given_ptr + row) > MOST:
        label = tl.load(labels_ptr + row)
        total = tl.zeros((BLOCK_V,), tl.float32)
        for first in range(0, V, BLOCK_V):
            columns = first + tl.arange(0, BLOCK_V)
            weight_rows_ptr = weight_ptr + columns.to(tl.int64)[:, None] * stride_weight
            products = tl.zeros((BLOCK_V, BLOCK_H), tl.float32)
            for start in range(0, H, BLOCK_H):
                units = start + tl.arange(0, BLOCK_H)
                hidden = tl.load(
                    hidden_ptr + row * stride_hidden + units, mask=units < H, other=0.0
                )
                weight = tl.load(
                    weight_rows_ptr + units[None, :],
                    mask=(columns < V)[:, None] & (units < H)[None, :],
                    other=0.0,
                )
                products += weight.to(tl.float32) * hidden.to(tl.float32)[None, :]
            logits = tl.sum(products, axis=1)
            if HAS_BIAS:
                logits += tl.load(bias_ptr + columns, mask=columns < V, other=0.0).to(tl.float32)
            power = tl.where(columns < V, tl.exp(logits - largest), 0.0)
            total += power
            power = tl.where(columns == label, 0.0, power)
            tl.store(
                exponentials_ptr + row * stride_exponentials + columns,
                power.to(exponentials_ptr.dtype.element_ty),
                mask=columns < V,
            )
        tl.store(sums_ptr + row, tl.sum(total, axis=0))


def _combine_case(given: bool) -> CompiledCase:
    numbers = ["tile_largest_ptr", "tile_sums_ptr", "given_ptr"]
    numbers += ["reference_ptr", "sums_ptr", "largest_ptr"]
    return CompiledCase(
        name="fused_combine " + ("reference" if given else "largest"),
        function=_combine,
        types=dict.fromkeys(numbers, "*fp32")
        | {"tile_best_ptr": "*i32", "best_ptr": "*i64", "T": "i32", "N": "i32"},
        constants={"HAS_REFERENCE": given, "BLOCK_T": COMBINE_TILES, "BLOCK_N": COMBINE_ROWS},
        divisible_by_16=tuple(numbers),
    )


def _repair_case(kind: str) -> CompiledCase:
    inputs = ("hidden_ptr", "weight_ptr", "bias_ptr", "exponentials_ptr")
    sizes = ("V", "H", "stride_hidden", "stride_weight", "stride_exponentials")
    return CompiledCase(
        name=f"fused_repair {kind}",
        function=_repair,
        types=dict.fromkeys(inputs, f"*{kind}")
        | dict.fromkeys(["given_ptr", "largest_ptr", "sums_ptr"], "*fp32")
        | {"labels_ptr": "*i64"}
        | dict.fromkeys(sizes, "i32"),
        constants={"HAS_BIAS": True, "BLOCK_V": REPAIR_COLUMNS, "BLOCK_H": REPAIR_UNITS},
        divisible_by_16=inputs + sizes,
    )


COMPILED = [
    *(_combine_case(given) for given in (True, False)),
    *(_repair_case(kind) for kind in ("bf16", "fp32")),
]
