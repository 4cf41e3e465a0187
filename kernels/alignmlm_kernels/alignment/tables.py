"""Vectors of words from rows of the embedding, and gradients of rows from those of words."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from jaxtyping import Float, Int
from torch import Tensor

from alignmlm_kernels.alignment.index import IndexSizes, PairIndex
from alignmlm_kernels.alignment.reference import LARGEST_NORM, SHRINK, SMALLEST_NORM


class Table(NamedTuple):
    """Where the vectors of words and of their partners are found."""

    vectors: Float[Tensor, "entry hidden"]  # at least float32
    words: Int[Tensor, " word"]  # entry of each word
    partners: Int[Tensor, " end"]  # entry of each partner


def exact_type(embedding: Float[Tensor, "vocab hidden"]) -> torch.dtype:
    """The type to compute in: float32, or float64 where the embedding has it."""
    return torch.promote_types(embedding.dtype, torch.float32)


def weighted_sums(
    vectors: Float[Tensor, "entry hidden"],
    places: Int[Tensor, " element"],
    offsets: Int[Tensor, " bound"],
    weights: Float[Tensor, " element"] | None = None,
) -> Float[Tensor, "sum hidden"]:
    """Weighted sums of entries; sum i runs over places[offsets[i] : offsets[i + 1]]."""
    return F.embedding_bag(
        places, vectors, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def word_table(
    embedding: Float[Tensor, "vocab hidden"], index: PairIndex, sizes: IndexSizes
) -> Table:
    """The embedding itself where it can serve, else the vectors of all words."""
    exact = exact_type(embedding)
    if sizes.single == sizes.words and embedding.dtype == exact:
        return Table(embedding, index.word_tokens, index.partner_codes)
    vectors = embedding.index_select(0, index.rows).to(exact)
    if sizes.single < sizes.words:
        vectors = F.embedding_bag(
            index.word_places, vectors, index.word_offsets, mode="mean", include_last_offset=True
        )
    return Table(vectors, torch.arange(len(vectors), device=vectors.device), index.partners)


def row_gradients(
    words: Float[Tensor, "word hidden"], index: PairIndex, sizes: IndexSizes
) -> Float[Tensor, "row hidden"]:
    """Gradients of the rows in use; a row of a word of n tokens gets 1 / n of the word's."""
    if not sizes.slots:  # words and rows are the same, in the same order
        return words
    shares = index.row_shares.to(words.dtype)
    return weighted_sums(words, index.row_words, index.row_offsets, shares)


def reciprocal(total: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """1 / total, or 0 where it is 0."""
    return torch.where(total > 0, 1 / total, 0)


def chunk_words(words: int, vectors: Float[Tensor, "entry hidden"]) -> int:
    """Words to work on at once: about a megabyte on a CPU, all of them elsewhere."""
    if vectors.device.type != "cpu":
        return words
    return max(16, 2**19 // (vectors.shape[1] * vectors.element_size()))


def word_norms(table: Table) -> Float[Tensor, " word"]:
    """Euclidean norm of each word's vector."""
    size = chunk_words(len(table.words), table.vectors)
    parts = table.words.split(size)
    vectors = (table.vectors.index_select(0, part) for part in parts)
    return torch.cat([torch.linalg.vector_norm(part, dim=1) for part in vectors])


class Bounded(NamedTuple):
    """Vectors whose squares can be added up in float32, and what they were multiplied by."""

    vectors: Float[Tensor, "word hidden"]
    norms: Float[Tensor, " word"]
    factors: Float[Tensor, " word"]  # 1, or SHRINK


def bounded(vectors: Float[Tensor, "word hidden"], norms: Float[Tensor, " word"]) -> Bounded:
    """Vectors with the given norms; those with norms above 2**56 are multiplied by 2**-74."""
    small = norms < LARGEST_NORM
    factors = torch.where(small, 1.0, SHRINK).to(norms)
    if (
        vectors.device.type == "cpu" and small.all()
    ):  # elsewhere that would synchronise with the device
        return Bounded(vectors, norms, factors)
    vectors = vectors * factors[:, None]
    shrunk = torch.linalg.vector_norm(vectors, dim=1)
    return Bounded(vectors, torch.where(small, norms, shrunk), factors)


class BoundedTable(NamedTuple):
    """Like Bounded, for the words of a table."""

    table: Table
    norms: Float[Tensor, " word"]
    factors: Float[Tensor, " word"] | None  # none: all are 1


def bounded_table(table: Table) -> BoundedTable:
    """The table itself if no norm is above 2**56, else a copy with the longer vectors shrunk."""
    norms = word_norms(table)
    large = ~(norms < LARGEST_NORM)
    if not large.any():
        return BoundedTable(table, norms, None)
    entries = table.words[large]
    shrunk = table.vectors[entries] * SHRINK
    table = table._replace(vectors=table.vectors.index_copy(0, entries, shrunk))
    return BoundedTable(table, word_norms(table), torch.where(large, SHRINK, 1.0).to(norms))


class Units(NamedTuple):
    """The words' vectors, divided by their norms."""

    vectors: Float[Tensor, "word hidden"]
    reach: Float[Tensor, " word"]  # 1 / norm, 0 where the norm is too small for a gradient


def word_units(
    embedding: Float[Tensor, "vocab hidden"], index: PairIndex, sizes: IndexSizes
) -> Units:
    """Unit vectors of all words."""
    table = word_table(embedding, index, sizes)
    word_vectors = table.vectors.index_select(0, table.words)
    vectors, norms, factors = bounded(word_vectors, word_norms(table))
    units = vectors / norms.clamp(min=SMALLEST_NORM)[:, None]
    return Units(units, torch.where(norms >= SMALLEST_NORM, factors / norms, 0))


def sampled_units(
    embedding: Float[Tensor, "vocab hidden"],
    index: PairIndex,
    sizes: IndexSizes,
    words: Int[Tensor, " sample"],
) -> Float[Tensor, "sample hidden"]:
    """Unit vectors of some words."""
    if sizes.single == sizes.words:
        rows = index.word_tokens[words]
        vectors = embedding.index_select(0, rows).to(exact_type(embedding))
    else:
        vectors = word_table(embedding, index, sizes).vectors.index_select(0, words)
    vectors, norms, _ = bounded(vectors, torch.linalg.vector_norm(vectors, dim=1))
    return vectors / norms.clamp(min=SMALLEST_NORM)[:, None]
