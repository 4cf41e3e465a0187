import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity

from alignmlm.probes import geometry
from alignmlm.probes.geometry import (
    example_cka,
    feature_cka,
    isoscore,
    isotropy_metrics,
    linear_cka,
    mean_cosine,
    norm_gap_percent,
    pair_cosine,
    partition_ratio,
)


def cloud(count: int, seed: int, hidden: int = 6) -> torch.Tensor:
    return torch.randn(count, hidden, generator=torch.Generator().manual_seed(seed))


def skewed(count: int, seed: int = 0) -> torch.Tensor:
    """A cloud with a common direction and unequal variances."""
    return cloud(count, seed) * torch.arange(1.0, 7.0) + torch.tensor([3.0, 0, 0, 1, 0, 0])


def rotation(seed: int = 9) -> torch.Tensor:
    return torch.linalg.qr(cloud(6, seed))[0]


def both_signs() -> torch.Tensor:
    """The unit vectors of all axes in both directions: as even as a cloud can be."""
    return torch.cat([torch.eye(6), -torch.eye(6)])


def isoscore_step_by_step(vectors: np.ndarray) -> float:
    """Algorithm 1 of Rudman et al., 2022, one step after the other."""
    size = vectors.shape[1]
    turned = PCA(n_components=size).fit_transform(vectors)
    variances = np.diag(np.cov(turned.T))
    normalised = np.sqrt(size) * variances / np.linalg.norm(variances)
    defect = np.linalg.norm(normalised - 1) / np.sqrt(2 * (size - np.sqrt(size)))
    used = (size - defect**2 * (size - np.sqrt(size))) ** 2 / size**2
    return (size * used - 1) / (size - 1)


def test_mean_cosine_is_that_of_all_pairs():
    vectors = skewed(50)
    cosines = cosine_similarity(vectors.double().numpy())
    expected = cosines[~np.eye(50, dtype=bool)].mean()
    assert mean_cosine(vectors) == pytest.approx(expected, abs=1e-6)


def test_isoscore_is_that_of_the_algorithm():
    vectors = skewed(80)
    expected = isoscore_step_by_step(vectors.double().numpy())
    assert isoscore(vectors) == pytest.approx(expected, abs=1e-9)


def test_partition_ratio_is_that_of_a_loop():
    vectors = skewed(30).double() / 5
    _, directions = np.linalg.eigh((vectors.T @ vectors).numpy())
    totals = [
        sum(math.exp(sign * float(direction @ vector)) for vector in vectors.numpy())
        for direction in directions.T for sign in (1, -1)
    ]  # fmt: skip
    assert partition_ratio(vectors) == pytest.approx(min(totals) / max(totals), rel=1e-9)


def test_an_even_cloud_is_isotropic_by_all_measures():
    found = isotropy_metrics(both_signs())
    assert found["isoscore"] == pytest.approx(1)
    assert found["partition_ratio"] == pytest.approx(1)
    assert found["mean_cosine"] == pytest.approx(-1 / 11)  # 6 opposite pairs of 66


def test_a_line_has_no_isotropy():
    line = torch.linspace(-1, 1, 21)[:, None] * torch.tensor([1.0, 2, 3, 4, 5, 6])
    assert isoscore(line) == pytest.approx(0, abs=1e-6)


def test_equal_vectors_have_mean_cosine_one_and_no_isoscore():
    same = torch.ones(5, 4)
    assert mean_cosine(same) == pytest.approx(1)
    assert math.isnan(isoscore(same))


def test_one_vector_has_no_pairs():
    assert math.isnan(mean_cosine(torch.ones(1, 4)))


def test_isoscore_does_not_see_a_common_direction_but_mean_cosine_does():
    vectors, moved = cloud(200, 0), cloud(200, 0) + 100
    assert isoscore(moved) == pytest.approx(isoscore(vectors), rel=1e-4)
    assert mean_cosine(moved) > 0.99 > 0.1 > mean_cosine(vectors)


@pytest.mark.parametrize("measure", [mean_cosine, isoscore, partition_ratio])
def test_isotropy_survives_rotation(measure):
    vectors = skewed(60) / 10
    assert measure(vectors @ rotation()) == pytest.approx(measure(vectors), rel=1e-4)


@pytest.mark.parametrize("name", ["mean_cosine", "isoscore", "partition_ratio"])
def test_isotropy_as_reported_survives_scaling(name):
    vectors = skewed(60)
    found, scaled = isotropy_metrics(vectors)[name], isotropy_metrics(300 * vectors)[name]
    assert scaled == pytest.approx(found, rel=1e-5)


def test_norm_gap_is_zero_for_equal_lengths_and_grows_with_the_target():
    vectors = skewed(20)
    assert norm_gap_percent(vectors, vectors @ rotation()) == pytest.approx(0, abs=1e-4)
    assert norm_gap_percent(vectors, 1.5 * vectors) == pytest.approx(50)
    assert norm_gap_percent(vectors, 0.5 * vectors) == pytest.approx(-50)


def test_the_norm_gap_to_vectors_without_length_is_undefined():
    assert math.isnan(norm_gap_percent(torch.zeros(3, 6), cloud(3, 0)))


def test_pair_cosine_is_the_mean_of_the_diagonal():
    one, two = skewed(20), skewed(20, seed=1)
    cosines = cosine_similarity(one.double().numpy(), two.double().numpy())
    assert pair_cosine(one, two) == pytest.approx(np.diag(cosines).mean(), abs=1e-6)


def hsic_cka(one: torch.Tensor, two: torch.Tensor) -> float:
    """CKA from HSIC with centring matrices, as the paper writes it."""
    count = len(one)
    centring = np.eye(count) - np.ones((count, count)) / count
    kernels = [x.double().numpy() @ x.double().numpy().T for x in (one, two)]

    def hsic(a, b):
        return np.trace(kernels[a] @ centring @ kernels[b] @ centring) / (count - 1) ** 2

    return hsic(0, 1) / math.sqrt(hsic(0, 0) * hsic(1, 1))


@pytest.mark.parametrize("form", [feature_cka, example_cka, linear_cka])
@pytest.mark.parametrize("count", [4, 6, 70])
def test_both_forms_of_cka_are_hsic_with_linear_kernels(form, count):
    one, two = skewed(count), torch.cat([cloud(count, 1), skewed(count)[:, :2]], dim=1)
    assert form(one, two) == pytest.approx(hsic_cka(one, two), abs=1e-9)


def test_cka_survives_rotation_scale_and_shift_but_not_stretching():
    one = skewed(100)
    assert linear_cka(one, 5 * one @ rotation() + 3) == pytest.approx(1, abs=1e-5)
    assert linear_cka(one, one * torch.tensor([9.0, 1, 1, 1, 1, 1])) < 0.9


def test_cka_of_unrelated_vectors_falls_with_the_number_of_pairs():
    few, many = (linear_cka(cloud(count, 0), cloud(count, 1)) for count in (7, 5000))
    assert many < 0.01 < 0.3 < few


def test_cka_of_one_dimension_is_the_squared_correlation():
    one, two = cloud(40, 0, hidden=1), cloud(40, 1, hidden=1)
    expected = np.corrcoef(one[:, 0], two[:, 0])[0, 1] ** 2
    assert feature_cka(one, two) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("measure", [mean_cosine, isoscore, partition_ratio])
def test_pieces_change_nothing(measure, monkeypatch):
    vectors = skewed(50)
    whole = measure(vectors)
    monkeypatch.setattr(geometry, "PIECE_VECTORS", 7)
    assert measure(vectors) == pytest.approx(whole, rel=1e-12)
