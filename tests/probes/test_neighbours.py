import math

import numpy as np
import pytest
import torch
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from alignmlm.probes.neighbours import (
    Neighbourhoods,
    answers_of,
    neighbourhood_means,
    own_place,
    rank_metrics,
    ranks,
    units,
)


def cloud(count: int, seed: int, hidden: int = 16) -> torch.Tensor:
    return torch.randn(count, hidden, generator=torch.Generator().manual_seed(seed))


def sorted_rank(scores: np.ndarray, right: set[int]) -> int:
    """Rank by a full sort; of equal scores the lowest place is first."""
    order = np.argsort(-scores, kind="stable").tolist()
    return 1 + min(order.index(place) for place in right)


def means_by_sorting(cosines: np.ndarray, count: int) -> np.ndarray:
    return np.sort(cosines, axis=1)[:, ::-1][:, :count].mean(axis=1)


@pytest.fixture(scope="module")
def case():
    """Vectors of 37 queries and 53 candidates, related, with one to three answers each."""
    queries, noise = cloud(37, 0), cloud(53, 1)
    candidates = noise + torch.cat([queries, torch.zeros(16, 16)])
    draw = np.random.default_rng(0)
    sets = [frozenset(draw.choice(53, size=1 + i % 3, replace=False).tolist()) for i in range(37)]
    return units(queries), units(candidates), sets


def exact_scores(queries: torch.Tensor, candidates: torch.Tensor) -> dict[str, np.ndarray]:
    """All scores as the papers define them, in float64."""
    cosines = (queries.double() @ candidates.double().T).numpy()
    near, back = means_by_sorting(cosines, 10), means_by_sorting(cosines.T, 10)
    csls = 2 * cosines - near[:, None] - back[None]
    ratio = cosines / (near[:, None] / 2 + back[None] / 2)
    return {"cosine": cosines, "csls": csls, "margin_ratio": ratio}


@pytest.mark.parametrize("scores_at_once", [1, 60, 53 * 5 + 7, 2**24])
@pytest.mark.parametrize("name", ["cosine", "csls", "margin_ratio"])
def test_ranks_are_those_of_a_full_sort_in_float64(case, name, scores_at_once):
    queries, candidates, sets = case
    near = Neighbourhoods(10, neighbourhood_means(candidates, queries, 10, scores_at_once))
    adjusted = {"csls": near, "margin_ratio": near}
    found = ranks(queries, candidates, answers_of(sets), adjusted, scores_at_once)[name]
    exact = exact_scores(queries, candidates)[name]
    assert found.tolist() == [
        sorted_rank(row, right) for row, right in zip(exact, sets, strict=True)
    ]


def test_cosines_and_neighbourhoods_are_those_of_scikit_learn(case):
    queries, candidates, _ = case
    index = NearestNeighbors(n_neighbors=10, metric="cosine").fit(candidates.numpy())
    near = 1 - index.kneighbors(queries.numpy())[0].mean(axis=1)
    assert np.allclose(neighbourhood_means(queries, candidates, 10), near, atol=1e-6)
    assert np.allclose(queries @ candidates.T, cosine_similarity(queries, candidates), atol=1e-6)


def test_precision_and_reciprocal_rank_are_those_of_scikit_learn(case):
    queries, candidates, _ = case
    answers = own_place(37)
    metrics = rank_metrics(ranks(queries, candidates, answers)["cosine"])
    scores = (queries.double() @ candidates.double().T).numpy()
    for places, key in ((1, "p1_percent"), (5, "p5_percent")):
        accuracy = top_k_accuracy_score(np.arange(37), scores, k=places, labels=np.arange(53))
        assert metrics[key] == pytest.approx(100 * accuracy)
    right = np.eye(37, 53, dtype=int)  # with one answer, average precision is 1 / rank
    assert metrics["mrr"] == pytest.approx(label_ranking_average_precision_score(right, scores))


def test_of_equal_candidates_the_lowest_place_is_first():
    candidates = torch.eye(3)[[1, 0, 0, 0, 2]]
    queries = torch.eye(3)[[0, 0, 0]]
    sets = [frozenset({1}), frozenset({3}), frozenset({0})]
    assert ranks(queries, candidates, answers_of(sets))["cosine"].tolist() == [1, 3, 4]


def test_the_better_of_two_answers_counts():
    candidates, queries = torch.eye(4), units(torch.tensor([[4.0, 3.0, 2.0, 1.0]]))
    assert ranks(queries, candidates, answers_of([frozenset({1, 3})]))["cosine"].tolist() == [2]


def test_all_vectors_equal_rank_by_place():
    same = torch.ones(6, 4) / 2
    assert ranks(same, same, own_place(6))["cosine"].tolist() == [1, 2, 3, 4, 5, 6]


def test_an_answer_that_is_not_a_number_is_last_and_never_right():
    candidates, queries = cloud(5, 0), cloud(5, 0)
    candidates[2] = math.nan
    found = ranks(units(queries), units(candidates), own_place(5))["cosine"]
    assert found[2] == 5
    assert min(found.tolist()) > 1  # what may be nearer than everything is counted as nearer


def test_vectors_that_are_not_numbers_align_nothing():
    broken = torch.full((5, 4), math.nan)
    assert rank_metrics(ranks(broken, broken, own_place(5))["cosine"])["p1_percent"] == 0


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e4])
def test_neither_rotation_nor_scale_changes_ranks(case, scale):
    queries, candidates, sets = case
    turn, _ = torch.linalg.qr(cloud(16, 5))
    moved = ranks(units(scale * queries @ turn), units(candidates @ turn), answers_of(sets))
    assert moved["cosine"].equal(ranks(queries, candidates, answers_of(sets))["cosine"])


def test_csls_finds_what_a_hub_hides():
    """A hub is near to every query; CSLS takes off how near it is to all of them."""
    own, common = torch.eye(6), torch.full((1, 6), 6**-0.5)
    queries = units(own + 2 * common)
    candidates = units(torch.cat([common, own]))
    answers = answers_of([frozenset({i + 1}) for i in range(6)])
    near = Neighbourhoods(5, neighbourhood_means(candidates, queries, 5))
    found = ranks(queries, candidates, answers, {"csls": near})
    assert found["cosine"].tolist() == [2] * 6
    assert found["csls"].tolist() == [1] * 6


def test_a_pool_smaller_than_the_neighbourhood_is_taken_whole():
    queries, pool = units(cloud(4, 0)), units(cloud(3, 1))
    means = neighbourhood_means(queries, pool, 10)
    assert torch.allclose(means, (queries @ pool.T).mean(dim=1))


def test_nothing_asked_has_no_ranks_and_no_metrics():
    none = answers_of([])
    found = ranks(cloud(0, 0), units(cloud(3, 0)), none)["cosine"]
    assert (len(found), rank_metrics(found)) == (0, {})


@pytest.mark.parametrize("scores_at_once", [200, 1400, 2**24])
def test_of_repeated_vectors_each_has_its_own_rank_whatever_the_blocks(scores_at_once):
    vectors = units(cloud(40, 3)).repeat(5, 1)
    found = ranks(vectors, vectors, own_place(200), scores_at_once=scores_at_once)["cosine"]
    assert found.tolist() == [1 + i // 40 for i in range(200)]
