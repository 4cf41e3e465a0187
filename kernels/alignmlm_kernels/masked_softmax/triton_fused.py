"""The product hidden @ weight.T, whose logits become exponentials and sums in the same kernel."""
# ruff: noqa: N803, SIM108, SIM114 - sizes are capitals; constants decide before tensors
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from dataclasses import replace
from typing import Any, NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from alignmlm_kernels.compiled_case import CompiledCase
from alignmlm_kernels.errors import KernelError
from alignmlm_kernels.masked_softmax.head import Head
from alignmlm_kernels.masked_softmax.row_sums import RowSums
from alignmlm_kernels.masked_softmax.triton_combine import MOST, TileSums, combined_sums, repair
from alignmlm_kernels.masked_softmax.triton_labels import label_logits
from alignmlm_kernels.masked_softmax.triton_shared import check_rows

TILES_ACROSS = 8  # vocabulary tiles that are worked on together, for every block of rows


class Tile(NamedTuple):
    """The part of the logits that a program computes, and how it is launched."""

    rows: int
    columns: int
    units: int  # of the hidden state at a time
    warps: int
    stages: int


TILES = {
    torch.bfloat16: Tile(128, 256, 64, warps=8, stages=4),
    torch.float16: Tile(128, 256, 64, warps=8, stages=4),
    torch.float32: Tile(64, 128, 16, warps=8, stages=3),
}
ROOMY_BYTES = 144 * 1024  # of shared memory: what the tiles above take on sm_80
# Masks along the hidden state and narrow stores take registers; small GPUs have less memory.
SMALLER_TILES = {
    torch.bfloat16: Tile(128, 128, 32, warps=8, stages=4),
    torch.float16: Tile(128, 128, 32, warps=8, stages=4),
    torch.float32: Tile(64, 64, 16, warps=8, stages=3),
}


def fused_exponentials(
    head: Head,
    reference: Float[Tensor, " masked"],
    label_logit: Float[Tensor, " masked"],
    exponentials: Float[Tensor, "masked vocab"],
) -> RowSums:
    """Sums of each row; exponentials become exp(logit - reference), 0 at the label.

    Rows with a logit more than 70 above their reference are computed again with their largest
    logit as the reference; the result holds the references that were used. The sums are of the
    exponentials before they are rounded.

    Raises:
        KernelError: exponentials in float16, which cannot hold exp(70); hidden and
            weight of unsupported or different types; rows with gaps.
    """
    if exponentials.dtype == torch.float16:
        raise KernelError("exponentials must be bfloat16 or float32, found torch.float16")
    parts = _tile_sums(head, reference, exponentials)
    combined = combined_sums(parts, reference, head.labels, label_logit)
    repair(head, reference, exponentials, combined)
    return combined


def fused_row_sums(head: Head) -> RowSums:
    """Sums of each row relative to its largest logit; the logits are stored nowhere.

    Raises:
        KernelError: hidden and weight of unsupported or different types; rows with gaps.
    """
    return combined_sums(_tile_sums(head, None, None), None, head.labels, label_logits(*head))


def fused_chunk(
    head: Head, reference: Float[Tensor, " masked"], exponentials: Float[Tensor, "masked chunk"]
) -> None:
    """Write exp(logit - reference) for part of the vocabulary to `exponentials`, 0 at the label.

    `head` is restricted to that part. `reference` is the log of the sum of the exponentials of
    all logits, so that the results are probabilities.

    Raises:
        KernelError: hidden and weight of unsupported or different types; rows with gaps.
    """
    _launch(head, reference, exponentials, None)


def _tile_sums(head: Head, reference: Tensor | None, exponentials: Tensor | None) -> TileSums:
    hidden, weight = head.hidden, head.weight
    _check_types(hidden, weight)
    tiles = triton.cdiv(len(weight), _tile(weight).columns)
    shape = (tiles, len(hidden))
    numbers = torch.empty(2, *shape, dtype=torch.float32, device=hidden.device)
    best = torch.empty(shape, dtype=torch.int32, device=hidden.device)
    parts = TileSums(numbers[0], best, numbers[1])
    _launch(head, reference, exponentials, parts)
    return parts


def _launch(
    head: Head, reference: Tensor | None, exponentials: Tensor | None, parts: TileSums | None
) -> None:
    hidden, weight, bias, labels = head
    _check_types(hidden, weight)
    check_rows(hidden=hidden, weight=weight)
    if exponentials is not None:
        check_rows(exponentials=exponentials)
    tile = _tile(weight)
    tiles = triton.cdiv(len(hidden), tile.rows), triton.cdiv(len(weight), tile.columns)
    _logit_tiles[(tiles[0] * tiles[1],)](
        hidden,
        weight,
        hidden if bias is None else bias,
        hidden if reference is None else reference,
        labels,
        hidden if exponentials is None else exponentials,
        *(parts or (hidden, hidden, hidden)),
        len(hidden),
        *weight.shape,
        hidden.stride(0),
        weight.stride(0),
        0 if exponentials is None else exponentials.stride(0),
        HAS_BIAS=bias is not None,
        STORE=exponentials is not None,
        SUM=parts is not None,
        REGULAR=_regular(weight),
        **_tile_constants(tile),
        num_warps=tile.warps,
        num_stages=tile.stages,
    )


def _check_types(hidden: Tensor, weight: Tensor) -> None:
    if hidden.dtype != weight.dtype or weight.dtype not in TILES:
        raise KernelError(
            "hidden and weight must both be float32, bfloat16 or float16, "
            f"found {hidden.dtype} and {weight.dtype}"
        )


def _regular(weight: Tensor) -> bool:
    """Whether the hidden size needs no masks, and stores masked across the columns stay wide."""
    vocab, width = weight.shape
    return vocab % 16 == 0 and width % TILES[weight.dtype].units == 0


def _is_roomy(device: torch.device) -> bool:
    """Whether a block may have as much shared memory as the large tiles take."""
    if device.type != "cuda":
        return True
    properties: Any = torch.cuda.get_device_properties(device)
    return properties.shared_memory_per_block_optin >= ROOMY_BYTES


def _tile(weight: Tensor) -> Tile:
    large = _regular(weight) and _is_roomy(weight.device)
    return (TILES if large else SMALLER_TILES)[weight.dtype]


def _tile_constants(tile: Tile) -> dict[str, int]:
    sizes = {"BLOCK_N": tile.rows, "BLOCK_V": tile.columns, "BLOCK_H": tile.units}
    return sizes | {"ACROSS": TILES_ACROSS}


@triton.jit
@no_type_check
def _logit_tiles(
    hidden_ptr,
    weight_ptr,
    bias_ptr,
    reference_ptr,
    labels_ptr,
    exponentials_ptr,
    tile_largest_ptr,
    tile_best_ptr,
    tile_sums_ptr,
    N,
    V,
    H,
    stride_hidden,
    stride_weight,
    stride_exponentials,
    HAS_BIAS: tl.constexpr,
    STORE: tl.constexpr,  # exponentials relative to the given reference
    SUM: tl.constexpr,  # largest, best and sum of each row of the tile
    REGULAR: tl.constexpr,  # H is a multiple of BLOCK_H, V of 16
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
    ACROSS: tl.constexpr,
):
    # ACROSS vocabulary tiles stay in the L2 cache while all rows pass by: the weight, which is
    # the larger matrix, is read from memory once.
    program = tl.program_id(0)
    tiles_n = tl.cdiv(N, BLOCK_N)
    tiles_v = tl.cdiv(V, BLOCK_V)
    group = program // (ACROSS * tiles_n)
    across = tl.minimum(tiles_v - group * ACROSS, ACROSS)
    inside = program - group * ACROSS * tiles_n
    tile_v = group * ACROSS + inside % across
    tile_n = inside // across
    first_n = tile_n.to(tl.int64) * BLOCK_N
    first_v = tile_v.to(tl.int64) * BLOCK_V

    # Rows beyond the last one read the last one: no mask, and nothing of theirs is stored.
    local_n = tl.arange(0, BLOCK_N)
    local_v = tl.arange(0, BLOCK_V)
    units = tl.arange(0, BLOCK_H)
    rows_left = N - tile_n * BLOCK_N
    columns_left = V - tile_v * BLOCK_V
    near_n = tl.minimum(local_n, rows_left - 1)
    near_v = tl.minimum(local_v, columns_left - 1)
    hidden_block = hidden_ptr + first_n * stride_hidden
    hidden_block += near_n[:, None] * stride_hidden + units[None, :]
    weight_block = weight_ptr + first_v * stride_weight
    weight_block += near_v[None, :] * stride_weight + units[:, None]
    logits = tl.zeros((BLOCK_N, BLOCK_V), tl.float32)
    for start in range(0, H, BLOCK_H):
        if REGULAR:
            hidden = tl.load(hidden_block)
            weight = tl.load(weight_block)
        else:
            hidden = tl.load(hidden_block, mask=units[None, :] < H - start, other=0.0)
            weight = tl.load(weight_block, mask=units[:, None] < H - start, other=0.0)
        logits = tl.dot(hidden, weight, logits, input_precision="ieee")
        hidden_block += BLOCK_H
        weight_block += BLOCK_H

    inside_n = local_n < rows_left
    inside_v = local_v < columns_left
    if HAS_BIAS:
        bias = tl.load(bias_ptr + first_v + near_v).to(tl.float32)
        logits += tl.where(inside_v, bias, float("-inf"))[None, :]
    else:
        logits += tl.where(inside_v, 0.0, float("-inf"))[None, :]
    if SUM:
        largest = tl.max(logits, axis=1)
        at = tl.where(logits == largest[:, None], local_v[None, :], BLOCK_V)
        best = tl.min(at, axis=1) + tile_v * BLOCK_V
    if STORE:
        reference = tl.load(reference_ptr + first_n + near_n)
    else:
        reference = largest
    power = logits - reference[:, None]  # NaN stays NaN
    power = tl.exp(tl.minimum(power, MOST, propagate_nan=tl.PropagateNan.ALL))
    if SUM:
        part = tile_v.to(tl.int64) * N + first_n + local_n
        tl.store(tile_largest_ptr + part, largest, mask=inside_n)
        tl.store(tile_best_ptr + part, best, mask=inside_n)
        tl.store(tile_sums_ptr + part, tl.sum(power, axis=1), mask=inside_n)
    if STORE:
        rounded = power.to(exponentials_ptr.dtype.element_ty)
        row_ptr = exponentials_ptr + first_n * stride_exponentials + first_v
        row_ptr += local_n * stride_exponentials
        block = row_ptr[:, None] + local_v[None, :]
        if REGULAR:
            tl.store(block, rounded, mask=inside_n[:, None] & inside_v[None, :])
        elif columns_left < BLOCK_V:
            tl.store(block, rounded, mask=inside_n[:, None] & inside_v[None, :])
        else:  # no mask across the columns, so that stores stay wide
            tl.store(block, rounded, mask=inside_n[:, None])
        tl.debug_barrier()  # the zero must be stored after another warp's exponential
        label = tl.load(labels_ptr + first_n + near_n) - first_v
        here = (label >= 0) & (label < tl.minimum(columns_left, BLOCK_V)) & inside_n
        tl.store(row_ptr + label, tl.zeros((BLOCK_N,), rounded.dtype), mask=here)


# The sizes that are multiples of 16 in the cases that are compiled.
ALIGNED = {
    "": ("V", "H", "stride_hidden", "stride_weight", "stride_exponentials"),
    " odd V": ("H", "stride_hidden", "stride_weight", "stride_exponentials"),
    " odd H": ("V", "stride_exponentials"),
}
MODES = {
    "exponentials": {"STORE": True, "SUM": True},
    "row_sums": {"STORE": False, "SUM": True},
    "chunk": {"STORE": True, "SUM": False},
}


def _case(mode: str, kind: str, dtype: torch.dtype, aligned: str) -> CompiledCase:
    tile = (SMALLER_TILES if aligned else TILES)[dtype]
    inputs = ["hidden_ptr", "weight_ptr", "bias_ptr", "exponentials_ptr"]
    numbers = ["reference_ptr", "tile_largest_ptr", "tile_sums_ptr"]
    return CompiledCase(
        name=f"fused_{mode} {kind}{aligned}",
        function=_logit_tiles,
        types=dict.fromkeys(inputs, f"*{kind}")
        | dict.fromkeys(numbers, "*fp32")
        | {"labels_ptr": "*i64", "tile_best_ptr": "*i32"}
        | dict.fromkeys(["N", *ALIGNED[""]], "i32"),
        constants={"HAS_BIAS": True, "REGULAR": not aligned, **MODES[mode]} | _tile_constants(tile),
        divisible_by_16=(*inputs, *numbers, *ALIGNED[aligned]),
        warps=tile.warps,
        stages=tile.stages,
        expects_tensor_cores=kind != "fp32",
    )


def _cases() -> list[CompiledCase]:
    whole = [_case(mode, "bf16", torch.bfloat16, "") for mode in MODES]
    whole.append(_case("exponentials", "fp32", torch.float32, ""))
    irregular = [
        _case("exponentials", kind, dtype, aligned)
        for kind, dtype in {"bf16": torch.bfloat16, "fp32": torch.float32}.items()
        for aligned in list(ALIGNED)[1:]
    ]
    # Triton makes a constant of every size that is 1.
    one = replace(
        whole[0], name="fused_exponentials bf16 one row", constants={"N": 1, **whole[0].constants}
    )
    return [*whole, *irregular, one]


COMPILED = _cases()
