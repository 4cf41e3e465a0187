"""The specification of the alignment loss, in plain PyTorch."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignmlm_kernels.alignment.pairs import WordPairs

SMALLEST_NORM = 1e-8  # shorter vectors are divided by this, and get no gradient
LARGEST_NORM = 2.0**56  # longer vectors are shrunk before they are squared: float32 ends at 2**128
SHRINK = 2.0**-74  # exact, and what is shrunk by it is still longer than SMALLEST_NORM


class Contrast(NamedTuple):
    """The settings of the distances with negatives."""

    margin: float  # difference of cosines that is wanted
    temperature: float
    group_pairs: int  # pairs that are compared with each other


def word_vectors(
    embedding: Float[Tensor, "vocab hidden"],
    ids: Int[Tensor, " token"],
    offsets: Int[Tensor, " bound"],
) -> Float[Tensor, "word hidden"]:
    """The mean embedding of each word's sub-words, at least in float32."""
    if len(ids) == len(offsets) - 1:  # one token a word
        vectors = embedding[ids]
        return vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    exact = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
    return F.embedding_bag(ids, exact, offsets, mode="mean", include_last_offset=True)


def unit_vectors(vectors: Float[Tensor, "word hidden"]) -> Float[Tensor, "word hidden"]:
    """Vectors of length 1; those shorter than 1e-8 are divided by 1e-8 and get no gradient."""
    peaks = vectors.detach().abs().amax(dim=1, keepdim=True)
    vectors = vectors * torch.where(peaks > LARGEST_NORM, SHRINK, 1.0).to(vectors)
    norms = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    units = vectors / norms.clamp(min=SMALLEST_NORM)
    return torch.where(norms >= SMALLEST_NORM, units, units.detach())


def weighted_mean(
    values: Float[Tensor, " pair"], weights: Float[Tensor, " pair"]
) -> Float[Tensor, ""]:
    """Sum of weights times values over sum of weights; 0 where all weights are 0."""
    total = weights.sum()
    return (weights * values).sum() / torch.where(total > 0, total, 1)


def cosine_distances(
    source: Float[Tensor, "pair hidden"], target: Float[Tensor, "pair hidden"]
) -> Float[Tensor, " pair"]:
    """1 - cos of each pair, in [0, 2]."""
    return 1 - (unit_vectors(source) * unit_vectors(target)).sum(dim=1)


def squared_distances(
    source: Float[Tensor, "pair hidden"], target: Float[Tensor, "pair hidden"]
) -> Float[Tensor, " pair"]:
    """Squared Euclidean distance of each pair."""
    return (source - target).square().sum(dim=1)


def groups(order: Int[Tensor, " chosen"], group_pairs: int) -> tuple[Tensor, ...]:
    """Pairs that are compared with each other, in groups of nearly equal size."""
    return order.tensor_split(-(-len(order) // group_pairs))


def no_negatives(
    sources: Int[Tensor, " pair"], targets: Int[Tensor, " pair"]
) -> Bool[Tensor, "pair pair"]:
    """Whether source i and target j of a group must not be pushed apart.

    True where pair j shares its source or its target with pair i, so that target j is a translation
    of source i, and where target j is the same word as source i; hence true on the diagonal.
    """
    same = sources[:, None] == sources
    return same | (targets[:, None] == targets) | (sources[:, None] == targets)


def infonce_distances(
    cosines: Float[Tensor, "pair pair"], barred: Bool[Tensor, "pair pair"], contrast: Contrast
) -> Float[Tensor, " pair"]:
    """-log of a pair's softmax probability among its negatives, in nats, mean of both directions.

    Source: van den Oord et al., 2018 (arXiv:1807.03748), equation 4; both directions:
    Radford et al., 2021 (arXiv:2103.00020), section 2.3.
    """
    places = torch.arange(len(cosines), device=cosines.device)
    apart = places[:, None] != places
    logits = (cosines / contrast.temperature).masked_fill(barred & apart, -torch.inf)
    forth = F.cross_entropy(logits, places, reduction="none")
    return (forth + F.cross_entropy(logits.T, places, reduction="none")) / 2


def margin_distances(
    cosines: Float[Tensor, "pair pair"], barred: Bool[Tensor, "pair pair"], contrast: Contrast
) -> Float[Tensor, " pair"]:
    """max(0, margin - cos + cos of the hardest negative), mean of both directions.

    Source: Faghri et al., 2018 (VSE++, arXiv:1707.05612), equation 6, halved.
    """
    negatives = cosines.masked_fill(barred, -torch.inf)
    wanted = contrast.margin - cosines.diagonal()
    forth = (wanted + negatives.amax(dim=1)).clamp(min=0)
    return (forth + (wanted + negatives.amax(dim=0)).clamp(min=0)) / 2


PAIRED = {"cosine": cosine_distances, "l2": squared_distances}
CONTRASTED = {"margin": margin_distances, "infonce": infonce_distances}
DISTANCES = (*PAIRED, *CONTRASTED)


def contrasted(
    embedding: Float[Tensor, "vocab hidden"],
    pairs: WordPairs,
    order: Int[Tensor, " chosen"],
    distance: str,
    contrast: Contrast,
) -> Float[Tensor, " chosen"]:
    """Distances of the chosen pairs in their order, against the negatives of their groups."""
    source = unit_vectors(word_vectors(embedding, pairs.source_ids, pairs.source_offsets))
    target = unit_vectors(word_vectors(embedding, pairs.target_ids, pairs.target_offsets))
    index, parts = pairs.prepared, []
    for group in groups(order, contrast.group_pairs):
        barred = no_negatives(index.sources[group], index.targets[group])
        parts.append(CONTRASTED[distance](source[group] @ target[group].T, barred, contrast))
    return torch.cat(parts)


def reference_loss(
    embedding: Float[Tensor, "vocab hidden"],
    pairs: WordPairs,
    weights: Float[Tensor, " pair"],
    order: Int[Tensor, " chosen"],
    distance: str | Callable[[Tensor, Tensor], Tensor],
    contrast: Contrast,
) -> Float[Tensor, ""]:
    """Weighted mean distance; for distances with negatives, over the pairs of `order`."""
    weights = weights.to(torch.promote_types(embedding.dtype, torch.float32))
    if isinstance(distance, str) and distance in CONTRASTED:
        distances = contrasted(embedding, pairs, order, distance, contrast)
        return weighted_mean(distances, weights[order])
    source = word_vectors(embedding, pairs.source_ids, pairs.source_offsets)
    target = word_vectors(embedding, pairs.target_ids, pairs.target_offsets)
    between = PAIRED[distance] if isinstance(distance, str) else distance
    return weighted_mean(between(source, target), weights)
