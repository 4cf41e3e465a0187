import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignmlm.commands.probe import probe_command
from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.errors import CheckpointError, ConfigError
from alignmlm.languages.dictionary import from_pairs
from alignmlm.pretraining.assembly import assemble
from alignmlm.pretraining.checkpoints import load_state
from alignmlm.pretraining.export import trained_model
from alignmlm.pretraining.recipe import RunConfig
from alignmlm.probes.contexts import context_means, validation_rows
from alignmlm.probes.encoder import layer_vectors
from alignmlm.probes.words import word_metrics, word_probe
from alignmlm.reporting.probe_tables import gradient_rows, layer_rows, word_rows
from alignmlm.studies.run_probes import (
    ProbeSizes,
    asked_steps,
    pair_counts,
    probe_run,
)
from alignmlm.studies.run_words import pair_words
from tests.conftest import SMALL
from tests.runs import pretrain

ZERO1 = Path("ds_configs/zero1.json")
PAIR = "qaa-Latn qaa-Latn-x-inv-trans"


def test_the_command_writes_every_probe_of_every_checkpoint(run, tmp_path, capsys):
    path = tmp_path / "probes.json"
    sizes = ["--context-rows", "8", "--sentences", "20"]
    assert probe_command([str(run), "--all", "--output", str(path), *sizes]) == 0
    document = json.loads(path.read_text("utf-8"))
    assert [step["step"] for step in document["steps"]] == [4, 8]
    assert path.with_suffix(".png").stat().st_size > 10_000
    metrics = document["steps"][-1]["pairs"][PAIR]
    kinds = {(row.vectors, row.space) for row in word_rows(metrics)}
    vectors, spaces = zip(*kinds, strict=True)
    assert set(vectors) == {"embeddings", "layer 0", "layer 1", "layer 2"}
    assert set(spaces) == {"as they are", "centred", "rotated"}
    assert [row.layer for row in layer_rows(metrics)] == [0, 1, 2]
    assert metrics["rows/as_is/given/forward/words"] > metrics["contexts/given_pairs"] > 0
    rows = gradient_rows(metrics)
    assert [row.part for row in rows] == ["embeddings", "layer 1", "layer 2", "head"]
    assert all(-1 <= row.languages <= 1 for row in rows)
    assert [row.alignment is None for row in rows] == [False, True, True, True]
    told = capsys.readouterr().out
    assert "held out" in told and "Cosines of gradients" in told


def test_the_number_of_the_paper_is_the_one_that_validation_logged(run, tmp_path):
    path = tmp_path / "probes.json"
    probe_command([str(run), "--output", str(path), "--context-rows", "2", "--sentences", "2"])
    metrics = json.loads(path.read_text("utf-8"))["steps"][0]["pairs"][PAIR]
    summary = json.loads((run / "summary.json").read_text("utf-8"))["alignment_percent"]
    given, held_out = (
        metrics[f"rows/as_is/{part}/forward/cosine_p1_percent"] for part in ("given", "held_out")
    )
    assert (given, held_out) == (summary["in_dictionary"], summary["held_out"])


def test_context_means_are_the_mean_states_of_a_token_in_unmasked_rows(run):
    recipe = load_recipe(run / "recipe.yaml")
    assembly = assemble(recipe)
    model = trained_model(recipe, assembly, load_state(run / "checkpoints" / "step-8")).model
    rows = list(validation_rows(assembly.loader, 0, 3))
    assert all(assembly.store.vocabulary.mask not in row.ids for row in rows)
    means = context_means(model.base_model, iter(rows))
    token = int(means.counts.argmax())
    states = layer_vectors(model.base_model, rows)
    places = [row.ids[start] == token for row in rows for start, _ in row.spans]
    assert means.counts[token] == sum(places)
    expected = states[:, torch.tensor(places)].mean(dim=1)
    assert torch.allclose(means.layers[:, token], expected, atol=1e-5)


def test_a_step_without_a_checkpoint_is_refused_with_those_that_are_there(run, tmp_path):
    with pytest.raises(CheckpointError, match=r"checkpoints \[4, 8\], not 5"):
        asked_steps(run, 5, every=False)
    with pytest.raises(ConfigError, match="be the folder of a run"):
        probe_command([str(tmp_path)])


def test_a_checkpoint_is_not_probed_with_the_words_of_other_data(run, moved_recipe):
    with pytest.raises(CheckpointError, match=r"trained on data \w+, and data\.store now holds"):
        probe_run(moved_recipe, run, [8], ProbeSizes(context_rows=1, sentences=1))


@pytest.fixture
def two_languages(tmp_path):
    """A recipe of English and French, which both have a word "chat": 1 and 2 times a document."""
    texts = {"eng": "We chat and a cat sleeps.", "fra": "Le chat parle au chat et dort."}
    for name, text in texts.items():
        lines = [f"{text[:-1]} {number}.\n\n" for number in range(80)]
        (tmp_path / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "pairs.txt").write_text("chat parle\ncat chat\nsleeps dort\n", encoding="utf-8")
    sources = [
        {"language": f"{name}-Latn", "files": [str(tmp_path / f"{name}.txt")]} for name in texts
    ]
    file = {"path": str(tmp_path / "pairs.txt"), "source": "eng-Latn", "target": "fra-Latn"}
    settings = {
        "data.sources": sources, "data.store": str(tmp_path / "store"), "data.vocabulary_size": 300,
        "dictionary.files": [file], "languages.ids": ["eng-Latn", "fra-Latn"],
    }  # fmt: skip
    given = [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in settings.items()
    ]
    recipe = load_recipe(None, [*SMALL, *given, "--dictionary.fraction=1"])
    build_store(recipe.data)
    return recipe


def test_a_word_that_two_languages_write_alike_has_a_count_in_each(two_languages):
    assembly = assemble(two_languages)
    (pair,) = assembly.pairs
    both = set(pair.used.words())
    (shared,) = {source for source, _ in both} & {target for _, target in both}
    of_source, of_target = pair_counts(two_languages, assembly, pair)
    assert of_target[shared] > of_source[shared] > 0
    words = pair_words(two_languages, assembly, pair, 10)
    assert words.counts[words.asked.sources.index(shared)] == of_source[shared]


def test_frequency_bands_of_each_way_follow_the_counts_of_the_asked_side():
    pairs = from_pairs([((1,), (2,)), ((2,), (1,))])
    table = torch.eye(3)
    counts = ({(1,): 5, (2,): 0}, {(1,): 5, (2,): 7})
    found = word_metrics(table, word_probe(pairs, pairs), None, counts)
    assert (found["forward/unseen/words"], found["backward/unseen/words"]) == (1, 0)


def test_what_a_single_pair_does_not_define_is_left_out(two_languages, tmp_path):
    (tmp_path / "pairs.txt").write_text("cat chat\n", encoding="utf-8")
    pretrain(replace(two_languages, run=RunConfig(dir=str(tmp_path / "run"))), ZERO1)
    sizes = ProbeSizes(context_rows=2, sentences=2)
    document = probe_run(two_languages, tmp_path / "run", [8], sizes)
    (metrics,) = document["steps"][0]["pairs"].values()
    assert "rows/as_is/given/forward/cosine_p1_percent" in metrics
    assert not [name for name, value in metrics.items() if math.isnan(value)]
