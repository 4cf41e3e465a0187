"""Masked language modelling. Source: Devlin et al., 2019 (BERT), section 3.1."""

import torch
from alignmlm_kernels import WordPairs, masked_softmax_loss

from alignmlm.data.batches import Batch
from alignmlm.data.masking import Corruption, LossTerm
from alignmlm.models.masked_lm import MaskedOutput
from alignmlm.objectives.objective import Losses, Objective, ObjectiveConfig


def mlm(
    config: ObjectiveConfig,
    batch: Batch,
    outputs: MaskedOutput,
    pairs: WordPairs | None,
    languages: int,
) -> Losses:
    """Cross entropy at the masked positions, however the rows were corrupted."""
    result = masked_softmax_loss(outputs.hidden, outputs.weight, batch.labels, outputs.bias)
    cell = batch.terms * languages + batch.languages
    parts = torch.stack(
        [result.nats.detach(), result.correct.to(result.nats), torch.ones_like(result.nats)]
    ).double()
    sums = torch.zeros(3, len(LossTerm) * languages, dtype=torch.float64, device=parts.device)
    sums.index_add_(1, cell, parts)
    nats, correct, positions = sums.view(3, len(LossTerm), languages)
    return Losses(result.nats.sum(), {}, nats, correct, positions)


MLM = Objective(corruption=lambda config: Corruption(), loss=mlm)
