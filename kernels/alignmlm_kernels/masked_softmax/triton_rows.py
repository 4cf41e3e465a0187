"""Kernels over the rows and columns of a slab of logits."""
# ruff: noqa: N803 - sizes are capitals, as in the papers
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from alignmlm_kernels.compiled_case import CompiledCase
from alignmlm_kernels.masked_softmax.row_sums import RowSums
from alignmlm_kernels.masked_softmax.triton_shared import check_rows

BLOCK_COLUMNS, BLOCK_ROWS = 128, 64  # of column_sums


class RowShape(NamedTuple):
    """Columns that a program takes at a time, and its warps."""

    block: int
    warps: int


# A wide row takes a whole multiprocessor: few rows are under way at once, so that the second
# sweep finds its row in the L2 cache.
ROW_SHAPES = {1_024: RowShape(1_024, 4), 16_384: RowShape(4_096, 8)}
WIDE_ROW = RowShape(8_192, 32)


def row_shape(vocab: int) -> RowShape:
    """The launch for rows of `vocab` columns."""
    return next((shape for width, shape in ROW_SHAPES.items() if vocab <= width), WIDE_ROW)


def row_exponentials(
    logits: Float[Tensor, "masked vocab"], labels: Int[Tensor, " masked"], shift: float = 0.0
) -> RowSums:
    """Sums of each row; the logits become exp(logit - (largest - shift)), 0 at the label.

    A label of -1 means none. The sums are of the exponentials before they are rounded.

    Raises:
        KernelError: the elements of a row of the logits are not next to each other.
    """
    check_rows(logits=logits)
    rows, vocab = logits.shape
    numbers = logits.new_empty(4, rows, dtype=torch.float32)
    best = torch.empty(rows, dtype=torch.int64, device=logits.device)
    shape = row_shape(vocab)
    _row_exponentials[(rows,)](
        logits,
        labels,
        *numbers,
        best,
        shift,
        vocab,
        logits.stride(0),
        BLOCK=shape.block,
        num_warps=shape.warps,
    )
    reference, sums, label_logit, largest = numbers
    return RowSums(reference, sums, label_logit, largest, best == labels)


def column_sums(
    exponentials: Float[Tensor, "masked vocab"], scale: Float[Tensor, " masked"]
) -> Float[Tensor, " vocab"]:
    """Sum over the rows of exponential times scale of the row, float32, in a fixed order.

    Raises:
        KernelError: the elements of a row are not next to each other.
    """
    check_rows(exponentials=exponentials)
    rows, vocab = exponentials.shape
    blocks = triton.cdiv(vocab, BLOCK_COLUMNS)
    parts = max(1, min(1_024 // blocks, rows // (4 * BLOCK_ROWS)))
    sums = scale.new_empty(parts, vocab, dtype=torch.float32)
    _column_sums[(blocks, parts)](
        exponentials,
        scale,
        sums,
        rows,
        vocab,
        exponentials.stride(0),
        triton.cdiv(triton.cdiv(rows, parts), BLOCK_ROWS) * BLOCK_ROWS,
        BLOCK_V=BLOCK_COLUMNS,
        BLOCK_N=BLOCK_ROWS,
        num_warps=8,
    )
    return sums[0] if parts == 1 else sums.sum(dim=0)


@triton.jit
@no_type_check
def _larger(value, column, largest, best):
    """The larger of two numbers, with its column; the second on ties or if either is NaN."""
    larger = value > largest
    return tl.where(larger, value, largest), tl.where(larger, column, best)


@triton.jit
@no_type_check
def _row_exponentials(
    logits_ptr,
    labels_ptr,
    reference_ptr,
    sums_ptr,
    label_logit_ptr,
    largest_ptr,
    best_ptr,
    shift,
    V,
    stride_n,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    row_ptr = logits_ptr + row * stride_n
    label = tl.load(labels_ptr + row)
    # Read before the barrier in tl.max, after which any warp may overwrite it.
    label_logit = tl.load(row_ptr + label, mask=label >= 0, other=0.0).to(tl.float32)
    columns = tl.arange(0, BLOCK)
    whole = V // BLOCK * BLOCK

    # First sweep: every lane keeps its own largest logit. Whole blocks need no mask, which
    # keeps the loads wide where V is odd but the rows are aligned.
    tail = tl.load(row_ptr + whole + columns, mask=whole + columns < V, other=float("-inf"))
    lane = tl.full((BLOCK,), float("-inf"), tl.float32)
    lane_start = tl.zeros((BLOCK,), tl.int32)
    for start in tl.range(0, whole, BLOCK, num_stages=4):
        value = tl.load(row_ptr + start + columns).to(tl.float32)
        lane, lane_start = _larger(value, start, lane, lane_start)
    lane, lane_start = _larger(tail.to(tl.float32), whole, lane, lane_start)
    largest = tl.max(lane, axis=0)
    best = tl.min(tl.where(lane == largest, lane_start + columns, V), axis=0)

    # Second sweep, backwards: what was read last is still in the cache.
    reference = largest - shift
    power = tl.exp(tail.to(tl.float32) - reference)
    total = power
    tl.store(
        row_ptr + whole + columns,
        power.to(logits_ptr.dtype.element_ty),
        mask=whole + columns < V,
    )
    for back in tl.range(0, whole, BLOCK, num_stages=4):
        start = whole - BLOCK - back
        value = tl.load(row_ptr + start + columns).to(tl.float32)
        power = tl.exp(value - reference)
        total += power
        tl.store(row_ptr + start + columns, power.to(logits_ptr.dtype.element_ty))

    tl.debug_barrier()  # the zero must be stored after another warp's exponential
    tl.store(row_ptr + label, 0.0, mask=label >= 0)

    tl.store(reference_ptr + row, reference)
    tl.store(sums_ptr + row, tl.sum(total, axis=0))
    tl.store(label_logit_ptr + row, label_logit)
    tl.store(largest_ptr + row, largest)
    tl.store(best_ptr + row, best.to(tl.int64))


@triton.jit
@no_type_check
def _column_sums(
    exponentials_ptr,
    scale_ptr,
    sums_ptr,
    N,
    V,
    stride_n,
    part_rows,
    BLOCK_V: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    columns = tl.program_id(0) * BLOCK_V + tl.arange(0, BLOCK_V)
    part = tl.program_id(1)
    first = part * part_rows
    total = tl.zeros((BLOCK_N, BLOCK_V), tl.float32)
    for start in range(first, tl.minimum(first + part_rows, N), BLOCK_N):
        rows = start + tl.arange(0, BLOCK_N)
        scale = tl.load(scale_ptr + rows, mask=rows < N, other=0.0)
        value = tl.load(
            exponentials_ptr + rows.to(tl.int64)[:, None] * stride_n + columns[None, :],
            mask=(rows < N)[:, None] & (columns < V)[None, :],
            other=0.0,
        )
        total += value.to(tl.float32) * scale[:, None]
    tl.store(sums_ptr + part.to(tl.int64) * V + columns, tl.sum(total, axis=0), mask=columns < V)


def _cases() -> list[CompiledCase]:
    numbers = ["reference_ptr", "sums_ptr", "label_logit_ptr", "largest_ptr"]
    types = dict.fromkeys(numbers, "*fp32") | {"labels_ptr": "*i64", "best_ptr": "*i64"}
    types |= {"shift": "fp32", "V": "i32", "stride_n": "i32"}
    rows = [
        CompiledCase(
            name=f"row_exponentials {kind} {shape.block}",
            function=_row_exponentials,
            types=types | {"logits_ptr": f"*{kind}"},
            constants={"BLOCK": shape.block},
            divisible_by_16=("logits_ptr", "labels_ptr", "best_ptr", "V", "stride_n", *numbers),
            warps=shape.warps,
        )
        for kind in ("bf16", "fp32")
        for shape in (*ROW_SHAPES.values(), WIDE_ROW)
    ]
    columns = [
        CompiledCase(
            name=f"column_sums {kind}",
            function=_column_sums,
            types={"exponentials_ptr": f"*{kind}", "scale_ptr": "*fp32", "sums_ptr": "*fp32"}
            | dict.fromkeys(["N", "V", "stride_n", "part_rows"], "i32"),
            constants={"BLOCK_V": BLOCK_COLUMNS, "BLOCK_N": BLOCK_ROWS},
            divisible_by_16=("exponentials_ptr", "scale_ptr", "sums_ptr", "V", "stride_n"),
            warps=8,
        )
        for kind in ("bf16", "fp32")
    ]
    return rows + columns


COMPILED = _cases()
