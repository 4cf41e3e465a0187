"""Masked language modelling. Source: Devlin et al., 2019 (BERT), section 3.1."""

from alignmlm_kernels import WordPairs

from alignmlm.data.batches import Batch
from alignmlm.data.masking import Corruption
from alignmlm.model import MaskedOutput
from alignmlm.objectives.losses import Losses, prediction_losses
from alignmlm.objectives.objective import Objective, ObjectiveConfig


def mlm(
    config: ObjectiveConfig,
    batch: Batch,
    outputs: MaskedOutput,
    pairs: WordPairs | None,
    languages: int,
) -> Losses:
    """Cross entropy of the masked tokens, whatever the corruption made of the rows."""
    return prediction_losses(batch, outputs, languages)


MLM = Objective(corruption=lambda config: Corruption(), loss=mlm)
