import json
import shutil

import numpy as np
import pytest
import torch

from alignmlm.config import load_recipe
from alignmlm.data.tokenizer import train_tokenizer
from alignmlm.errors import CheckpointError
from alignmlm.languages.dictionary import Dictionary, merged
from alignmlm.pretraining.assembly import LanguagePair, assemble
from alignmlm.pretraining.checkpoints import load_state
from alignmlm.pretraining.export import trained_model
from alignmlm.probes.encoder import token_embedding
from alignmlm.probes.words import unit_vectors, word_metrics, word_probe
from alignmlm.reporting.run_facts import run_facts
from alignmlm.reporting.word_data import word_data
from alignmlm.studies.run_words import WordSizes, word_texts, write_words
from tests.conftest import SMALL
from tests.runs import pretrain


@pytest.fixture(scope="module")
def document(run) -> dict:
    sizes = WordSizes(words=100_000)
    return json.loads(write_words(load_recipe(run / "recipe.yaml"), run, sizes).read_text("utf-8"))


@pytest.fixture(scope="module")
def newest(run) -> tuple[torch.Tensor, LanguagePair, Dictionary]:
    """The embedding of the newest checkpoint, and the words of the pair of languages."""
    recipe = load_recipe(run / "recipe.yaml")
    assembly = assemble(recipe)
    model = trained_model(recipe, assembly, load_state(run / "checkpoints" / "step-8")).model
    (pair,) = assembly.pairs
    return token_embedding(model), pair, merged([pair.used, pair.held_out])


def test_ranks_of_all_words_add_up_to_what_the_probes_measure(newest, document):
    embedding, _, every = newest
    found = word_metrics(embedding, word_probe(every, every))
    last = [word["ranks"][-1] for word in document["pairs"][0]["words"]]
    for place, name in enumerate(("cosine", "csls")):
        first = sum(ranks[place] == 1 for ranks in last)
        assert 100 * first / len(last) == pytest.approx(found[f"forward/{name}_p1_percent"])


def test_neighbours_are_the_nearest_by_cosine_in_falling_order(newest, document):
    embedding, pair, every = newest
    targets = sorted({target for _, target in every.words()})
    source = next(iter(sorted({source for source, _ in pair.used.words()})))
    cosines = unit_vectors(embedding, [source]) @ unit_vectors(embedding, targets).T
    best = torch.sort(cosines[0], descending=True).values[:10]
    rows = [word["cosine"][-1][1::2] for word in document["pairs"][0]["words"]]
    assert any(row == pytest.approx(best.tolist(), abs=1e-3) for row in rows)
    assert all(row == sorted(row, reverse=True) for row in rows)


def test_every_word_is_told_with_its_part_band_and_translation(document):
    (pair,) = document["pairs"]
    assert [step["step"] for step in document["steps"]] == [4, 8]
    assert {word["part"] for word in pair["words"]} == {"given", "held out"}
    for word in pair["words"]:
        assert word["word"] in [pair["texts"][place] for place in word["answers"]]  # derived
        assert len(word["cosine"]) == len(word["csls"]) == len(word["ranks"]) == 2


def test_the_map_shows_words_and_a_translation_where_the_newest_plane_has_them(newest, document):
    embedding, pair, every = newest
    translations = dict(every.words())
    given = {word for word, _ in pair.used.words()}
    ordered = sorted(translations, key=lambda word: word not in given)
    both = [*ordered, *(translations[word] for word in ordered)]
    vectors = unit_vectors(embedding, both).double().numpy()
    eigenvalues = np.linalg.eigvalsh(np.cov(vectors.T, ddof=0))[::-1]
    words = document["pairs"][0]["words"]
    last = np.array([word["points"][-1] for word in words]).reshape(-1, 2, 2)
    points = np.concatenate([last[:, 0], last[:, 1]])
    assert points.var(axis=0) == pytest.approx(eigenvalues[:2], abs=1e-3)
    shown = 100 * eigenvalues[:2] / eigenvalues.sum()
    assert document["pairs"][0]["shown_percent"] == pytest.approx(shown, abs=0.06)
    assert all(len(word["points"]) == len(document["steps"]) for word in words)


def test_words_of_an_older_version_are_written_again(run):
    recipe = load_recipe(run / "recipe.yaml")
    path = write_words(recipe, run, WordSizes(words=10))
    new = json.loads(path.read_text("utf-8"))
    uncounted = {key: value for key, value in new["sources"].items() if key != "counts"}
    for older in (new | {"schema_version": 1}, new | {"sources": uncounted}):
        path.write_text(json.dumps(older), "utf-8")
        write_words(recipe, run, WordSizes(words=10))
        assert json.loads(path.read_text("utf-8")) == new


def test_few_words_are_half_given_half_held_out_and_written_once(run, document):
    recipe = load_recipe(run / "recipe.yaml")
    (run / "words.json").unlink()
    path = write_words(recipe, run, WordSizes(words=10, checkpoints=1))
    found = json.loads(path.read_text("utf-8"))
    parts = [word["part"] for word in found["pairs"][0]["words"]]
    assert parts == ["given"] * 5 + ["held out"] * 5
    assert [step["step"] for step in found["steps"]] == [8]
    before = path.stat().st_mtime_ns
    write_words(recipe, run, WordSizes(words=10, checkpoints=1))
    assert path.stat().st_mtime_ns == before


def test_words_of_a_run_that_was_trained_again_are_written_again(run, small_store, tmp_path):
    places = [f"--data.store={small_store}", f"--run.dir={tmp_path / 'run'}"]
    pretrain(load_recipe(None, [*SMALL, *places, "--model.seed=1"]), None)
    recipe = load_recipe(tmp_path / "run" / "recipe.yaml")
    path = write_words(recipe, tmp_path / "run", WordSizes(words=10))
    other = write_words(load_recipe(run / "recipe.yaml"), run, WordSizes(words=10))
    path.write_bytes(other.read_bytes())  # the same steps, of other weights
    write_words(recipe, tmp_path / "run", WordSizes(words=10))
    assert path.read_bytes() != other.read_bytes()


def test_a_checkpoint_is_not_explored_with_the_words_of_other_data(run, moved_recipe):
    with pytest.raises(CheckpointError, match=r"trained on data \w+, and data\.store now holds"):
        write_words(moved_recipe, run, WordSizes(words=9))


def test_words_of_a_run_whose_checkpoints_were_deleted_are_kept(run, tmp_path):
    recipe = load_recipe(run / "recipe.yaml")
    shutil.copytree(run, tmp_path / "run")
    path = write_words(recipe, tmp_path / "run", WordSizes(words=10))
    before = path.read_bytes()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert write_words(recipe, tmp_path / "run", WordSizes(words=9)).read_bytes() == before


def test_words_of_many_runs_are_thinned(run, monkeypatch):
    write_words(load_recipe(run / "recipe.yaml"), run)
    whole = word_data([run_facts(run)])["runs"]["0"]["pairs"][0]["words"]
    monkeypatch.setattr("alignmlm.reporting.word_data.MOST_BYTES", 10_000)
    found = word_data([run_facts(run)])
    kept = found["runs"]["0"]["pairs"][0]["words"]
    assert found["kept"] > 1
    assert kept == whole[:: found["kept"]]


def test_a_token_that_is_part_of_a_character_is_told_by_its_bytes():
    tokenizer = train_tokenizer(["the dog"] * 9, 262)
    ids = tokenizer.encode("the \u2603").ids
    every = np.arange(tokenizer.get_vocab_size())
    words = [tuple(ids), tuple(ids[:-1])]
    assert word_texts(tokenizer, every, len(every), words) == ["the \u2603", "the \\xe2\\x98"]
