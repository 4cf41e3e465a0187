"""One output label for the two words of a given pair; their input embeddings stay separate.

The label of a target word in a given pair is its source word, so the contexts of both words must
predict the same label. Source: Hua et al., 2024 (mOthello, arXiv:2404.12444), section 5: a
unified output space; here for the pairs of a dictionary.
"""

from dataclasses import replace

import torch
from alignmlm_kernels import KernelError, WordPairs
from jaxtyping import Int
from torch import Tensor

from alignmlm.data.batches import Batch
from alignmlm.models.masked_lm import MaskedOutput
from alignmlm.objectives.objective import Loss, Losses, Objective, ObjectiveConfig


def concepts(pairs: WordPairs, vocabulary_size: int) -> Int[Tensor, " vocab"]:
    """The label that stands for each token: a target word's lowest source word, else itself.

    Pairs with a word of several tokens change nothing, and labels are not followed further: the
    source word of one pair is its own label even if it is the target word of another.
    """
    single = (pairs.source_offsets.diff() == 1) & (pairs.target_offsets.diff() == 1)
    sources = pairs.source_ids[pairs.source_offsets[:-1][single]]
    targets = pairs.target_ids[pairs.target_offsets[:-1][single]]
    table = torch.arange(vocabulary_size, device=sources.device)
    return table.scatter_reduce(0, targets, sources, "amin", include_self=False)


def with_unified_labels(prediction: Loss) -> Loss:
    """A prediction loss whose labels are concepts."""

    def loss(
        config: ObjectiveConfig,
        batch: Batch,
        outputs: MaskedOutput,
        pairs: WordPairs | None,
        languages: int,
    ) -> Losses:
        if pairs is None:
            raise KernelError("a unified output needs pairs")
        labels = concepts(pairs, len(outputs.weight))[batch.labels]
        return prediction(config, replace(batch, labels=labels), outputs, pairs, languages)

    return loss


def unified_output(base: Objective) -> Objective:
    """A prediction objective over concepts."""
    return replace(base, loss=with_unified_labels(base.loss), needs_pairs=True)
