"""The compiled batches are those of the NumPy specification, bit for bit."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from alignmlm.data.batches import batch_samples, make_batch, validation_samples
from alignmlm.data.reference import reference_batch
from alignmlm.data.store import TRAIN, VALIDATION
from alignmlm.errors import ConfigError
from alignmlm.pretraining.assembly import assemble

CHANGES = "qaa-Latn, qaa-Latn-x-perm-rep30-trans, qaa-Latn-x-noise3-ovl25, qaa-Latn-x-vperm"
CASES = {
    "mlm": ["--objective.name=mlm"],
    "tlm": ["--objective.name=tlm", "--objective.translation_rows=0.5"],
    "dict_mlm": ["--objective.name=dict_mlm"],
    "translation": ["--objective.name=dict_mlm", "--objective.predict=translation"],
    "code switch": ["--objective.name=mlm", "--objective.code_switch=0.5"],
    "both": ["--objective.name=dict_mlm", "--objective.code_switch=0.3"],
    "masks": ["--objective.name=mlm", "--mask.random=0.6", "--mask.keep=0.4", "--mask.rate=0.7"],
    "rates": ['--mask.rate_changes=[{"step": 2, "rate": 0.4}, {"step": 4, "rate": 0.05}]'],
    "every change": ["--objective.name=tlm", f"--languages.ids=[{CHANGES}]"],
    "inv-rep": ["--objective.name=tlm", "--languages.ids=[qaa-Latn, qaa-Latn-x-inv-rep80]"],
    "short rows": ["--objective.name=tlm", "--train.seq_len=8"],
    "long rows": ["--objective.name=tlm", "--train.seq_len=2048"],
}


def assert_same(found, expected):
    for field in fields(found):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, other), field.name
        else:
            assert one == other, field.name


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 7])
def test_a_training_batch_is_the_specified_one(small_recipe, case, seed):
    settings = ["--train.seq_len=64", *CASES[case], f"--languages.seed={seed}"]
    loader = assemble(small_recipe(*settings, f"--train.seed={seed}")).loader
    for step in (0, 3, 10**9):
        samples = batch_samples(loader, step, 16, 0, 1, 16)[0]
        expected = reference_batch(loader, samples, TRAIN, seed)
        assert_same(make_batch(loader, samples, TRAIN), expected)


def test_a_validation_batch_is_the_specified_one(small_recipe):
    loader = assemble(small_recipe("--objective.name=dict_mlm")).loader
    samples = validation_samples(loader, 1, 5)
    expected = reference_batch(loader, samples, VALIDATION, 0)
    assert_same(make_batch(loader, samples, VALIDATION), expected)


def test_the_masking_rate_changes_at_its_step_and_not_in_validation(small_recipe):
    changed = '--mask.rate_changes=[{"step": 3, "rate": 0.6}]'
    loader = assemble(small_recipe(changed)).loader
    before, after = (len(training(loader, step).masked) for step in (2, 3))
    assert after > 2.5 * before
    plain = assemble(small_recipe()).loader
    assert_same(training(loader, 2), training(plain, 2))
    kept = [
        make_batch(each, validation_samples(each, 0, 5), VALIDATION) for each in (loader, plain)
    ]
    assert_same(*kept)


def training(loader, step):
    return make_batch(loader, batch_samples(loader, step, 8, 0, 1, 8)[0], TRAIN)


def test_masking_rates_out_of_order_are_refused(small_recipe):
    changes = '--mask.rate_changes=[{"step": 5, "rate": 0.2}, {"step": 2, "rate": 0.3}]'
    with pytest.raises(ConfigError, match=r"mask\.rate_changes = \[5, 2\]"):
        small_recipe(changes)


def test_a_long_sentence_is_sorted_like_a_short_one(small_recipe):
    """More than 48 words are merged, fewer are inserted: both keep equal ranks as they stood."""
    from alignmlm.data.rendering import sort_by_rank

    rng = np.random.default_rng(0)
    for words in (1, 2, 47, 48, 49, 500):
        rank = rng.integers(0, 9, words).astype(np.float64)
        order = np.empty(words, np.int64)
        sort_by_rank(order, rank, words)
        assert order.tolist() == np.argsort(rank, kind="stable").tolist()
