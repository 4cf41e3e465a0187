"""ALIGN-MLM: any prediction objective, plus a loss that pulls dictionary pairs together.

Source: Tang et al., 2022 (arXiv:2211.08547), section 3; alpha = 10.
"""

from dataclasses import replace

from alignmlm_kernels import KernelError, WordPairs, alignment_loss

from alignmlm.data.batches import Batch
from alignmlm.model import MaskedOutput
from alignmlm.objectives.dict_mlm import DICT_MLM
from alignmlm.objectives.mlm import MLM
from alignmlm.objectives.objective import Losses, Objective, ObjectiveConfig
from alignmlm.objectives.tlm import TLM

PREDICTION = {"mlm": MLM, "tlm": TLM, "dict_mlm": DICT_MLM}


def align_mlm(
    config: ObjectiveConfig,
    batch: Batch,
    outputs: MaskedOutput,
    pairs: WordPairs | None,
    languages: int,
) -> Losses:
    """The base objective's losses, and alpha times the mean distance of the pairs."""
    if pairs is None:
        raise KernelError("align_mlm needs pairs")
    losses = PREDICTION[config.base].loss(config, batch, outputs, pairs, languages)
    distance = alignment_loss(
        outputs.weight,
        pairs,
        config.distance,
        share=config.share,
        step=batch.step,
        margin=config.margin,
        temperature=config.temperature,
    )
    return losses._replace(alignment=config.alpha * distance)


def objective_of(config: ObjectiveConfig) -> Objective:
    """The objective of a recipe."""
    base = PREDICTION[config.rows]
    return replace(base, loss=align_mlm) if config.name == "align_mlm" else base
