"""The loss that pulls the embeddings of dictionary pairs together."""

from alignmlm_kernels.alignment.loss import (
    AlignmentLoss,
    AlignmentOptions,
    AlignmentStatistics,
    add_alignment_gradient,
    alignment_loss,
    alignment_statistics,
)
from alignmlm_kernels.alignment.pairs import WordPairs

__all__ = [
    "AlignmentLoss",
    "AlignmentOptions",
    "AlignmentStatistics",
    "WordPairs",
    "add_alignment_gradient",
    "alignment_loss",
    "alignment_statistics",
]
