"""Rotated embeddings, and pairs induced from embeddings during training."""

import json
from dataclasses import replace

import pytest
import torch

from alignmlm.errors import ConfigError, DataError
from alignmlm.pretraining import training_run
from alignmlm.pretraining.assembly import assemble, own_tokens, trained_pairs
from alignmlm.pretraining.checkpoints import read_progress
from alignmlm.pretraining.engine import Engine, engine_settings
from alignmlm.pretraining.policy import read_policy
from alignmlm.pretraining.self_learning import FIRST_MOMENT, fitted_turn, turn_rows
from alignmlm.pretraining.state import start_moments
from alignmlm.probes import induction
from alignmlm.probes.neighbours import units
from alignmlm.probes.words import vectors_of
from alignmlm.ranks.distributed import start_distributed
from tests.pretraining.test_run import ZERO2, losses
from tests.pretraining.trusting_ranks import TRUSTING
from tests.runs import pretrain

LEARNING = ["--dictionary.induction=embeddings", "--dictionary.induction_steps=2"]


@pytest.fixture
def engine(small_recipe):
    """An engine of ZeRO 2 and its assembly."""
    recipe = small_recipe()
    start_distributed()
    assembly = assemble(recipe)
    settings = engine_settings(read_policy(ZERO2), ZERO2, recipe.train, recipe.optimizer, 1)
    made = Engine(training_run.make_module(recipe, assembly), settings, recipe.optimizer)
    start_moments(made, 0)
    return made, assembly


def distances(rows: torch.Tensor) -> torch.Tensor:
    return torch.cdist(rows.double(), rows.double())


def test_a_turn_keeps_distances_and_other_rows_and_brings_given_pairs_nearer(engine):
    made, assembly = engine
    pair, weight = assembly.pairs[0], made.module.masked_model.embedding
    rows = own_tokens(pair, assembly.loader.lexicon.tables)
    target, before = torch.from_numpy(rows[1]), made.embedding()
    moment = torch.randn_like(before)
    made.partitions.put(weight, moment, FIRST_MOMENT)
    turn = fitted_turn(before, rows, pair.used)
    turn_rows(made, target, turn)
    after = made.embedding()
    others = torch.ones(len(before), dtype=torch.bool).index_fill(0, target, False)
    assert torch.equal(after[others], before[others])
    assert torch.allclose(distances(after[target]), distances(before[target]), atol=1e-4)
    assert torch.equal(after, made.partitions.whole(weight, None))
    turned = made.partitions.whole(weight, FIRST_MOMENT)
    assert torch.allclose(turned[target], moment[target] @ turn.rotation)
    assert torch.equal(turned[others], moment[others])

    def nearness(table: torch.Tensor) -> float:
        sides = zip(*pair.used.words(), strict=True)
        source, aim = (
            units(vectors_of(table, list(words)) - table[torch.from_numpy(part)].mean(dim=0))
            for words, part in zip(sides, rows, strict=True)
        )
        return float((source * aim).sum(dim=1).mean())

    assert nearness(after) > nearness(before) + 0.1


def test_the_pairs_of_the_embeddings_are_trained_on_recorded_and_saved(
    small_recipe, monkeypatch, caplog
):
    caplog.set_level("INFO")
    monkeypatch.setattr(induction, "FROM_EMBEDDINGS", TRUSTING)
    recipe = small_recipe(*LEARNING, "--dictionary.rotation_step=4")
    folder, _ = pretrain(recipe, ZERO2)
    last = read_progress(folder / "checkpoints" / f"step-{recipe.train.steps}")
    assert last.induced
    assert "embeddings of qaa-Latn-x-inv-trans rotated onto those of qaa-Latn by" in caplog.text
    rows = map(json.loads, (folder / "metrics.jsonl").read_text("utf-8").splitlines())
    name = "induction/qaa-Latn/qaa-Latn-x-inv-trans/induced"
    steps = [row["step"] for row in rows if name in row]
    assert steps == list(range(2, recipe.train.steps, 2))
    plain = replace(recipe, run=replace(recipe.run, dir=f"{folder}-plain"))
    plain = replace(plain, dictionary=replace(recipe.dictionary, rotation_step=None))
    assert losses(pretrain(plain, ZERO2)[0]) != losses(folder)


def test_pairs_that_are_set_aside_are_not_trained_on(small_recipe):
    recipe = small_recipe(*LEARNING)
    assembly = assemble(recipe)
    (pair,) = assembly.pairs
    trained = trained_pairs(pair, recipe.dictionary)
    assert len(trained) == len(pair.used) - len(induction.control_of(pair.used))
    others = replace(recipe.dictionary, induction="none")
    assert trained_pairs(pair, others) is pair.used


def test_a_rotation_without_a_dictionary_is_refused(small_recipe):
    languages = "--languages.ids=[qaa-Latn,qaa-Latn-x-inv]"
    recipe = small_recipe(languages, "--objective.name=mlm", "--dictionary.rotation_step=4")
    with pytest.raises(DataError, match=r"dictionary\.rotation_step = 4 needs a dictionary"):
        assemble(recipe)


def test_a_rotation_of_languages_that_share_their_tokens_is_refused(small_recipe, tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("one two\n", "utf-8")
    file = f"[{{path: {path}, source: qaa-Latn, target: qaa-Latn-x-inv}}]"
    recipe = small_recipe(
        "--languages.ids=[qaa-Latn,qaa-Latn-x-inv]",
        f"--dictionary.files={file}",
        "--objective.name=mlm",
        "--dictionary.rotation_step=4",
    )
    with pytest.raises(ConfigError, match=r"rotation_step = 4.* share their tokens"):
        assemble(recipe)


@pytest.mark.parametrize("name", ["rotation_step", "induction_steps"])
def test_steps_below_one_are_refused(small_recipe, name):
    with pytest.raises(ConfigError, match=rf"dictionary\.{name} = 0"):
        small_recipe(f"--dictionary.{name}=0")
