"""The loss that pulls the embeddings of dictionary pairs together."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from alignmlm_kernels.alignment.reference import DISTANCES, WordPairs
from alignmlm_kernels.errors import KernelError

__all__ = ["WordPairs", "alignment_loss"]


def alignment_loss(
    embedding: Float[Tensor, "vocab hidden"],
    pairs: WordPairs,
    *,
    distance: Literal["cosine", "l2"] = "cosine",
) -> Float[Tensor, ""]:
    """Mean distance of the two words of a pair; a word's vector is the mean of its sub-words.

    cosine: 1 - cos, in [0, 2]. l2: squared Euclidean distance, at least 0.
    Source: Tang et al., 2022 (arXiv:2211.08547), plus 1, so that 0 means fully aligned; its
    authors' code holds the l2 form too.

    Raises:
        KernelError: no pairs, or an unknown distance.
    """
    if distance not in DISTANCES:
        raise KernelError(f"distance must be one of {sorted(DISTANCES)}, found {distance!r}")
    if not len(pairs):
        raise KernelError("pairs must hold at least one pair")
    return DISTANCES[distance](embedding, pairs)
