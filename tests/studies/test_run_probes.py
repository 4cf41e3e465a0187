import json

import pytest
import torch

from alignmlm.commands.probe import probe_command
from alignmlm.config import load_recipe
from alignmlm.errors import CheckpointError, ConfigError
from alignmlm.pretraining.assembly import assemble
from alignmlm.pretraining.checkpoints import load_state
from alignmlm.pretraining.export import trained_model
from alignmlm.probes.contexts import context_means, validation_rows
from alignmlm.probes.encoder import layer_vectors
from alignmlm.reporting.probe_tables import layer_rows, word_rows
from alignmlm.studies.run_probes import ProbeSizes, asked_steps, probe_run

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
    assert "held out" in capsys.readouterr().out


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
