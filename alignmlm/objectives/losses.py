"""What an objective returns, and the one prediction loss that all of them share."""

from typing import NamedTuple

import torch
from alignmlm_kernels import masked_softmax_loss
from jaxtyping import Float
from torch import Tensor

from alignmlm.data.batches import Batch
from alignmlm.data.masking import Term
from alignmlm.model import MaskedOutput


class Losses(NamedTuple):
    """Sums over the masked positions of one micro-batch; the engine divides them.

    A named tuple, because the hooks of ZeRO-3 look into tuples and not into dataclasses.
    """

    prediction_nats: Float[Tensor, ""]  # sum, to be divided by the step's masked positions
    alignment: Float[Tensor, ""] | None  # alpha times the mean distance of dictionary pairs
    nats: Float[Tensor, "term language"]  # prediction_nats in parts, without gradient
    correct: Float[Tensor, "term language"]
    positions: Float[Tensor, "term language"]


def prediction_losses(batch: Batch, outputs: MaskedOutput, languages: int) -> Losses:
    """Cross entropy at the masked positions, by term and language."""
    result = masked_softmax_loss(outputs.hidden, outputs.weight, batch.labels, outputs.bias)
    cell = batch.terms * languages + batch.languages
    parts = torch.stack(
        [result.nats.detach(), result.correct.to(result.nats), torch.ones_like(result.nats)]
    ).double()
    sums = torch.zeros(3, len(Term) * languages, dtype=torch.float64, device=parts.device)
    sums.index_add_(1, cell, parts)
    nats, correct, positions = sums.view(3, len(Term), languages)
    return Losses(result.nats.sum(), None, nats, correct, positions)
