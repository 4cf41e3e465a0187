"""Cosine and l2 distances and their gradients in one pass over the words, in vectorised PyTorch.

A word's gradient is computed as a sum over its partners, so it is written once, in a fixed order.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from alignmlm_kernels.alignment.index import IndexSizes, PairIndex
from alignmlm_kernels.alignment.reference import SMALLEST_NORM
from alignmlm_kernels.alignment.tables import (
    Table,
    bounded_table,
    chunk_words,
    exact_type,
    reciprocal,
    row_gradients,
    weighted_sums,
    word_table,
)


class Attraction(NamedTuple):
    """A loss, and its gradient for the rows in use (no rows if none was requested)."""

    loss: Float[Tensor, ""]
    rows: Float[Tensor, "row hidden"]


class Asked(NamedTuple):
    """A request for a loss: its inputs, and the dtype of its gradient if one is wanted."""

    embedding: Float[Tensor, "vocab hidden"]
    pairs: PairIndex
    sizes: IndexSizes
    weights: Float[Tensor, " pair"]
    dtype: torch.dtype | None  # none: no gradient


class Chunk(NamedTuple):
    """Some words, their vectors, and the weighted sums of their partners' vectors."""

    words: slice
    own: Float[Tensor, "word hidden"]
    pulled: Float[Tensor, "word hidden"]


def chunks(table: Table, index: PairIndex, weights: Float[Tensor, " end"]) -> Iterator[Chunk]:
    """All words, in chunks that fit the cache."""
    words = len(table.words)
    size = chunk_words(words, table.vectors)
    firsts = [0] if size >= words else index.partner_offsets[::size].tolist()
    lasts = [*firsts[1:], len(weights)]
    for number, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        part = slice(number * size, min(words, (number + 1) * size))
        if part.start >= words:
            return
        offsets = index.partner_offsets[part.start : part.stop + 1] - first
        entries, shares = table.partners[first:last], weights[first:last]
        pulled = weighted_sums(table.vectors, entries, offsets, shares)
        yield Chunk(part, table.vectors.index_select(0, table.words[part]), pulled)


def cosine_attraction(
    table: Table,
    index: PairIndex,
    weights: Float[Tensor, " pair"],
    gradient: Float[Tensor, "word hidden"] | None,
) -> Float[Tensor, ""]:
    """Mean of 1 - cos. The gradient, where wanted, is written into `gradient`.

    Gradient of a word: sum of w (cos a^ - b^) / |a| over its partners b.
    """
    table, norms, factors = bounded_table(table)
    inverse = 1 / norms.clamp(min=SMALLEST_NORM)
    total = weights.sum(dtype=torch.float64)
    reach = (inverse * reciprocal(total).to(inverse)).masked_fill(norms < SMALLEST_NORM, 0)
    if factors is not None:
        reach *= factors
    pulls = weights[index.partner_pairs] * inverse[index.partners]
    cosines = torch.zeros_like(norms)
    for words, own, pulled in chunks(table, index, pulls):
        torch.linalg.vecdot(own, pulled, out=cosines[words])
        cosines[words] *= inverse[words]
        if gradient is not None:
            along = own.mul_((cosines[words] * inverse[words])[:, None])
            gradient[words] = along.sub_(pulled).mul_(reach[words, None])
    return (total - cosines.sum(dtype=torch.float64) / 2) * reciprocal(total)


def squared_attraction(
    table: Table,
    index: PairIndex,
    weights: Float[Tensor, " pair"],
    gradient: Float[Tensor, "word hidden"] | None,
) -> Float[Tensor, ""]:
    """Mean squared Euclidean distance. The gradient, where wanted, is written into `gradient`.

    Gradient of a word: sum of 2 w (a - b) over its partners b.
    """
    total = weights.sum(dtype=torch.float64)
    scale = reciprocal(total)
    if gradient is not None:
        ends = weights[index.partner_pairs]
        sums = weighted_sums(weights[:, None], index.partner_pairs, index.partner_offsets)
        twice = (2 * scale).to(weights)
        for words, own, pulled in chunks(table, index, ends):
            gradient[words] = own.mul_(sums[words]).sub_(pulled).mul_(twice)
    return (squared_distances(table, index) * weights).sum(dtype=torch.float64) * scale


def squared_distances(table: Table, index: PairIndex) -> Float[Tensor, " pair"]:
    """Squared distance of each pair, from the differences themselves."""
    size = chunk_words(len(index.sources), table.vectors)
    sides = table.words[index.sources].split(size), table.words[index.targets].split(size)
    parts = []
    for source, target in zip(*sides, strict=True):
        apart = table.vectors.index_select(0, source)
        apart -= table.vectors.index_select(0, target)
        parts.append(torch.linalg.vecdot(apart, apart))
    return torch.cat(parts)


ATTRACTIONS = {"cosine": cosine_attraction, "l2": squared_attraction}


def attraction(asked: Asked, distance: str) -> Attraction:
    """Mean distance of the pairs, weighted, and its gradient for the rows in use."""
    embedding, index, sizes, weights, dtype = asked
    exact, table = exact_type(embedding), word_table(embedding, index, sizes)
    gradient = None
    if dtype is not None:
        gradient_dtype = exact if sizes.slots else dtype
        gradient = torch.empty(
            sizes.words, embedding.shape[1], dtype=gradient_dtype, device=embedding.device
        )
    loss = ATTRACTIONS[distance](table, index, weights.to(exact), gradient).to(exact)
    if gradient is None:
        return Attraction(loss, table.vectors.new_empty(0, embedding.shape[1]))
    return Attraction(loss, row_gradients(gradient, index, sizes))
