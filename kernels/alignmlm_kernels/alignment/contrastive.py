"""Distances with negatives and their gradients, group by group, in vectorised PyTorch."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from alignmlm_kernels.alignment.pairwise import Asked, Attraction
from alignmlm_kernels.alignment.reference import Contrast, groups, no_negatives
from alignmlm_kernels.alignment.tables import exact_type, reciprocal, row_gradients, word_units


class Pull(NamedTuple):
    """Distances of a group of pairs, and the gradient of their weighted sum w.r.t. the cosines."""

    distances: Float[Tensor, " pair"]
    cosines: Float[Tensor, "pair pair"]


def infonce_pull(
    cosines: Float[Tensor, "pair pair"],
    barred: Bool[Tensor, "pair pair"],
    weights: Float[Tensor, " pair"],
    contrast: Contrast,
) -> Pull:
    """Cross entropy of the pairs among their negatives, both directions, in nats."""
    logits = cosines / contrast.temperature
    own = logits.diagonal().clone()
    logits.masked_fill_(barred, -torch.inf).diagonal().copy_(own)
    forth, back = logits.logsumexp(dim=1), logits.logsumexp(dim=0)
    gradient = weights[:, None] * (logits - forth[:, None]).exp_()
    gradient += weights * (logits - back).exp_()
    gradient.diagonal().sub_(2 * weights)
    return Pull((forth + back) / 2 - own, gradient.mul_(0.5 / contrast.temperature))


def margin_pull(
    cosines: Float[Tensor, "pair pair"],
    barred: Bool[Tensor, "pair pair"],
    weights: Float[Tensor, " pair"],
    contrast: Contrast,
) -> Pull:
    """Hinges on the hardest negative, both directions."""
    negatives = cosines.masked_fill(barred, -torch.inf)
    wanted = contrast.margin - cosines.diagonal()
    gradient, distances = torch.zeros_like(cosines), torch.zeros_like(wanted)
    for side, places in ((negatives, gradient), (negatives.T, gradient.T)):
        hardest, place = side.max(dim=1)
        hinge = (wanted + hardest).clamp(min=0) / 2
        push = weights * (hinge > 0) / 2
        places.scatter_add_(1, place[:, None], push[:, None])
        places.diagonal().sub_(push)
        distances += hinge
    return Pull(distances, gradient)


PULLS = {"infonce": infonce_pull, "margin": margin_pull}


def add_rows(
    sums: Float[Tensor, "word hidden"],
    places: Int[Tensor, " row"],
    rows: Float[Tensor, "row hidden"],
) -> None:
    """Add rows to sums in a fixed order; places may repeat."""
    if sums.device.type == "cpu":
        sums.index_add_(0, places, rows)
    else:  # sorts the places first, where index_add_ would race
        sums.index_put_((places,), rows, accumulate=True)


def contrast_attraction(
    asked: Asked, order: Int[Tensor, " chosen"], distance: str, contrast: Contrast
) -> Attraction:
    """Mean distance of the pairs of `order`, weighted, and its gradient for the rows in use."""
    embedding, index, sizes, weights, dtype = asked
    units = word_units(embedding, index, sizes)
    weights, with_gradient = weights.to(units.vectors), dtype is not None
    scale = reciprocal(weights[order].sum(dtype=torch.float64))
    total = torch.zeros_like(scale)
    sums = torch.zeros_like(units.vectors) if with_gradient else units.vectors[:0]
    for group in groups(order, contrast.group_pairs):
        sources, targets = index.sources[group], index.targets[group]
        source, target = units.vectors[sources], units.vectors[targets]
        barred, shares = no_negatives(sources, targets), weights[group]
        pull = PULLS[distance](source @ target.T, barred, shares, contrast)
        total += (pull.distances * shares).sum(dtype=torch.float64)
        if with_gradient:
            add_rows(sums, sources, pull.cosines @ target)
            add_rows(sums, targets, pull.cosines.T @ source)
    loss = (total * scale).to(exact_type(embedding))
    if not with_gradient:
        return Attraction(loss, sums)
    along = torch.linalg.vecdot(sums, units.vectors)[:, None]
    sums.addcmul_(units.vectors, along, value=-1)
    sums.mul_((units.reach * scale.to(units.reach))[:, None])
    return Attraction(loss, row_gradients(sums, index, sizes))
