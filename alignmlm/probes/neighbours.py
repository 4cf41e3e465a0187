"""Nearest neighbours by cosine, CSLS and margin, in blocks: never the whole matrix at once."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

SCORES_AT_ONCE = 2**23  # 32 MiB of float32: on one core the fastest of 2^20 to 2^24


class Answers(NamedTuple):
    """The right candidates of each query, at least one: places[offsets[i] : offsets[i + 1]]."""

    places: Int[Tensor, " answer"]
    offsets: Int[Tensor, " bound"]

    def part(self, start: int, stop: int) -> tuple[Int[Tensor, " answer"], Int[Tensor, " answer"]]:
        """Query, counted from `start`, and place of each answer of queries [start, stop)."""
        bounds = self.offsets[start : stop + 1]
        queries = torch.arange(stop - start, device=bounds.device)
        return queries.repeat_interleave(bounds.diff()), self.places[bounds[0] : bounds[-1]]


def answers_of(sets: list[frozenset[int]], device: torch.device | None = None) -> Answers:
    """The sets as tensors, each set in ascending order."""
    offsets = torch.tensor([0, *map(len, sets)], device=device).cumsum(0)
    places = [place for right in sets for place in sorted(right)]
    return Answers(torch.tensor(places, dtype=torch.int64, device=device), offsets)


def own_place(count: int, device: torch.device | None = None) -> Answers:
    """Answers in which candidate i alone is right for query i."""
    return Answers(torch.arange(count, device=device), torch.arange(count + 1, device=device))


class Neighbourhoods(NamedTuple):
    """Neighbourhoods that a score such as CSLS needs."""

    neighbours: int  # how many of a query's nearest candidates count
    candidates: Float[Tensor, " candidate"]  # each one's mean cosine with its nearest, in [-1, 1]


def units(vectors: Float[Tensor, "word hidden"]) -> Float[Tensor, "word hidden"]:
    """The vectors in float32 with length 1; zero vectors stay."""
    return torch.nn.functional.normalize(vectors.float(), dim=1)


def cosine_blocks(
    queries: Float[Tensor, "query hidden"],
    candidates: Float[Tensor, "candidate hidden"],
    scores_at_once: int = SCORES_AT_ONCE,
) -> Iterator[tuple[slice, Float[Tensor, "block candidate"]]]:
    """Cosines of a few queries at a time with all candidates; both are unit vectors."""
    step = max(1, scores_at_once // max(1, len(candidates)))
    for start in range(0, len(queries), step):
        part = slice(start, min(start + step, len(queries)))
        yield part, queries[part] @ candidates.T


def nearest_mean(
    cosines: Float[Tensor, "block candidate"], neighbours: int
) -> Float[Tensor, " block"]:
    """Mean of the largest cosines of each row, of all where there are fewer than `neighbours`."""
    return cosines.topk(min(neighbours, cosines.shape[1]), dim=1).values.mean(dim=1)


@torch.no_grad()
def nearest(
    queries: Float[Tensor, "query hidden"], candidates: Float[Tensor, "candidate hidden"]
) -> Int[Tensor, " query"]:
    """Index of each unit vector's nearest candidate by cosine; ties go to the lowest index."""
    last = len(candidates) - 1
    places = torch.arange(len(candidates), device=candidates.device)
    nearest_places = torch.empty(len(queries), dtype=torch.int64, device=queries.device)
    for part, cosines in cosine_blocks(queries, candidates):
        best = cosines.max(dim=1, keepdim=True).values
        nearest_places[part] = torch.where(cosines == best, places, last).amin(dim=1)
    return nearest_places


@torch.no_grad()
def neighbourhood_means(
    vectors: Float[Tensor, "query hidden"],
    pool: Float[Tensor, "candidate hidden"],
    neighbours: int,
    scores_at_once: int = SCORES_AT_ONCE,
) -> Float[Tensor, " query"]:
    """Mean cosine of each unit vector with its nearest ones of the pool, in [-1, 1].

    Source: Conneau et al., 2018 (arXiv:1710.04087), section 2.3.
    """
    means = vectors.new_empty(len(vectors))
    for part, cosines in cosine_blocks(vectors, pool, scores_at_once):
        means[part] = nearest_mean(cosines, neighbours)
    return means


def csls(
    cosines: Float[Tensor, "block candidate"],
    queries: Float[Tensor, " block"],
    candidates: Float[Tensor, " candidate"],
) -> Float[Tensor, "block candidate"]:
    """Twice the cosine minus both neighbourhood means, in [-4, 4].

    Source: Conneau et al., 2018 (arXiv:1710.04087), section 2.3.
    """
    return torch.add(-candidates, cosines, alpha=2).sub_(queries[:, None])


def margin_ratio(
    cosines: Float[Tensor, "block candidate"],
    queries: Float[Tensor, " block"],
    candidates: Float[Tensor, " candidate"],
) -> Float[Tensor, "block candidate"]:
    """Cosine divided by the mean of both neighbourhood means; 1 if a pair is no nearer than those.

    The ranking is meaningful only if neighbourhood means are positive, as with mean vectors.
    Source: Artetxe and Schwenk, 2019 (arXiv:1811.01136), section 3.1, margin "ratio".
    """
    return cosines / (queries[:, None] + candidates).div_(2)


ADJUSTED = {"csls": csls, "margin_ratio": margin_ratio}


def block_ranks(
    scores: Float[Tensor, "block candidate"],
    queries: Int[Tensor, " answer"],
    places: Int[Tensor, " answer"],
) -> Int[Tensor, " block"]:
    """Rank of each query's best answer, from 1; ties go to the lowest index.

    An answer whose score is nan has the last rank; nan candidates rank before every other answer.
    """
    count = scores.shape[1]
    answer_scores = scores[queries, places]
    lowest = torch.full_like(scores[:, 0], -torch.inf)
    best = lowest.scatter_reduce(0, queries, answer_scores, "amax")
    held = torch.where(answer_scores == best[queries], places, count)
    first = torch.full_like(best, count, dtype=torch.int64).scatter_reduce(0, queries, held, "amin")
    rank = count - (scores < best[:, None]).sum(dim=1, dtype=torch.int32).long()
    if int(rank.max()) > 1:  # so far, rank counts all candidates with the same score
        equal = (scores == best[:, None]).sum(dim=1, dtype=torch.int32)
        tied = torch.nonzero(equal > 1)[:, 0]
        columns = torch.arange(count, device=scores.device)
        behind = (scores[tied] == best[tied, None]) & (columns > first[tied, None])
        rank[tied] -= behind.sum(dim=1)
    return rank


@torch.no_grad()
def ranks(
    queries: Float[Tensor, "query hidden"],
    candidates: Float[Tensor, "candidate hidden"],
    answers: Answers,
    adjusted: dict[str, Neighbourhoods] | None = None,
    scores_at_once: int = SCORES_AT_ONCE,
) -> dict[str, Int[Tensor, " query"]]:
    """Rank of each query's best answer among unit vectors, from 1, by "cosine" and others.

    `adjusted` names further scores of ADJUSTED with the neighbourhoods that they need; all scores
    share one product of the vectors. Memory: a few times `scores_at_once` numbers.
    """
    adjusted = adjusted or {}
    shape = (len(queries),)
    ranks_by_score = {
        name: torch.zeros(shape, dtype=torch.int64, device=queries.device)
        for name in ("cosine", *adjusted)
    }
    for part, cosines in cosine_blocks(queries, candidates, scores_at_once):
        right = answers.part(part.start, part.stop)
        ranks_by_score["cosine"][part] = block_ranks(cosines, *right)
        for name, near in adjusted.items():
            own = nearest_mean(cosines, near.neighbours)
            scores = ADJUSTED[name](cosines, own, near.candidates)
            ranks_by_score[name][part] = block_ranks(scores, *right)
    return ranks_by_score


def rank_metrics(query_ranks: Int[Tensor, " query"]) -> dict[str, float]:
    """P@1 and P@5 in percent and mean reciprocal rank in (0, 1]; empty without queries.

    Source: Conneau et al., 2018 (arXiv:1710.04087), section 3 (P@k); Voorhees, 1999 (TREC-8), MRR.
    """
    if not len(query_ranks):
        return {}
    places = query_ranks.double()
    return {
        "p1_percent": float(100 * (places <= 1).double().mean()),
        "p5_percent": float(100 * (places <= 5).double().mean()),
        "mrr": float(places.reciprocal().mean()),
    }
