"""Cosine and l2 distances and gradients in one pass; each word is written by a single program."""
# ruff: noqa: N803 - sizes are capitals, as in the papers
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from alignmlm_kernels.alignment.index import IndexSizes, PairIndex
from alignmlm_kernels.alignment.pairwise import Asked, Attraction
from alignmlm_kernels.alignment.reference import LARGEST_NORM, SHRINK, SMALLEST_NORM
from alignmlm_kernels.alignment.tables import reciprocal
from alignmlm_kernels.compiled_case import CompiledCase

FEW_PARTNERS = 4  # up to this many, a word's program takes them one by one
WIDEST_TILE = 4096  # elements


class Tile(NamedTuple):
    """What a program holds at a time, and its warps."""

    block_p: int  # partners
    block_h: int  # at least the hidden size
    warps: int


def tile_of(hidden: int, longest: int) -> Tile:
    """The tile of a launch for words with up to `longest` partners."""
    block_h = triton.next_power_of_2(hidden)
    block_p = 1 if longest <= FEW_PARTNERS else max(1, min(8, WIDEST_TILE // block_h))
    return Tile(block_p, block_h, max(1, min(8, block_p * block_h // 512)))


def word_means(
    embedding: Float[Tensor, "vocab hidden"], index: PairIndex, sizes: IndexSizes
) -> Float[Tensor, "several hidden"]:
    """Vectors of the words of several tokens, float32."""
    several, hidden = sizes.words - sizes.single, embedding.shape[1]
    means = embedding.new_empty(several, hidden, dtype=torch.float32)
    if several:
        tile = tile_of(hidden, 1)
        _word_means[(several,)](
            embedding,
            index.word_tokens,
            index.word_offsets,
            means,
            sizes.single,
            hidden,
            embedding.stride(0),
            BLOCK_H=tile.block_h,
            num_warps=tile.warps,
        )
    return means


def triton_attraction(asked: Asked, distance: str) -> Attraction:
    """The same as `attraction`, by Triton kernels."""
    embedding, index, sizes, weights, dtype = asked
    if embedding.stride(1) != 1:
        embedding = embedding.contiguous()
    hidden = embedding.shape[1]
    empty = embedding.new_empty(0, hidden, dtype=torch.float32)
    wanted = dtype is not None
    rows = empty.new_empty(len(index.rows), hidden, dtype=dtype) if wanted else empty
    slots = empty.new_empty(sizes.slots, hidden) if wanted else empty
    scale = reciprocal(weights.sum(dtype=torch.float64))
    parts = empty.new_empty(sizes.words)
    tile = tile_of(hidden, sizes.longest)
    _pull_words[(sizes.words,)](
        embedding,
        word_means(embedding, index, sizes),
        index.word_codes,
        index.word_slots,
        index.partner_offsets,
        index.partner_codes,
        weights[index.partner_pairs],
        scale.float(),
        parts,
        rows,
        slots,
        hidden,
        embedding.stride(0),
        SMALLEST_NORM,
        LARGEST_NORM**2,
        SHRINK,
        COSINE={"cosine": True, "l2": False}[distance],
        SEVERAL=sizes.single < sizes.words,
        GRADIENT=wanted,
        BLOCK_P=tile.block_p,
        BLOCK_H=tile.block_h,
        num_warps=tile.warps,
    )
    if wanted:
        add_slots(slots, index, rows)
    return Attraction((parts.sum(dtype=torch.float64) * scale).float(), rows)


def add_slots(
    slots: Float[Tensor, "slot hidden"], index: PairIndex, rows: Float[Tensor, "row hidden"]
) -> None:
    """Write the rows that several words, or a word of several tokens, add to."""
    shared, hidden = len(index.shared_places), rows.shape[1]
    if not shared:
        return
    tile = tile_of(hidden, FEW_PARTNERS + 1)
    _add_slots[(shared,)](
        slots,
        index.shared_places,
        index.row_offsets,
        index.row_words,
        index.row_shares,
        index.word_slots,
        rows,
        hidden,
        BLOCK_P=tile.block_p,
        BLOCK_H=tile.block_h,
        num_warps=tile.warps,
    )


def spread_rows(
    rows: Float[Tensor, "row hidden"],
    places: Int[Tensor, " id"],
    scale: Float[Tensor, ""],
    vocab: int,
    dtype: torch.dtype,
) -> Float[Tensor, "vocab hidden"]:
    """Scaled rows at their token ids, zeros at all others; each element is written once."""
    hidden = rows.shape[1]
    gradient = rows.new_empty(vocab, hidden, dtype=dtype)
    tile = tile_of(hidden, 1)
    _spread_rows[(vocab,)](
        rows,
        places,
        scale,
        gradient,
        len(places),
        hidden,
        BLOCK_H=tile.block_h,
        num_warps=tile.warps,
    )
    return gradient


@triton.jit
@no_type_check
def _word_means(
    embedding_ptr,
    tokens_ptr,
    offsets_ptr,
    means_ptr,
    SINGLE,
    H,
    row_stride,
    BLOCK_H: tl.constexpr,
):
    """Mean of the rows of a word; one program per word of several tokens."""
    number = tl.program_id(0).to(tl.int64)
    start = tl.load(offsets_ptr + SINGLE + number)
    stop = tl.load(offsets_ptr + SINGLE + number + 1)
    columns = tl.arange(0, BLOCK_H)
    inside = columns < H
    total = tl.zeros((BLOCK_H,), tl.float32)
    for place in range(start, stop):
        row = tl.load(tokens_ptr + place).to(tl.int64)
        values = tl.load(embedding_ptr + row * row_stride + columns, mask=inside, other=0.0)
        total += values.to(tl.float32)
    length = (stop - start).to(tl.float32)
    tl.store(means_ptr + number * H + columns, total / length, mask=inside)


@triton.jit
@no_type_check
def _vectors(embedding_ptr, means_ptr, codes, live, columns, H, row_stride, SEVERAL: tl.constexpr):
    """Vectors of words by their codes, float32; zeros where not live."""
    inside = (columns < H)[None, :]
    single = (live & (codes >= 0))[:, None]
    rows = (embedding_ptr + codes * row_stride)[:, None]
    vectors = tl.load(rows + columns[None, :], mask=single & inside, other=0.0).to(tl.float32)
    if SEVERAL:
        means = (means_ptr + (-1 - codes) * H)[:, None]
        several = (live & (codes < 0))[:, None]
        vectors += tl.load(means + columns[None, :], mask=several & inside, other=0.0)
    return vectors


@triton.jit
@no_type_check
def _pull_words(
    embedding_ptr,
    means_ptr,
    word_codes_ptr,
    word_slots_ptr,
    offsets_ptr,
    partner_codes_ptr,
    weights_ptr,
    scale_ptr,
    parts_ptr,
    rows_ptr,
    slots_ptr,
    H,
    row_stride,
    smallest_norm,
    largest_square,
    shrink,
    COSINE: tl.constexpr,
    SEVERAL: tl.constexpr,
    GRADIENT: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """Half of a word's distances to its partners, and its gradient; one program per word."""
    word = tl.program_id(0).to(tl.int64)
    start = tl.load(offsets_ptr + word)
    stop = tl.load(offsets_ptr + word + 1)
    columns = tl.arange(0, BLOCK_H)
    one = tl.zeros((1,), tl.int64)
    code = tl.load(word_codes_ptr + word + one)
    own = _vectors(embedding_ptr, means_ptr, code, one == 0, columns, H, row_stride, SEVERAL)

    pulled = tl.zeros((BLOCK_H,), tl.float32)
    total = 0.0
    for first in range(start, stop, BLOCK_P):
        ends = first + tl.arange(0, BLOCK_P)
        weights = tl.load(weights_ptr + ends, mask=ends < stop, other=0.0)
        live = weights > 0.0
        codes = tl.load(partner_codes_ptr + ends, mask=live, other=0)
        them = _vectors(embedding_ptr, means_ptr, codes, live, columns, H, row_stride, SEVERAL)
        if COSINE:
            squares = tl.sum(them * them, axis=1)
            if tl.max(squares, axis=0) > largest_square:  # infinite, too
                them *= tl.where(squares > largest_square, shrink, 1.0)[:, None]
                squares = tl.sum(them * them, axis=1)
            norms = tl.maximum(tl.sqrt(squares), smallest_norm)
            pulled += tl.sum(them * (weights / norms)[:, None], axis=0)
            total += tl.sum(weights, axis=0)
        else:
            apart = own - them
            total += tl.sum(tl.sum(apart * apart, axis=1) * weights, axis=0)
            pulled += tl.sum(apart * weights[:, None], axis=0)

    own = tl.sum(own, axis=0)
    if COSINE:
        factor = tl.where(tl.sum(own * own, axis=0) > largest_square, shrink, 1.0)
        own *= factor
        norm = tl.sqrt(tl.sum(own * own, axis=0))
        inverse = 1.0 / tl.maximum(norm, smallest_norm)
        cosines = tl.sum(own * pulled, axis=0) * inverse
        total -= cosines
        reach = tl.where(norm < smallest_norm, 0.0, inverse) * factor
        gradient = (own * (cosines * inverse) - pulled) * reach
    else:
        gradient = 2.0 * pulled
    tl.store(parts_ptr + word, 0.5 * total)
    if GRADIENT:
        gradient *= tl.load(scale_ptr)
        slot = tl.load(word_slots_ptr + word)
        inside = columns < H
        row = gradient.to(rows_ptr.dtype.element_ty)
        tl.store(rows_ptr + slot * H + columns, row, mask=inside & (slot >= 0))
        tl.store(slots_ptr + (-1 - slot) * H + columns, gradient, mask=inside & (slot < 0))


@triton.jit
@no_type_check
def _add_slots(
    slots_ptr,
    shared_places_ptr,
    offsets_ptr,
    words_ptr,
    shares_ptr,
    word_slots_ptr,
    rows_ptr,
    H,
    BLOCK_P: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """Weighted sum of the gradients of a row's words; one program per shared row."""
    place = tl.load(shared_places_ptr + tl.program_id(0))
    start = tl.load(offsets_ptr + place)
    stop = tl.load(offsets_ptr + place + 1)
    columns = tl.arange(0, BLOCK_H)
    inside = columns < H
    total = tl.zeros((BLOCK_H,), tl.float32)
    for first in range(start, stop, BLOCK_P):
        parts = first + tl.arange(0, BLOCK_P)
        live = parts < stop
        words = tl.load(words_ptr + parts, mask=live, other=0)
        shares = tl.load(shares_ptr + parts, mask=live, other=0.0).to(tl.float32)
        slots = -1 - tl.load(word_slots_ptr + words, mask=live, other=-1)
        places = slots[:, None] * H + columns[None, :]
        values = tl.load(slots_ptr + places, mask=live[:, None] & inside[None, :], other=0.0)
        total += tl.sum(values * shares[:, None], axis=0)
    tl.store(rows_ptr + place * H + columns, total.to(rows_ptr.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def _spread_rows(rows_ptr, places_ptr, scale_ptr, gradient_ptr, IDS, H, BLOCK_H: tl.constexpr):
    """One row of the embedding's gradient."""
    row = tl.program_id(0).to(tl.int64)
    place = tl.load(places_ptr + row, mask=row < IDS, other=-1)
    columns = tl.arange(0, BLOCK_H)
    inside = columns < H
    held = inside & (place >= 0)
    values = tl.load(rows_ptr + place * H + columns, mask=held, other=0.0).to(tl.float32)
    values *= tl.load(scale_ptr)
    values = values.to(gradient_ptr.dtype.element_ty)
    tl.store(gradient_ptr + row * H + columns, values, mask=inside)


LISTS = ("word_codes_ptr", "word_slots_ptr", "offsets_ptr", "partner_codes_ptr")
NUMBERS = ("means_ptr", "weights_ptr", "scale_ptr", "parts_ptr", "slots_ptr")


def _pull_case(dtype: str, hidden: int, longest: int, cosine: bool, several: bool) -> CompiledCase:
    tile = tile_of(hidden, longest)
    pointers = {"embedding_ptr": f"*{dtype}", "rows_ptr": f"*{dtype}"} | dict.fromkeys(
        LISTS, "*i64"
    )
    pointers |= dict.fromkeys(NUMBERS, "*fp32")
    sizes = {"H": "i32", "row_stride": "i32", "smallest_norm": "fp32"}
    sizes |= {"largest_square": "fp32", "shrink": "fp32"}
    return CompiledCase(
        name=f"pull_words {dtype} {hidden} {'cosine' if cosine else 'l2'} {tile.block_p}",
        function=_pull_words,
        types=pointers | sizes,
        constants={
            "COSINE": cosine,
            "SEVERAL": several,
            "GRADIENT": True,
            "BLOCK_P": tile.block_p,
            "BLOCK_H": tile.block_h,
        },
        divisible_by_16=(*pointers, "H", "row_stride"),
        warps=tile.warps,
    )


def _small_cases(dtype: str, hidden: int) -> list[CompiledCase]:
    one, many = tile_of(hidden, 1), tile_of(hidden, FEW_PARTNERS + 1)
    means = {"embedding_ptr": f"*{dtype}", "tokens_ptr": "*i64", "offsets_ptr": "*i64"}
    means |= {"means_ptr": "*fp32"}
    shared = dict.fromkeys(("shared_places_ptr", "offsets_ptr", "words_ptr"), "*i64")
    shared |= {"word_slots_ptr": "*i64", "slots_ptr": "*fp32", "shares_ptr": "*fp64"}
    shared |= {"rows_ptr": f"*{dtype}"}
    spread = {"rows_ptr": f"*{dtype}", "places_ptr": "*i64", "scale_ptr": "*fp32"}
    spread |= {"gradient_ptr": f"*{dtype}"}
    return [
        CompiledCase(
            name=f"word_means {dtype} {hidden}",
            function=_word_means,
            types=means | {"SINGLE": "i32", "H": "i32", "row_stride": "i32"},
            constants={"BLOCK_H": one.block_h},
            divisible_by_16=(*means, "H", "row_stride"),
            warps=one.warps,
        ),
        CompiledCase(
            name=f"add_slots {dtype} {hidden}",
            function=_add_slots,
            types=shared | {"H": "i32"},
            constants={"BLOCK_P": many.block_p, "BLOCK_H": many.block_h},
            divisible_by_16=(*shared, "H"),
            warps=many.warps,
        ),
        CompiledCase(
            name=f"spread_rows {dtype} {hidden}",
            function=_spread_rows,
            types=spread | {"IDS": "i32", "H": "i32"},
            constants={"BLOCK_H": one.block_h},
            divisible_by_16=(*spread, "H"),
            warps=one.warps,
        ),
    ]


COMPILED = [
    *(
        _pull_case(dtype, hidden, longest, cosine, several)
        for dtype in ("bf16", "fp32")
        for hidden, longest, cosine, several in (
            (512, 1, True, False),
            (512, 100, True, True),
            (1024, 100, False, True),
            (4096, 100, True, True),
        )
    ),
    *(case for hidden in (512, 4096) for case in _small_cases("bf16", hidden)),
]
