"""The specification of the masked softmax loss, in plain PyTorch."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from jaxtyping import Bool, Float, Int
from torch import Tensor


class PositionLoss(NamedTuple):
    """What each masked position contributes."""

    nats: Float[Tensor, " masked"]
    correct: Bool[Tensor, " masked"]  # the label has the highest logit


def reference_loss(
    hidden: Float[Tensor, "masked hidden"],
    weight: Float[Tensor, "vocab hidden"],
    labels: Int[Tensor, " masked"],
    bias: Float[Tensor, " vocab"] | None = None,
) -> PositionLoss:
    """Cross entropy of the full logits; memory grows with masked times vocab."""
    logits = F.linear(hidden, weight, bias)
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    with torch.no_grad():
        correct = exact.argmax(dim=1) == labels if len(labels) else labels.bool()
    return PositionLoss(F.cross_entropy(exact, labels, reduction="none"), correct)
