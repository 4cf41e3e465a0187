import pytest
import torch
from transformers import MPNetConfig, MPNetForTokenClassification, RobertaConfig, RobertaModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from alignmlm.models.attention import PRODUCTS, fastest_attention, product_attention

SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="of CPUs alone")


@pytest.mark.parametrize("padded", [False, True])
def test_products_give_what_torchs_attention_gives_and_its_gradients(padded):
    torch.manual_seed(0)
    mask = torch.ones(3, 1, 6, 6, dtype=torch.bool)
    mask[1, :, :, 4:] = False
    found = []
    for attention in (product_attention, sdpa_attention_forward):
        torch.manual_seed(1)
        tensors = [torch.randn(3, 2, 6, 8, requires_grad=True) for _ in range(3)]
        module, given = torch.nn.Module(), mask if padded else None
        output, _ = attention(module, *tensors, given, scaling=0.3, is_causal=False)
        (output**2).sum().backward()
        found.append([output, *(tensor.grad for tensor in tensors)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@on_a_cpu
def test_a_model_attends_by_products_in_bf16_within_the_context_alone():
    model = RobertaModel(RobertaConfig(**SHAPE, intermediate_size=16))
    before = model.config._attn_implementation
    with fastest_attention(model, "bf16"):
        assert model.config._attn_implementation == PRODUCTS
    assert model.config._attn_implementation == before
    with fastest_attention(model, "fp32"):
        assert model.config._attn_implementation == before


@on_a_cpu
def test_a_model_with_an_attention_of_its_own_keeps_it():
    model = MPNetForTokenClassification(MPNetConfig(**SHAPE, intermediate_size=16))
    with fastest_attention(model, "bf16"):
        ids = torch.randint(3, 50, (2, 5))
        assert model(input_ids=ids).logits.shape == (2, 5, 2)
        assert model.config._attn_implementation == "eager"
