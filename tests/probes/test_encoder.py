import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from alignmlm.errors import CheckpointError, DataError
from alignmlm.probes.encoder import ProbeRow, batches, layer_vectors, load_encoder, sentence_vectors
from alignmlm.probes.encoder import whole as whole_row

SIZES = {
    "vocab_size": 90, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 20, "pad_token_id": 1,
}  # fmt: skip


def roberta(**changed) -> PreTrainedModel:
    torch.manual_seed(0)
    return RobertaForMaskedLM(RobertaConfig(**{**SIZES, **changed}))


def bert() -> PreTrainedModel:
    torch.manual_seed(0)
    return BertModel(BertConfig(**SIZES))


def modernbert() -> PreTrainedModel:
    torch.manual_seed(0)
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 2)
    return ModernBertModel(ModernBertConfig(**SIZES, **special))


def sentences(count: int = 23) -> list[list[int]]:
    draw = np.random.default_rng(0)
    return [draw.integers(5, 90, size=draw.integers(1, 17)).tolist() for _ in range(count)]


@pytest.mark.parametrize("make", [roberta, bert, modernbert])
@pytest.mark.parametrize("batch_tokens", [1, 40, 1000])
def test_sentence_vectors_are_the_means_of_unpadded_runs_in_float64(make, batch_tokens):
    model = make()
    found = sentence_vectors(model, sentences(), batch_tokens)
    exact = model.base_model.double().eval()
    assert found.shape == (3, 23, 16)
    for place, ids in enumerate(sentences()):
        with torch.no_grad():
            layers = exact(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
        alone = torch.stack([states[0].mean(dim=0) for states in layers])
        assert torch.allclose(found[:, place].double(), alone, atol=1e-5)


def test_spans_are_means_of_their_own_tokens():
    model, ids = roberta().eval(), (0, 7, 8, 9, 2)
    found = layer_vectors(model, [ProbeRow(ids, ((1, 3), (3, 4)))])
    with torch.no_grad():
        states = model.base_model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    assert torch.allclose(found[2, 0], states[2][0, 1:3].mean(dim=0), atol=1e-6)
    assert torch.allclose(found[2, 1], states[2][0, 3], atol=1e-6)


def test_rows_with_different_numbers_of_spans_keep_their_order():
    rows = [
        ProbeRow((5, 6), ((0, 1),)),
        ProbeRow((7, 8, 9), ((0, 1), (1, 2), (2, 3))),
        ProbeRow((6, 5), ((1, 2),)),
    ]
    together = layer_vectors(roberta(), rows)
    apart = torch.cat([layer_vectors(roberta(), [row]) for row in rows], dim=1)
    assert together.shape[1] == 5
    assert torch.allclose(together, apart, atol=1e-6)


def test_batches_hold_rows_of_like_length_and_every_row_once():
    rows = [whole_row(ids) for ids in sentences()]
    found = list(batches(rows, 40))
    lengths = [len(rows[number].ids) for part in found for number in part]
    assert sorted(n for part in found for n in part) == list(range(23))
    assert lengths == sorted(lengths, reverse=True)
    assert all(len(part) * len(rows[part[0]].ids) <= 40 for part in found)


def test_a_language_changes_the_vectors_of_a_model_that_has_its_embedding():
    model = roberta(type_vocab_size=2)
    first, second = (layer_vectors(model, [whole_row((5, 6, 7), n)]) for n in (0, 1))
    assert not torch.allclose(first, second, atol=1e-3)


def test_dropout_is_off_during_a_probe_and_as_before_after_it():
    model = roberta().train()
    first, second = (sentence_vectors(model, sentences()) for _ in range(2))
    assert first.equal(second)
    assert model.base_model.training


def test_a_model_in_bfloat16_gives_float32_close_to_it():
    exact = sentence_vectors(roberta(), sentences())
    rough = sentence_vectors(roberta().to(torch.bfloat16), sentences())
    assert rough.dtype == torch.float32
    assert torch.allclose(rough, exact, atol=0.1)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (ProbeRow((), ()), "has 0 tokens"),
        (whole_row(range(5, 24)), "has 19 tokens, the model takes 1 to 18"),
        (whole_row((5, 90)), "outside the model's 90"),
        (ProbeRow((5, 6), ((1, 3),)), "spans"),
        (ProbeRow((5, 6), ((1, 1),)), "spans"),
    ],
)
def test_a_row_that_the_model_cannot_take_is_named(row, told):
    with pytest.raises(DataError, match=told) as error:
        layer_vectors(roberta(), [whole_row((5,)), row])
    assert "row 1 of 2" in str(error.value)


def test_no_rows_have_no_vectors():
    with pytest.raises(DataError, match="no rows"):
        layer_vectors(roberta(), [])


def test_a_folder_without_an_encoder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        load_encoder(tmp_path)


def test_a_masked_language_models_folder_gives_the_same_vectors_as_the_model(tmp_path):
    model = roberta()
    model.save_pretrained(tmp_path)
    loaded = load_encoder(tmp_path)
    assert sentence_vectors(loaded, sentences()).equal(sentence_vectors(model, sentences()))


def test_loading_draws_no_random_numbers_of_the_caller(tmp_path):
    roberta().save_pretrained(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_encoder(tmp_path)
    assert torch.rand(4).equal(expected)
