"""The two losses of cross-lingual masked-LM training, as plain functions on tensors."""

from alignmlm_kernels.alignment import (
    AlignmentLoss,
    AlignmentOptions,
    AlignmentStatistics,
    WordPairs,
    add_alignment_gradient,
    alignment_loss,
    alignment_statistics,
)
from alignmlm_kernels.errors import KernelError
from alignmlm_kernels.masked_softmax import (
    MaskedSoftmaxLoss,
    PositionLoss,
    masked_softmax_loss,
    peak_bytes,
    vocabulary_parallel_loss,
)

__all__ = [
    "AlignmentLoss",
    "AlignmentOptions",
    "AlignmentStatistics",
    "KernelError",
    "MaskedSoftmaxLoss",
    "PositionLoss",
    "WordPairs",
    "add_alignment_gradient",
    "alignment_loss",
    "alignment_statistics",
    "masked_softmax_loss",
    "peak_bytes",
    "vocabulary_parallel_loss",
]
