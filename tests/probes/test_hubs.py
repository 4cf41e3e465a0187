import pytest
import torch
from scipy.stats import skew

from alignmlm.probes.hubs import hub_metrics, nearest_places, neighbourhood_metrics, skewness
from alignmlm.probes.neighbours import units


def test_equal_clouds_are_mutual_neighbours_without_hubs():
    cloud = units(torch.randn(200, 16, generator=torch.Generator().manual_seed(0)))
    found = neighbourhood_metrics(cloud, cloud)
    assert found["reciprocity_percent"] == 100
    assert found["forward/hub_mass_percent"] == 1.0  # two of 200


def test_one_word_that_is_nearest_to_all_holds_the_whole_mass():
    nearest = torch.zeros(50, 1, dtype=torch.int64)
    assert hub_metrics(nearest, 100)["hub_mass_percent"] == 100


def test_skewness_is_scipys():
    counts = torch.tensor([0.0, 1, 1, 2, 9, 3])
    assert skewness(counts) == pytest.approx(float(skew(counts.numpy())))
    assert skewness(torch.ones(4)) == 0


def test_nearest_places_are_those_of_the_whole_matrix():
    source = torch.Generator().manual_seed(1)
    one, two = (units(torch.randn(30, 8, generator=source)) for _ in range(2))
    assert torch.equal(nearest_places(one, two, 3), (one @ two.T).topk(3, dim=1).indices)
