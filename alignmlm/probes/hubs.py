"""Mutual nearest neighbours, and hubness."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alignmlm.probes.neighbours import cosine_blocks

NEIGHBOURS = 10  # Radovanovic et al., 2010 (JMLR 11), section 3: N_10
HUB_SHARE = 0.01  # of the candidates: those chosen most often


@torch.no_grad()
def nearest_places(
    queries: Float[Tensor, "query hidden"],
    candidates: Float[Tensor, "candidate hidden"],
    neighbours: int,
) -> Int[Tensor, "query neighbour"]:
    """Places of each query's nearest candidates by cosine, nearest first; both are unit vectors."""
    count = min(neighbours, len(candidates))
    blocks = cosine_blocks(queries, candidates)
    return torch.cat([cosines.topk(count, dim=1).indices for _, cosines in blocks])


def skewness(counts: Float[Tensor, " candidate"]) -> float:
    """Third standardised moment, 0 for a symmetric distribution or one without spread."""
    centred = counts - counts.mean()
    deviation = centred.square().mean().sqrt()
    return float((centred / deviation).pow(3).mean()) if deviation > 0 else 0.0


def hub_metrics(nearest: Int[Tensor, "query neighbour"], candidates: int) -> dict[str, float]:
    """Skewness of N_10, and the share of nearest words that are hubs, in [0, 100].

    N_10 counts how many queries have a candidate among their ten nearest; hubs are the one percent
    of the candidates that are nearest to the most queries.
    Source: Radovanovic et al., 2010 (JMLR 11), section 3 (skewness).
    """
    occurrences = torch.bincount(nearest.flatten(), minlength=candidates).double()
    chosen = torch.bincount(nearest[:, 0], minlength=candidates).double()
    hubs = chosen.topk(max(1, round(HUB_SHARE * candidates))).values.sum()
    return {
        "hub_skewness": skewness(occurrences),
        "hub_mass_percent": float(100 * hubs / chosen.sum()),
    }


def neighbourhood_metrics(
    source: Float[Tensor, "source hidden"], target: Float[Tensor, "target hidden"]
) -> dict[str, float]:
    """Share of mutual nearest neighbours, in [0, 100], and hubs both ways, of unit vectors."""
    forward = nearest_places(source, target, NEIGHBOURS)
    backward = nearest_places(target, source, NEIGHBOURS)
    returned = backward[forward[:, 0], 0]
    mutual = returned == torch.arange(len(source), device=source.device)
    ways = {
        "forward": hub_metrics(forward, len(target)),
        "backward": hub_metrics(backward, len(source)),
    }
    hubs = {
        f"{way}/{key}": value for way, metrics in ways.items() for key, value in metrics.items()
    }
    return {"reciprocity_percent": float(100 * mutual.double().mean()), **hubs}
