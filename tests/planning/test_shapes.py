"""Sizes of encoders, against the models themselves."""

import pytest

from alignmlm.models.settings import SIZES
from alignmlm.planning.shapes import SHAPES, EncoderShape, sized


def built(shape: EncoderShape):
    """The same encoder made by transformers, without memory for its numbers."""
    import torch
    from transformers import (
        ModernBertConfig,
        ModernBertForMaskedLM,
        RobertaConfig,
        RobertaForMaskedLM,
    )

    with torch.device("meta"):
        if shape.gated:
            return ModernBertForMaskedLM(
                ModernBertConfig(
                    vocab_size=shape.vocabulary,
                    num_hidden_layers=shape.layers,
                    hidden_size=shape.hidden,
                    num_attention_heads=shape.heads,
                    intermediate_size=shape.feed_forward,
                    pad_token_id=1,
                    attention_bias=True,
                    mlp_bias=True,
                    norm_bias=True,
                    classifier_bias=True,
                )
            )
        return RobertaForMaskedLM(
            RobertaConfig(
                vocab_size=shape.vocabulary,
                num_hidden_layers=shape.layers,
                hidden_size=shape.hidden,
                num_attention_heads=shape.heads,
                intermediate_size=shape.feed_forward,
                max_position_embeddings=shape.positions,
                type_vocab_size=shape.token_types,
            )
        )


MODERN = {f"modernbert {name}": sized(name, 40_000, 512, "modernbert") for name in SIZES}


@pytest.mark.parametrize("name", SHAPES | MODERN)
def test_parameters_are_those_of_the_model(name):
    shape = (SHAPES | MODERN)[name]
    model = built(shape)
    sizes = [parameter.numel() for parameter in model.parameters()]
    assert shape.parameters == sum(sizes)
    assert shape.embedding_parameters == max(sizes)
    for threshold in (2_000, 100_000, 300_000):
        small = sum(size for size in sizes if size <= threshold)
        assert shape.whole_parameters(threshold) == small


def test_the_largest_xlm_r_has_the_size_that_its_authors_publish():
    assert 540e6 < SHAPES["xlm-r-large"].parameters < 570e6


def test_operations_of_the_paper_model_are_those_that_a_step_was_measured_against():
    step = 4 * 512 * SHAPES["paper"].training_flops(512, 0.15)
    assert step == pytest.approx(0.44e12, rel=0.02)


def test_a_larger_masked_share_costs_more_operations():
    shape = SHAPES["paper"]
    assert shape.training_flops(512, 1.0) > 2 * shape.training_flops(512, 0.0)
