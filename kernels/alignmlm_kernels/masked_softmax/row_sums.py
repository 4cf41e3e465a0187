"""The per-row statistics of the logits from which the softmax follows."""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor


class RowSums(NamedTuple):
    """What one sweep over the logits of some rows finds; at least float32."""

    reference: Float[Tensor, " masked"]  # what is subtracted from the logits before the exponential
    sums: Float[Tensor, " masked"]  # of exp(logit - reference), the label's included
    label_logit: Float[Tensor, " masked"]  # 0 where the label is -1
    largest: Float[Tensor, " masked"]  # logit
    leads: Bool[Tensor, " masked"]  # the label is the first column with the largest logit

    def log_sum_exp(self) -> Float[Tensor, " masked"]:
        """Log of the softmax's denominator, in nats."""
        return self.reference + self.sums.log()
