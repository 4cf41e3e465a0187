"""The geometry of a set of vectors: isotropy, norms, and similarity of two sets."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from alignmlm.probes.neighbours import units

PIECE_VECTORS = 2**14  # in float64 at once


def pieces(vectors: Float[Tensor, "word hidden"]) -> tuple[Tensor, ...]:
    """The vectors in float64, a few at a time."""
    return tuple(part.double() for part in vectors.split(PIECE_VECTORS))


def mean_cosine(vectors: Float[Tensor, "word hidden"]) -> float:
    """Mean cosine of all pairs of two different vectors, in [-1, 1]; about 0 if isotropic.

    In closed form, without the pairs: (|sum of units|^2 - sum of |unit|^2) / (n (n - 1)).
    Source: Ethayarajh, 2019 (arXiv:1909.00512), section 4.1, there of a sample of pairs.
    """
    count = len(vectors)
    if count < 2:
        return math.nan
    unit = units(vectors)
    total = count * mean_vector(unit)
    own = sum(float(part.square().sum()) for part in pieces(unit))
    return (float(total.square().sum()) - own) / (count * (count - 1))


def second_moment(
    vectors: Float[Tensor, "word hidden"],
    other: Float[Tensor, "word width"],
    origins: tuple[Float[Tensor, " hidden"], Float[Tensor, " width"]] | None = None,
) -> Float[Tensor, "hidden width"]:
    """Sum of the outer products of two lists of vectors, each less its origin, in float64."""
    total = vectors.new_zeros((vectors.shape[1], other.shape[1]), dtype=torch.float64)
    for one, two in zip(pieces(vectors), pieces(other), strict=True):
        total += one.T @ two if origins is None else (one - origins[0]).T @ (two - origins[1])
    return total


def mean_vector(vectors: Float[Tensor, "word hidden"]) -> Float[Tensor, " hidden"]:
    """The mean of the vectors in float64."""
    return torch.stack([part.sum(dim=0) for part in pieces(vectors)]).sum(dim=0) / len(vectors)


def centred_moment(
    vectors: Float[Tensor, "word hidden"], other: Float[Tensor, "word width"]
) -> Float[Tensor, "hidden width"]:
    """The second moment with each list's mean as its origin."""
    return second_moment(vectors, other, (mean_vector(vectors), mean_vector(other)))


def isoscore(vectors: Float[Tensor, "word hidden"]) -> float:
    """How evenly the variance is spread over the dimensions, in [0, 1]; 0 if it is on a line.

    The steps of the paper's algorithm come down to (r - 1) / (d - 1), where r is the participation
    ratio tr(C)^2 / tr(C^2) of the covariance C and d the number of dimensions.
    Source: Rudman et al., 2022 (IsoScore, arXiv:2108.07344), algorithm 1.
    """
    covariance = centred_moment(vectors, vectors)
    size, spread = len(covariance), float(covariance.square().sum())
    if size < 2 or spread == 0:
        return math.nan
    participation = float(covariance.trace()) ** 2 / spread
    return (participation - 1) / (size - 1)


def partition_ratio(vectors: Float[Tensor, "word hidden"]) -> float:
    """Smallest over largest partition function of the principal directions, in [0, 1]; 1 if even.

    Z(c) is the sum of exp(c . v) over all vectors; c runs over the eigenvectors of the second
    moment with either sign, because the sign of an eigenvector means nothing. The value depends
    on the vectors' norms: compare models on normalised vectors.
    Source: Mu and Viswanath, 2018 (arXiv:1702.01417), section 2.2.
    """
    _, directions = torch.linalg.eigh(second_moment(vectors, vectors))
    logs = []
    for part in pieces(vectors):
        shares = part @ directions
        logs.append(torch.stack([shares.logsumexp(dim=0), (-shares).logsumexp(dim=0)]))
    totals = torch.stack(logs).logsumexp(dim=0)
    return float((totals.min() - totals.max()).exp())


def isotropy_metrics(vectors: Float[Tensor, "word hidden"]) -> dict[str, float]:
    """Three views of isotropy, all dimensionless.

    mean_cosine detects a common direction, isoscore the spread around the mean, which the first
    misses; partition_ratio, of unit vectors here, is the oldest measure for word embeddings.
    """
    return {
        "mean_cosine": mean_cosine(vectors),
        "isoscore": isoscore(vectors),
        "partition_ratio": partition_ratio(units(vectors)),
    }


def mean_norm(vectors: Float[Tensor, "word hidden"]) -> float:
    """Mean Euclidean length."""
    return float(torch.linalg.vector_norm(vectors.double(), dim=1).mean())


def norm_gap_percent(
    source: Float[Tensor, "word hidden"], target: Float[Tensor, "target hidden"]
) -> float:
    """How much longer target vectors are than source vectors, at least -100; nan if those are 0."""
    length = mean_norm(source)
    return 100 * (mean_norm(target) / length - 1) if length else math.nan


def pair_cosine(
    source: Float[Tensor, "pair hidden"], target: Float[Tensor, "pair hidden"]
) -> float:
    """Mean cosine of the two vectors of a pair, in [-1, 1]."""
    return float((units(source).double() * units(target).double()).sum(dim=1).mean())


def feature_cka(source: Float[Tensor, "pair hidden"], target: Float[Tensor, "pair width"]) -> float:
    """Linear CKA of paired vectors from products of features, in [0, 1]: for many pairs.

    Source: Kornblith et al., 2019 (arXiv:1905.00414), section 3: |Y'X|^2 / (|X'X| |Y'Y|), columns
    centred. With fewer pairs than dimensions it is near 1 for unrelated vectors too.
    """
    shared = centred_moment(source, target).square().sum()
    own = [torch.linalg.matrix_norm(centred_moment(part, part)) for part in (source, target)]
    return float(shared / (own[0] * own[1]))


def example_cka(source: Float[Tensor, "pair hidden"], target: Float[Tensor, "pair width"]) -> float:
    """Linear CKA of paired vectors from the Gram matrices of both sides, in [0, 1]: for few pairs.

    Source: Kornblith et al., 2019 (arXiv:1905.00414), equations 2 to 4: HSIC with linear kernels.
    """
    grams = []
    for vectors in (source.double(), target.double()):
        centred = vectors - vectors.mean(dim=0)
        grams.append(centred @ centred.T)
    one, two = grams
    norms = torch.linalg.matrix_norm(one) * torch.linalg.matrix_norm(two)
    return float((one * two).sum() / norms)


def linear_cka(source: Float[Tensor, "pair hidden"], target: Float[Tensor, "pair width"]) -> float:
    """Linear CKA of paired vectors in [0, 1], in the cheaper of its two forms."""
    cheaper = example_cka if len(source) < max(source.shape[1], target.shape[1]) else feature_cka
    return cheaper(source, target)
