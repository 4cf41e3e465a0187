"""Attention by matrix products, which is the fastest in bf16 on CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

PRODUCTS = "alignmlm_products"  # its name among transformers' attentions


def product_attention(
    module: torch.nn.Module,
    query: Float[Tensor, "row head token width"],
    key: Float[Tensor, "row head token width"],
    value: Float[Tensor, "row head token width"],
    attention_mask: Tensor | None,  # True where a token is attended to; None: everywhere
    dropout: float = 0.0,
    scaling: float = 1.0,
    **_: Any,
) -> tuple[Float[Tensor, "row token head width"], None]:
    """Attention with its weights in memory, in the precision of the queries.

    torch's softmax sums in fp32 whatever its input is.
    """
    scores = torch.matmul(query * scaling, key.mT)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = torch.nn.functional.dropout(scores.softmax(-1), dropout, module.training)
    return torch.matmul(weights, value).transpose(1, 2), None


AttentionInterface.register(PRODUCTS, product_attention)
AttentionMaskInterface.register(PRODUCTS, sdpa_mask)


def use_fastest_attention(model: Any, precision: str) -> None:
    """Let a model of transformers attend by matrix products in bf16 on CPU, if its classes can.

    torch's fused attention takes several times as long there (docs/performance.md); elsewhere it
    is the fastest, and what transformers takes by itself.
    """
    bf16_on_cpu = precision == "bf16" and not torch.cuda.is_available()
    if bf16_on_cpu and model._supports_attention_backend:
        model.set_attn_implementation(PRODUCTS)


@contextmanager
def fastest_attention(model: Any, precision: str) -> Iterator[None]:
    """A context in which a model of transformers uses the attention that trains fastest."""
    before = model.config._attn_implementation
    use_fastest_attention(model, precision)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
