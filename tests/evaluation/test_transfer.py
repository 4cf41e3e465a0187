import pytest

from alignmlm.evaluation.scores.scoring import Scores, summary


def scores(seed, bz, bs, target="qaa-Latn-x-trans"):
    return Scores(
        seed=seed, source="qaa-Latn", target=target, source_dev=90.0, source_test=96.0, bz=bz, bs=bs
    )


def test_delta_is_what_zero_shot_transfer_loses():
    assert scores(0, bz=56.5, bs=95.0).delta == 38.5


def test_a_summary_is_the_mean_over_seeds():
    found = summary([scores(0, 50.0, 90.0), scores(1, 60.0, 94.0)])
    means = {"acc,none": 0.55, "source": 96, "bs": 92, "bz": 55, "delta": 37, "n_seeds": 2}
    assert {name: found[name] for name in means} == pytest.approx(means)


def test_intervals_are_students_over_seeds_and_absent_for_one_seed():
    found = summary([scores(0, 50.0, 90.0), scores(1, 60.0, 94.0)])
    half = 12.706 * (10 / 2**0.5) / 2**0.5
    assert found["bz_ci95"] == pytest.approx([55 - half, 55 + half], abs=0.01)
    assert found["acc_stderr,none"] == pytest.approx(0.05)
    assert summary([scores(0, 50.0, 90.0)])["bz_ci95"] is None


def test_a_target_without_training_split_has_neither_bs_nor_delta():
    found = summary([scores(0, 50.0, None)])
    assert (found["bz"], found["bs"], found["delta"]) == (50.0, None, None)


def test_several_targets_of_one_seed_are_one_seed():
    found = summary([scores(0, 50.0, 90.0), scores(0, 60.0, 90.0, "qaa-Latn-x-inv")])
    assert (found["n_seeds"], found["bz"]) == (1, 55.0)
