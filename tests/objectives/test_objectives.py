import json
from dataclasses import replace

import pytest
import torch
from alignmlm_kernels import KernelError, alignment_loss, masked_softmax_loss

from alignmlm.data.batches import batch_samples, make_batch
from alignmlm.data.masking import LossTerm
from alignmlm.data.store import TRAIN
from alignmlm.errors import ConfigError
from alignmlm.languages.dictionary import from_pairs
from alignmlm.objectives.objective import ObjectiveConfig
from alignmlm.objectives.registry import objective_of
from alignmlm.objectives.unified_output import concepts
from alignmlm.pretraining.assembly import assemble, make_model
from alignmlm.probes.words import word_pairs


def losses(recipe):
    assembly = assemble(recipe)
    model, loader = make_model(recipe, assembly).eval(), assembly.loader
    batch = make_batch(loader, batch_samples(loader, 0, 8, 0, 1, 8)[0], TRAIN)
    with torch.no_grad():
        outputs, pairs = model(batch), assembly.training_pairs(recipe, from_pairs([]))
        objective = objective_of(recipe.objective)
        return objective.loss(recipe.objective, batch, outputs, pairs, 2), batch, outputs, pairs


def test_mlm_is_the_sum_over_all_masked_positions(small_recipe):
    found, batch, outputs, _ = losses(small_recipe("--objective.name=mlm"))
    whole = masked_softmax_loss(outputs.hidden, outputs.weight, batch.labels, outputs.bias).nats
    assert found.prediction_nats == pytest.approx(whole.sum().item())
    assert found.auxiliary == {}


def test_parts_by_term_and_language_add_up_to_the_whole(small_recipe):
    overrides = ["--objective.name=tlm", "--train.seq_len=64"]
    found, batch, _, _ = losses(small_recipe("--objective.translation_rows=0.5", *overrides))
    assert found.nats.sum() == pytest.approx(found.prediction_nats.item(), rel=1e-6)
    assert found.positions.sum() == len(batch.labels)
    assert (found.positions[[LossTerm.MLM, LossTerm.TLM]] > 0).all()
    assert found.positions[LossTerm.DICT].sum() == 0


def test_dictionary_positions_are_a_term_of_their_own(small_recipe):
    found, batch, _, _ = losses(small_recipe("--objective.name=dict_mlm"))
    crossed = (batch.terms == LossTerm.DICT).sum()
    assert found.positions[LossTerm.DICT].sum() == crossed > 0


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_align_mlm_adds_alpha_times_the_distance_of_the_pairs(small_recipe, distance):
    overrides = ["--objective.alpha=3", f"--objective.distance={distance}"]
    found, _, outputs, pairs = losses(small_recipe(*overrides))
    expected = 3 * alignment_loss(outputs.weight, pairs, distance=distance)
    assert found.auxiliary["alignment"] == pytest.approx(expected.item())


def test_alpha_changes_at_its_steps(small_recipe):
    changes = '--objective.alpha_changes=[{"step": 2, "alpha": 0}, {"step": 5, "alpha": 20}]'
    recipe = small_recipe(changes)
    _, batch, outputs, pairs = losses(recipe)
    objective, whole = objective_of(recipe.objective), alignment_loss(outputs.weight, pairs)
    for step, alpha in ((0, 10), (1, 10), (2, 0), (4, 0), (5, 20), (10**6, 20)):
        here = replace(batch, step=step)
        found = objective.loss(recipe.objective, here, outputs, pairs, 2).auxiliary["alignment"]
        assert found.item() == pytest.approx(alpha * whole.item())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([{"step": 3, "alpha": 1}, {"step": 3, "alpha": 2}], "name each step once, in order"),
        ([{"step": 0, "alpha": 1}], "alpha_changes.step = 0, but it must be at least 1"),
        ([{"step": 1, "alpha": -1}], "alpha_changes.alpha = -1.0, but it must be 0 or more"),
    ],
)
def test_wrong_changes_of_alpha_are_named(small_recipe, changes, told):
    with pytest.raises(ConfigError, match=told):
        small_recipe(f"--objective.alpha_changes={json.dumps(changes)}")


def test_align_mlm_predicts_what_its_base_predicts(small_recipe):
    aligned, *_ = losses(small_recipe("--objective.base=tlm"))
    base, *_ = losses(small_recipe("--objective.name=tlm"))
    assert aligned.prediction_nats == base.prediction_nats


def test_align_mlm_without_pairs_is_an_error(small_recipe):
    _, batch, outputs, _ = losses(small_recipe())
    config = ObjectiveConfig()
    with pytest.raises(KernelError, match="needs pairs"):
        objective_of(config).loss(config, batch, outputs, None, 2)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("alpha", -1.0), ("translation_rows", 1.5), ("dictionary", -0.1), ("code_switch", 2.0)],
)
def test_a_setting_outside_its_range_is_named(setting, value):
    with pytest.raises(ConfigError, match=f"objective.{setting}"):
        ObjectiveConfig(**{setting: value})


@pytest.mark.parametrize("distance", ["cosine", "l2", "margin", "infonce"])
def test_a_share_of_the_pairs_is_drawn_anew_at_each_step(small_recipe, distance):
    recipe = small_recipe(f"--objective.distance={distance}", "--objective.share=0.3")
    _, batch, outputs, pairs = losses(recipe)
    objective = objective_of(recipe.objective)
    found = [
        objective.loss(recipe.objective, replace(batch, step=step), outputs, pairs, 2).auxiliary[
            "alignment"
        ]
        for step in (0, 1, 0)
    ]
    assert found[0] != found[1]
    assert found[0] == found[2]


@pytest.mark.parametrize("setting", ["share=0", "margin=-1", "temperature=0"])
def test_alignment_settings_out_of_range_are_errors(small_recipe, setting):
    with pytest.raises(ConfigError, match=setting.split("=")[0]):
        small_recipe(f"--objective.{setting}")


def test_a_unified_output_predicts_the_source_word_of_given_target_words(small_recipe):
    unified = ["--objective.name=mlm", "--objective.output=unified"]
    found, batch, outputs, pairs = losses(small_recipe(*unified))
    source_of = {int(t): int(s) for s, t in zip(pairs.source_ids, pairs.target_ids, strict=True)}
    labels = torch.tensor([source_of.get(label, label) for label in batch.labels.tolist()])
    assert not torch.equal(labels, batch.labels)
    whole = masked_softmax_loss(outputs.hidden, outputs.weight, labels, outputs.bias).nats
    assert found.prediction_nats == pytest.approx(whole.sum().item())
    assert found.auxiliary == {}


def test_a_unified_output_and_the_alignment_term_go_together(small_recipe):
    both, _, outputs, pairs = losses(small_recipe("--objective.output=unified"))
    alone, *_ = losses(small_recipe("--objective.name=mlm", "--objective.output=unified"))
    assert both.prediction_nats == alone.prediction_nats
    expected = 10 * alignment_loss(outputs.weight, pairs)
    assert both.auxiliary["alignment"] == pytest.approx(expected.item())


def test_concepts_take_the_lowest_source_and_leave_words_of_several_tokens():
    pairs = from_pairs([((1,), (7,)), ((2,), (7,)), ((3,), (8, 9)), ((4, 5), (6,)), ((7,), (5,))])
    table = concepts(word_pairs(pairs), 10)
    assert table.tolist() == [0, 1, 2, 3, 4, 7, 6, 1, 8, 9]


def test_a_unified_output_is_refused_where_languages_share_the_tokens(small_recipe, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("the every\nevery the\n", encoding="utf-8")
    file = f'[{{"path": "{words}", "source": "qaa-Latn", "target": "qaa-Latn-x-inv"}}]'
    languages = "--languages.ids=[qaa-Latn, qaa-Latn-x-inv]"
    recipe = small_recipe("--objective.output=unified", languages, f"--dictionary.files={file}")
    with pytest.raises(ConfigError, match=r"objective\.output"):
        assemble(recipe)
