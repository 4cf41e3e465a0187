"""The specification of the masked softmax loss, in plain PyTorch."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from jaxtyping import Bool, Float, Int
from torch import Tensor


class PositionLoss(NamedTuple):
    """What each masked position contributes; with a reduction, nats is their sum or mean."""

    nats: Float[Tensor, " *masked"]
    correct: Bool[Tensor, " masked"]  # the label has the highest logit, and is the first to have it
    log_sum_exp: Float[Tensor, " masked"]  # of the logits, in nats, without gradient


class Options(NamedTuple):
    """How the loss of a position differs from its plain cross entropy."""

    ignore_index: int = -100  # a position with this label adds nothing
    label_smoothing: float = 0.0  # share of the target spread over the whole vocabulary
    z_loss: float = 0.0  # weight of the squared log of the softmax's denominator


def reference_loss(
    hidden: Float[Tensor, "masked hidden"],
    weight: Float[Tensor, "vocab hidden"],
    labels: Int[Tensor, " masked"],
    bias: Float[Tensor, " vocab"] | None,
    options: Options,
) -> PositionLoss:
    """Losses from the full logits, differentiated by autograd; memory grows with masked x vocab."""
    logits = F.linear(hidden, weight, bias)
    exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
    known = labels != options.ignore_index
    smoothing = options.label_smoothing
    ignored = options.ignore_index
    nats = F.cross_entropy(exact, labels, None, None, ignored, None, "none", smoothing)
    log_sum_exp = exact.logsumexp(dim=1)
    nats = nats + options.z_loss * torch.where(known, log_sum_exp, 0).square()
    with torch.no_grad():
        correct = exact.argmax(dim=1) == labels if len(labels) else known
    return PositionLoss(nats, correct, log_sum_exp.detach())
