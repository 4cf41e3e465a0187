"""Records of another package, installed into a folder: an order, a script and an objective."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from alignmlm import cli, registry
from alignmlm.data.batches import batch_samples, make_batch
from alignmlm.data.reference import reference_batch
from alignmlm.data.store import TRAIN
from alignmlm.errors import AlignMLMError, ConfigError
from alignmlm.languages.language import parse_language
from alignmlm.languages.orders import ORDERS
from alignmlm.languages.scripts import SCRIPTS
from alignmlm.objectives.settings import OBJECTIVES
from alignmlm.pretraining.assembly import assemble
from alignmlm.reporting.transfer_names import language_name
from alignmlm.tasks.formats import FORMATS
from alignmlm.tasks.kinds import KINDS
from alignmlm.tasks.metrics import METRICS
from tests.conftest import SMALL
from tests.limits import HANG_S

CODE = """
import numpy as np
from dataclasses import replace

from alignmlm.languages.orders import Order
from alignmlm.languages.scripts import Script
from alignmlm.objectives.mlm import MLM, mlm
from alignmlm.objectives.objective import Term


def evens_first(words):
    return words.index % 2


def half(config, batch, outputs, pairs, languages):
    losses = mlm(config, batch, outputs, pairs, languages)
    return losses._replace(prediction_nats=losses.prediction_nats / 2)


EVENS = Order(evens_first, shown="evens first")
LATE = Script(lambda change: np.arange(change.alphabet.size) + change.first_id * (
    np.isin(np.arange(change.alphabet.size), change.alphabet.ordinary()[::2])), shown="half new")
HALF = replace(MLM, loss=half)
DOUBLE = Term(lambda base: replace(base, loss=lambda *given: base.loss(*given)._replace(
    auxiliary={"twice": base.loss(*given).prediction_nats / len(given[1].labels)})))
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


def install(folder: Path, name: str, code: str, points: str) -> None:
    """Put a package of one module into a folder, as pip --target does."""
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(points)


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


def test_an_objective_of_another_package_trains_by_the_command_line(package, small_store, tmp_path):
    common = [*SMALL, f"--data.store={small_store}", "--train.steps=2", "--train.log_steps=1"]
    line = ["train.py", *common, "--languages.ids=[qaa-Latn, qaa-Latn-x-evens-trans]"]
    folder = tmp_path / "run"
    own = ["--objective.name=double", "--objective.base=half_mlm", f"--run.dir={folder}", "--json"]
    done = subprocess.run(
        [sys.executable, *line, *own],
        env=environment(package), capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["objective"] == "double"
    rows = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]
    (logged,) = [row for row in rows if row["step"] == 2 and "train/loss_nats" in row]
    assert logged["train/twice_loss"] == pytest.approx(logged["train/loss_nats"] / 2, rel=1e-5)


def environment(package: Path) -> dict[str, str]:
    """The environment of a process that finds the package."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(package), *sys.path])}


TABLES = [ORDERS, SCRIPTS, OBJECTIVES, KINDS, FORMATS, METRICS]


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
