"""Runs with induced pairs: recorded once, read at resume, refused where something differs."""

import json
import shutil
from dataclasses import replace

import pytest

from alignmlm.errors import CheckpointError
from alignmlm.languages.settings import DictionaryFile
from alignmlm.pretraining.assembly import assemble
from alignmlm.pretraining.induced_pairs import INDUCED, induced_pairs
from tests.pretraining.test_run import ZERO2, losses
from tests.runs import pretrain


@pytest.fixture
def recipe(small_recipe):
    return small_recipe("--dictionary.induction=contexts")


def test_a_resumed_run_reads_the_pairs_that_it_induced(recipe, tmp_path, caplog):
    caplog.set_level("INFO")
    folder, summary = pretrain(recipe, ZERO2)
    record = json.loads((folder / INDUCED).read_text("utf-8"))
    assert "198 given pairs, 83 induced; precision on given pairs set aside 100.0 %" in caplog.text
    assert record["inductions"][0]["induced"] == len(record["pairs"]) == 83
    before = losses(folder)
    (folder / "summary.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "step-8")
    caplog.clear()
    again, resumed = pretrain(recipe, ZERO2)
    assert losses(again) == before
    assert resumed["alignment_percent"] == summary["alignment_percent"]
    assert "induced" not in caplog.text


def test_objectives_without_pairs_induce_none(recipe, tmp_path):
    plain = replace(recipe, objective=replace(recipe.objective, name="mlm"))
    assert len(induced_pairs(plain, assemble(plain), tmp_path)) == 0
    assert not (tmp_path / INDUCED).exists()


def test_damaged_pairs_and_pairs_of_other_settings_are_refused_with_what_to_do(recipe, tmp_path):
    assembly = assemble(recipe)
    pairs = induced_pairs(recipe, assembly, tmp_path)
    assert induced_pairs(recipe, assembly, tmp_path).words() == pairs.words()
    path = tmp_path / INDUCED
    text = path.read_text("utf-8")
    other = replace(recipe, dictionary=replace(recipe.dictionary, induction_tokens=10_000))
    with pytest.raises(CheckpointError, match=r"'tokens': 10000.*delete it to induce"):
        induced_pairs(other, assembly, tmp_path)
    for damaged in (text.replace('"pairs": [[[', '"pairs": [[[1'), text[:-9], "[]", "{}", "\0"):
        path.write_text(damaged, "utf-8")
        with pytest.raises(CheckpointError, match=r"induced_pairs\.json"):
            induced_pairs(recipe, assembly, tmp_path)


def test_pairs_that_were_induced_from_another_dictionary_are_refused(recipe, tmp_path):
    assembly, path = assemble(recipe), tmp_path / "pairs.txt"
    file = DictionaryFile(path=str(path), source="qaa-Latn", target="qaa-Latn-x-inv-trans")
    filed = replace(recipe, dictionary=replace(recipe.dictionary, files=[file]))
    path.write_text("one eins\n", "utf-8")
    induced_pairs(filed, assembly, tmp_path)
    path.write_text("one zwei\n", "utf-8")
    with pytest.raises(CheckpointError, match=r"dictionary\.content\.0.*delete it to induce"):
        induced_pairs(filed, assembly, tmp_path)


def test_pairs_that_were_induced_under_other_scripts_are_refused(recipe, tmp_path):
    assembly = assemble(recipe)
    induced_pairs(recipe, assembly, tmp_path)
    other = replace(recipe, languages=replace(recipe.languages, seed=1))
    with pytest.raises(CheckpointError, match=r"'languages_seed': 1.*delete it to induce"):
        induced_pairs(other, assembly, tmp_path)
