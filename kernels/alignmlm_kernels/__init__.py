"""The two losses of cross-lingual masked-LM training, as plain functions on tensors."""

from alignmlm_kernels.alignment import WordPairs, alignment_loss
from alignmlm_kernels.errors import KernelError
from alignmlm_kernels.masked_softmax import (
    MaskedSoftmaxLoss,
    PositionLoss,
    masked_softmax_loss,
    vocabulary_parallel_loss,
)

__all__ = [
    "KernelError",
    "MaskedSoftmaxLoss",
    "PositionLoss",
    "WordPairs",
    "alignment_loss",
    "masked_softmax_loss",
    "vocabulary_parallel_loss",
]
