"""The masked softmax and its gradients in float64, written out by hand."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody uses
from cases import IGNORED, Case
from torch import Tensor

CHUNK_BYTES = 2**28


class Exact(NamedTuple):
    """What float64 arithmetic gives: the part of every position, and gradients of the loss."""

    nats: Tensor
    gradients: list[Tensor]  # in the order of the case's leaves


@torch.no_grad()
def exact_of(case: Case) -> Exact:
    """The loss and its gradients in float64, a chunk of positions after the other."""
    weight = case.weight.double()
    bias = None if case.bias is None else case.bias.double()
    labelled = int((case.labels != IGNORED).sum())
    rows = max(1, CHUNK_BYTES // (8 * len(weight)))
    nats, hidden_grad = [], []
    weight_grad = torch.zeros_like(weight)
    bias_grad = torch.zeros_like(weight[:, 0])
    for hidden, labels in zip(case.hidden.split(rows), case.labels.split(rows), strict=True):
        logits = F.linear(hidden.double(), weight, bias)
        log_sums = torch.logsumexp(logits, dim=1, keepdim=True)
        present, place = (labels != IGNORED)[:, None], labels.clamp(min=0)[:, None]
        nats.append(((log_sums - logits.gather(1, place)) * present)[:, 0])
        slopes = logits.sub_(log_sums).exp_()
        slopes.scatter_add_(1, place, -torch.ones_like(log_sums))
        slopes.mul_(present.double() / max(labelled, 1))
        hidden_grad.append(slopes @ weight)
        weight_grad.addmm_(slopes.T, hidden.double())
        bias_grad += slopes.sum(dim=0)
    gradients = [torch.cat(hidden_grad), weight_grad, bias_grad]
    return Exact(torch.cat(nats), gradients if bias is not None else gradients[:2])
