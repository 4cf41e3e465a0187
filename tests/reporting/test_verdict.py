import math

import pytest

from alignmlm.evaluation.scores.score_rows import Cell, ScoreRow
from alignmlm.reporting.contrasts import TransferPlace, contrasts, standings
from alignmlm.reporting.verdict import verdict

LANGUAGES = ("eng-Latn", "eng-Latn-x-inv")


def row(objective: str, seed: int, bz: float, bs: float = 90.0, task: str = "pos") -> ScoreRow:
    cell = Cell(objective, task, *LANGUAGES)
    return ScoreRow(cell=cell, seed=seed, source=95.0, bs=bs, bz=bz, delta=bs - bz)


def rows_of(scores: dict[str, list[float]], task: str = "pos", bs: float = 90.0) -> list[ScoreRow]:
    return [
        row(objective, seed, bz, bs, task)
        for objective, found in scores.items()
        for seed, bz in enumerate(found)
    ]


APART = {"mlm": [20.0, 21.0, 19.5], "align_mlm": [60.0, 61.5, 59.0]}


def test_a_difference_beyond_noise_is_told_with_its_numbers():
    found = verdict(rows_of(APART))
    assert found.headline.startswith(
        "ALIGN-MLM transfers better than MLM on POS (eng → eng, inverted): Delta 29.8 against 69.8"
    )
    assert found.headline.endswith("95 % interval), p < 0.001 (Holm), 3 seeds.")


def test_the_smaller_delta_is_the_better_one_and_the_larger_bz():
    rows = rows_of(APART)
    for measure in ("delta", "bz"):
        (one,) = contrasts(rows, measure)
        assert (one.better, one.worse) == ("align_mlm", "mlm")


def test_a_delta_that_only_a_lower_bs_made_smaller_is_told_so():
    rows = [row("mlm", seed, 20.0 + seed % 2, 90.0 + seed % 2) for seed in range(4)]
    rows += [row("tlm", seed, 20.0 + seed % 3 / 9, 60.0 + seed % 3) for seed in range(4)]
    found = verdict(rows)
    assert found.headline.startswith("TLM transfers better than MLM")
    assert found.details[0].startswith("There the zero-shot score BZ itself is not higher beyond")
    assert not any("BZ itself" in detail for detail in verdict(rows_of(APART)).details)


def test_one_seed_is_no_claim():
    found = verdict(rows_of({"mlm": [20.0], "align_mlm": [60.0]}))
    assert found.headline == "One seed: no claim about which objective transfers better."
    assert "Delta 70.0 against 30.0" in found.details[0]


def test_noise_is_no_difference_and_says_what_could_have_been_noticed():
    found = verdict(rows_of({"mlm": [20.0, 30.0, 25.0], "tlm": [29.0, 21.0, 26.0]}))
    assert found.headline.startswith("No difference in Delta beyond noise: 1 comparison of")
    assert "points (median)" in found.details[0]
    assert len(found.details) == 2


def test_a_difference_in_bz_alone_is_named_where_none_in_delta_is():
    supervised = {"mlm": [40.0, 90.0, 65.0], "align_mlm": [90.0, 40.0, 60.0]}
    rows = [
        row(objective, seed, APART[objective][seed], bs)
        for objective, scores in supervised.items()
        for seed, bs in enumerate(scores)
    ]
    found = verdict(rows)
    assert found.headline.startswith("No difference in Delta beyond noise")
    assert found.details[-1].startswith("But POS (eng → eng, inverted): BZ 60.2 against 20.2")


def test_seeds_that_agree_to_the_last_digit_are_no_claim():
    found = verdict(rows_of({"mlm": [20.0, 20.0], "tlm": [30.0, 30.0]}))
    assert "no claim" in found.headline


def test_without_supervised_scores_transfer_is_compared_by_bz():
    found = verdict(rows_of(APART, bs=math.nan))
    assert "BZ 60.2 against 20.2" in found.headline


def test_nothing_to_compare_is_said():
    assert verdict([]).headline == "Nothing about transfer was measured yet."
    assert "nothing to compare" in verdict(rows_of({"mlm": [1.0, 2.0]})).headline


def test_one_place_of_several_is_told_with_its_numbers():
    rows = rows_of(APART) + rows_of({"mlm": [20.0, 30.0], "align_mlm": [29.0, 21.0]}, "ner")
    found = verdict(rows)
    assert "on POS (eng → eng, inverted): Delta 29.8 against 69.8" in found.headline
    assert found.headline.endswith("3 seeds.")
    assert found.details == ("No difference beyond noise in 1 of 2 comparisons.",)


def test_several_places_are_counted_and_the_undecided_ones_told():
    rows = rows_of(APART) + rows_of(APART, "ner")
    rows += rows_of({"mlm": [20.0, 30.0, 25.0], "align_mlm": [29.0, 21.0, 26.0]}, "nli")
    found = verdict(rows)
    assert "ALIGN-MLM transfers better than MLM beyond noise in 2 of 3 cells" in found.headline
    assert found.details == ("No difference beyond noise in 1 of 3 comparisons.",)


def test_more_comparisons_make_each_harder():
    scores = {"mlm": [20.0, 23.0, 21.0], "align_mlm": [28.0, 27.5, 28.5]}
    alone = contrasts(rows_of(scores), "delta")[0]
    others = [
        row for n in range(9) for row in rows_of({"mlm": [1.0, 5.0], "tlm": [4.0, 2.0]}, str(n))
    ]
    among = contrasts(rows_of(scores) + others, "delta")[0]
    assert alone.better == "align_mlm"
    assert among.better is None
    assert among.p_holm == pytest.approx(10 * alone.p_holm)


def test_objectives_that_do_not_differ_share_a_rank():
    near = {**APART, "dict_mlm": [58.0, 62.0, 60.5]}
    found = standings(rows_of(near))
    place = TransferPlace("pos", *LANGUAGES)
    ranks = {name: found[place, "delta", name].rank for name in near}
    assert ranks == {"align_mlm": 1, "dict_mlm": 1, "mlm": 3}
