"""ALIGN-MLM: any prediction objective, plus a loss that pulls dictionary pairs together.

Source: Tang et al., 2022 (arXiv:2211.08547), section 3; alpha = 10.
"""

from dataclasses import replace

from alignmlm_kernels import KernelError, WordPairs, alignment_loss

from alignmlm.data.batches import Batch
from alignmlm.models.masked_lm import MaskedOutput
from alignmlm.objectives.objective import AddedLoss, Loss, Losses, Objective, ObjectiveConfig
from alignmlm.objectives.settings import DISTANCES

ALIGNMENT = "alignment"  # the term's name among the auxiliary losses


def with_alignment(prediction: Loss) -> Loss:
    """A prediction loss plus alpha, which may change over the steps, times the mean distance."""

    def loss(
        config: ObjectiveConfig,
        batch: Batch,
        outputs: MaskedOutput,
        pairs: WordPairs | None,
        languages: int,
    ) -> Losses:
        if pairs is None:
            raise KernelError("align_mlm needs pairs")
        losses = prediction(config, batch, outputs, pairs, languages)
        distance = alignment_loss(
            outputs.weight,
            pairs,
            DISTANCES[config.distance].between,
            share=config.share,
            step=batch.step,
            margin=config.margin,
            temperature=config.temperature,
        )
        term = config.alpha_at(batch.step) * distance
        return losses._replace(auxiliary={**losses.auxiliary, ALIGNMENT: term})

    return loss


def align_mlm(base: Objective) -> Objective:
    """ALIGN-MLM over a prediction objective."""
    return replace(base, loss=with_alignment(base.loss), needs_pairs=True)


ALIGN_MLM = AddedLoss(align_mlm)
