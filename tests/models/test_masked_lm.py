import json

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, BertConfig, ModernBertConfig, RobertaConfig

from alignmlm.data.batches import batch_samples, make_batch
from alignmlm.data.store import TRAIN
from alignmlm.errors import ConfigError
from alignmlm.models.masked_lm import (
    SIZES,
    MaskedLanguageModel,
    ModelConfig,
    layer_kinds,
    new_model,
)
from alignmlm.pretraining.assembly import assemble, make_model
from alignmlm.probes.encoder import layer_vectors, load_encoder, whole

HUB_COMMIT = "a" * 40
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 800,
    "pad_token_id": 1,
    "max_position_embeddings": 40,
}
ARCHITECTURES = {
    "roberta": RobertaConfig(**SHAPE),
    "bert": BertConfig(**SHAPE),
    "modernbert": ModernBertConfig(**SHAPE),
}


@pytest.fixture
def batch(small_recipe):
    loader = assemble(small_recipe()).loader
    return make_batch(loader, batch_samples(loader, 0, 8, 0, 1, 8)[0], TRAIN)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_computing_masked_positions_only_changes_no_logit_and_no_gradient(name, batch):
    torch.manual_seed(0)
    whole = AutoModelForMaskedLM.from_config(ARCHITECTURES[name]).eval()
    output = MaskedLanguageModel(whole)(batch)
    ours = torch.nn.functional.linear(output.hidden, output.weight, output.bias)
    ours.logsumexp(1).sum().backward()
    found = {key: parameter.grad for key, parameter in whole.named_parameters()}
    whole.zero_grad()
    every = whole(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    assert every.shape[:2] == batch.input_ids.shape  # and the model is as it was
    expected = every.flatten(0, 1)[batch.masked]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    expected.logsumexp(1).sum().backward()
    for key, parameter in whole.named_parameters():
        torch.testing.assert_close(found[key], parameter.grad, atol=1e-4, rtol=1e-3, msg=key)


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(small_recipe):
    assembly = assemble(small_recipe())
    first, again = (make_model(small_recipe(), assembly).embedding for _ in range(2))
    other = make_model(small_recipe("--model.seed=1"), assembly).embedding
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_language_embeddings_are_there_where_the_objective_wants_them(small_recipe):
    types = {}
    for name in ("mlm", "tlm", "dict_mlm", "align_mlm"):
        recipe = small_recipe("--model.architecture=roberta", f"--objective.name={name}")
        types[name] = make_model(recipe, assemble(recipe)).model.config.type_vocab_size
    assert types == {"mlm": 1, "tlm": 2, "dict_mlm": 2, "align_mlm": 1}


MODERN = "--model.architecture=modernbert"


def test_modernbert_has_gated_layers_and_no_positions_to_learn(small_recipe):
    recipe = small_recipe(MODERN)
    model = make_model(recipe, assemble(recipe)).model
    assert not any("position" in name for name, _ in model.named_parameters())
    assert model.model.layers[0].mlp.Wo.weight.shape == (128, 352)


def test_the_last_layer_and_every_third_before_it_are_global():
    assert [kind[0] for kind in layer_kinds(8, 8)] == list("sfssfssf")
    assert layer_kinds(2, 8) == ["sliding_attention", "full_attention"]
    assert set(layer_kinds(8, 0)) == {"full_attention"}


@pytest.mark.parametrize(("window", "reach"), [(8, 4), (0, 31)])
def test_a_local_layer_sees_its_window_and_no_further(small_recipe, window, reach):
    recipe = small_recipe(MODERN, f"--model.local_attention={window}")
    model = make_model(recipe, assemble(recipe)).model.eval()
    ids = torch.arange(10, 42)[None]
    changed = ids.clone()
    changed[0, 0] = 50
    with torch.no_grad():
        first, second = (
            model.model(x, output_hidden_states=True).hidden_states[1] for x in (ids, changed)
        )
    differs = (first != second).any(-1)[0].nonzero().flatten()
    assert differs.tolist() == list(range(reach + 1))


@pytest.mark.parametrize("window", [-2, 7])
def test_a_window_is_even(window):
    with pytest.raises(ConfigError, match="local_attention"):
        ModelConfig(local_attention=window)


def told_languages(folder, ids, language):
    return layer_vectors(load_encoder(folder), [whole(ids, language)])


def test_language_embeddings_of_modernbert_are_saved_and_come_back(small_recipe, tmp_path):
    recipe = small_recipe(MODERN, "--objective.name=tlm")
    trained = make_model(recipe, assemble(recipe))
    trained.model.save_pretrained(tmp_path)
    ids = (0, 7, 9, 11, 2)
    again = told_languages(tmp_path, ids, 1)
    assert torch.equal(again, layer_vectors(trained.model, [whole(ids, 1)]))
    assert not torch.allclose(again, told_languages(tmp_path, ids, 0), atol=1e-2)


def test_without_our_code_modernbert_is_that_of_its_first_language(small_recipe, tmp_path, batch):
    recipe = small_recipe(MODERN, "--objective.name=tlm")
    trained = make_model(recipe, assemble(recipe)).eval()
    trained.model.save_pretrained(tmp_path)
    plain = AutoModelForMaskedLM.from_pretrained(tmp_path)
    ids = torch.tensor([[0, 7, 9, 11, 2]])
    first = trained.model(input_ids=ids, token_type_ids=torch.zeros_like(ids)).logits
    assert torch.equal(plain(input_ids=ids).logits, first)


@pytest.mark.parametrize("known", [0, 2, 3])
def test_a_modernbert_goes_on_with_the_language_embeddings_that_it_has(
    small_recipe, tmp_path, known
):
    vocabulary = assemble(small_recipe()).store.vocabulary
    old = new_model(ModelConfig(architecture="modernbert"), vocabulary, 400, 32, known or 1).model
    old.save_pretrained(tmp_path)
    new = new_model(ModelConfig(start=str(tmp_path)), vocabulary, 800, 32, 2).model
    table = new.model.embeddings.language_embeddings.weight
    assert table.shape == (known or 2, 128)
    assert not table[0].any()
    if known:
        assert torch.equal(table, old.model.embeddings.language_embeddings.weight)


def test_language_embeddings_come_back_from_a_model_of_the_hub(small_recipe, tmp_path, monkeypatch):
    vocabulary = assemble(small_recipe()).store.vocabulary
    old = new_model(ModelConfig(architecture="modernbert"), vocabulary, 400, 32, 2).model
    cached = tmp_path / "models--org--name"  # as huggingface_hub keeps what it has downloaded
    old.save_pretrained(cached / "snapshots" / HUB_COMMIT)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(HUB_COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    new = new_model(ModelConfig(start="org/name"), vocabulary, 800, 32, 2).model
    expected = old.model.embeddings.language_embeddings.weight
    assert torch.equal(new.model.embeddings.language_embeddings.weight, expected)


def test_a_modernbert_with_embeddings_of_too_few_languages_is_refused(small_recipe, tmp_path):
    vocabulary = assemble(small_recipe()).store.vocabulary
    old = new_model(ModelConfig(architecture="modernbert"), vocabulary, 400, 32, 2).model
    old.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="have those of the recipe's 3"):
        new_model(ModelConfig(start=str(tmp_path)), vocabulary, 800, 32, 3)


def test_the_paper_size_is_that_of_the_paper():
    assert SIZES["paper"] == (8, 512, 8, 2048)


def test_a_checkpoint_goes_on_with_its_weights_in_a_larger_vocabulary(small_recipe, tmp_path):
    vocabulary = assemble(small_recipe()).store.vocabulary
    config = RobertaConfig(**{**SHAPE, "vocab_size": 400})
    old = AutoModelForMaskedLM.from_config(config)
    old.save_pretrained(tmp_path / "old")
    settings = ModelConfig(start=str(tmp_path / "old"))
    grown = new_model(settings, vocabulary, 800, 32, 2)
    assert grown.embedding.shape == (800, 16)
    assert torch.equal(grown.embedding[:400], old.get_input_embeddings().weight)
    assert grown.model.config.type_vocab_size == 2
    assert grown.parts.decoder(grown.model).weight is grown.embedding


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_start_whose_output_is_not_tied_to_its_input_is_refused(small_recipe, tmp_path, name):
    vocabulary = assemble(small_recipe()).store.vocabulary
    config = type(ARCHITECTURES[name])(**SHAPE, tie_word_embeddings=False)
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"model\.start.*tie_word_embeddings"):
        new_model(ModelConfig(start=str(tmp_path)), vocabulary, 800, 32, 1)


def test_a_checkpoint_that_is_too_short_is_refused_with_its_length(small_recipe, tmp_path):
    vocabulary = assemble(small_recipe()).store.vocabulary
    config = RobertaConfig(**{**SHAPE, "max_position_embeddings": 18})
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path / "short")
    with pytest.raises(ConfigError, match=r"train\.seq_len = 32, but it must be at most 16"):
        new_model(ModelConfig(start=str(tmp_path / "short")), vocabulary, 800, 32, 1)


def test_a_start_without_a_padding_token_is_refused(small_recipe, tmp_path):
    vocabulary = assemble(small_recipe()).store.vocabulary
    AutoModelForMaskedLM.from_config(RobertaConfig(**SHAPE)).save_pretrained(tmp_path)
    shape = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(shape | {"pad_token_id": None}))
    with pytest.raises(ConfigError, match=r"pad_token_id = null.* have the id of its padding"):
        new_model(ModelConfig(start=str(tmp_path)), vocabulary, 800, 32, 1)


def test_a_start_that_is_no_checkpoint_is_named(small_recipe, tmp_path):
    vocabulary = assemble(small_recipe()).store.vocabulary
    with pytest.raises(ConfigError, match=r"model\.start"):
        new_model(ModelConfig(start=str(tmp_path / "none")), vocabulary, 800, 32, 1)


def test_a_start_of_an_unknown_architecture_lists_the_known_ones(small_recipe, tmp_path):
    vocabulary = assemble(small_recipe()).store.vocabulary
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ConfigError, match=r"gpt2.*bert.*roberta"):
        new_model(ModelConfig(start=str(tmp_path)), vocabulary, 800, 32, 1)


def edited_start(folder, keep, **config) -> ModelConfig:
    """A start whose weights are those that `keep` names anew, None for none, and its settings."""
    AutoModelForMaskedLM.from_config(ARCHITECTURES["roberta"]).save_pretrained(folder)
    weights, settings = folder / "model.safetensors", folder / "config.json"
    kept = {new: value for old, value in load_file(weights).items() if (new := keep(old))}
    save_file(kept, weights, metadata={"format": "pt"})
    settings.write_text(json.dumps(json.loads(settings.read_text("utf-8")) | config), "utf-8")
    return ModelConfig(start=str(folder))


@pytest.mark.parametrize(
    "keep",
    [lambda name: f"foreign.{name}", lambda name: "" if "attention" in name else name],
    ids=["foreign", "missing"],
)
def test_a_start_without_weights_of_its_encoder_is_refused_with_their_names(
    small_recipe, tmp_path, keep
):
    vocabulary, start = assemble(small_recipe()).store.vocabulary, edited_start(tmp_path, keep)
    lacks = r"model\.start.*have all weights of its encoder; it lacks \['roberta\..*and \d+ more"
    with pytest.raises(ConfigError, match=lacks):
        new_model(start, vocabulary, 800, 32, 1)


def test_a_start_without_a_head_gets_a_new_one(small_recipe, tmp_path):
    vocabulary = assemble(small_recipe()).store.vocabulary
    start = edited_start(tmp_path, lambda name: "" if name.startswith("lm_head") else name)
    grown = new_model(start, vocabulary, 800, 32, 1)
    assert torch.equal(
        grown.embedding,
        load_file(tmp_path / "model.safetensors")["roberta.embeddings.word_embeddings.weight"],
    )


@pytest.mark.parametrize(
    "config",
    [{"hidden_size": "x"}, {"hidden_size": 32}, {"hidden_act": "x"}, {"num_attention_heads": 0}],
    ids=str,
)
def test_a_start_with_settings_that_no_model_has_is_refused(small_recipe, tmp_path, config):
    vocabulary = assemble(small_recipe()).store.vocabulary
    with pytest.raises(ConfigError, match=r"model\.start"):
        new_model(edited_start(tmp_path, str, **config), vocabulary, 800, 32, 1)
