"""Tables of records: those built in, those of other packages, and what is wrong with some."""

import sys

import pytest
import torch

from alignmlm import cli
from alignmlm.data.batches import batch_samples, make_batch
from alignmlm.data.reference import reference_batch
from alignmlm.data.store import TRAIN
from alignmlm.errors import AlignMLMError, ConfigError
from alignmlm.languages.language import parse_language
from alignmlm.languages.orders import ORDERS
from alignmlm.languages.scripts import SCRIPTS
from alignmlm.models.settings import ARCHITECTURES
from alignmlm.objectives.settings import DISTANCES, OBJECTIVES
from alignmlm.pretraining.assembly import assemble
from alignmlm.pretraining.recipe import OPTIMIZERS
from alignmlm.ranks.placement import LAUNCHERS
from alignmlm.reporting.transfer_names import language_name
from alignmlm.storage import registry
from alignmlm.tasks.formats import FORMATS
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.metrics import METRICS
from tests.packages import install

CODE = """
import numpy as np
from dataclasses import replace

from alignmlm.languages.orders import Order
from alignmlm.languages.scripts import Script
from alignmlm.objectives.mlm import MLM, mlm
from alignmlm.objectives.objective import AddedLoss


def evens_first(words):
    return words.index % 2


def half(config, batch, outputs, pairs, languages):
    losses = mlm(config, batch, outputs, pairs, languages)
    return losses._replace(prediction_nats=losses.prediction_nats / 2)


EVENS = Order(evens_first, shown="evens first")
LATE = Script(lambda change: np.arange(change.alphabet.size) + change.first_id * (
    np.isin(np.arange(change.alphabet.size), change.alphabet.ordinary()[::2])), shown="half new")
HALF = replace(MLM, loss=half)
DOUBLE = AddedLoss(lambda base: base)
BROKEN = Order(lambda words: words.index[:1])
NO_ORDER = "a text"
"""
POINTS = """
[alignmlm.orders]
evens = my_changes:EVENS
broken = my_changes:BROKEN
text = my_changes:NO_ORDER
gone = my_changes:GONE

[alignmlm.scripts]
late = my_changes:LATE

[alignmlm.objectives]
half_mlm = my_changes:HALF
double = my_changes:DOUBLE
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages on the path of Python."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    registry.plugins.cache_clear()
    yield folder
    registry.plugins.cache_clear()
    sys.modules.pop("my_changes", None)


@pytest.fixture
def package(site):
    """The package of this test."""
    install(site, "my_changes", CODE, POINTS)
    return site


def test_an_order_and_a_script_of_another_package_are_read_as_specified(package, small_recipe):
    ids = "--languages.ids=[qaa-Latn, qaa-Latn-x-evens, qaa-Latn-x-evens-rep30-late]"
    loader = assemble(small_recipe(ids, "--objective.name=tlm", "--train.seq_len=64")).loader
    for step in (0, 5):
        samples = batch_samples(loader, step, 16, 0, 1, 16)[0]
        made = make_batch(loader, samples, TRAIN)
        expected = reference_batch(loader, samples, TRAIN, 0)
        assert torch.equal(made.input_ids, expected.input_ids)
        assert torch.equal(made.labels, expected.labels)
    assert language_name("qaa-Latn-x-evens-late") == "qaa, half new + evens first"


TABLES = [
    ORDERS, SCRIPTS, OBJECTIVES, DISTANCES, OPTIMIZERS, ARCHITECTURES, LAUNCHERS, KINDS, FORMATS,
    METRICS,
]  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.names.kind)
def test_every_record_that_is_built_in_is_of_its_type(table):
    types = tuple(registry.at_place(t) if isinstance(t, str) else t for t in table.types)
    assert table.names.built_in
    assert all(isinstance(table[name], types) for name in table.names.built_in)


def test_names_are_told_where_one_is_unknown(package, small_recipe):
    with pytest.raises(ConfigError, match=r"'half_mlm', 'double'\].*did you mean 'half_mlm'"):
        small_recipe("--objective.name=half_mlmm")
    with pytest.raises(ConfigError, match=r"use orders \(inv, .*evens, .*scripts \(trans, .*late"):
        parse_language("qaa-Latn-x-oddz")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (
            "text",
            r"NO_ORDER' of my_changes 1\.0 is of type str, but must be Order",
        ),
        ("gone", r"gone = 'my_changes:GONE' of my_changes 1\.0 cannot be loaded \(AttributeError"),
        ("evens3", r"with a number \('noise3'\), 'evens', 'syn-fra'"),
    ],
)
def test_a_broken_plugin_is_told_with_its_package(package, order, message):
    with pytest.raises(AlignMLMError, match=message):
        parse_language(f"qaa-Latn-x-{order}")


def test_an_order_that_gives_no_rank_for_each_word_is_told(package, small_recipe):
    loader = assemble(
        small_recipe("--languages.ids=[qaa-Latn, qaa-Latn-x-broken]", "--objective.name=mlm")
    ).loader
    with pytest.raises(AlignMLMError, match="a finite rank for each word"):
        make_batch(loader, batch_samples(loader, 0, 16, 0, 1, 16)[0], TRAIN)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (
            "[alignmlm.orders]\ninv = other:X\n",
            "'other:X' of other 1.0 has a name that is built",
        ),
        ("[alignmlm.orders]\nevens = other:X\n", "have the same name; remove one package"),
    ],
)
def test_a_clash_of_names_is_told_with_both_packages(package, site, points, message):
    install(site, "other", "X = 1\n", points)
    registry.plugins.cache_clear()
    with pytest.raises(AlignMLMError, match=message):
        parse_language("qaa-Latn-x-evens")


def test_what_is_built_in_looks_at_no_other_package(site, capsys):
    install(site, "other", "raise SystemError\n", "[alignmlm.orders]\ninv = other:X\n")
    assert str(parse_language("qaa-Latn-x-inv-trans")) == "qaa-Latn-x-inv-trans"
    assert cli.dispatch(["train", "--help"]) == 0
    assert registry.plugins.cache_info().misses == 0
