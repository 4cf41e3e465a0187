"""Linear layer, softmax and cross entropy at masked positions."""

import os
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from alignmlm_kernels.errors import KernelError
from alignmlm_kernels.masked_softmax.autograd import MaskedSoftmax, Setting
from alignmlm_kernels.masked_softmax.checks import check_arguments
from alignmlm_kernels.masked_softmax.designs import Plan
from alignmlm_kernels.masked_softmax.memory import (
    BUDGET_BYTES,
    chosen_design,
    gemm_dtype,
    peak_bytes,
)
from alignmlm_kernels.masked_softmax.operators import placed_labels
from alignmlm_kernels.masked_softmax.parallel import VocabularyParallel, check_group
from alignmlm_kernels.masked_softmax.reference import Options, PositionLoss, reference_loss

__all__ = [
    "MaskedSoftmaxLoss",
    "PositionLoss",
    "masked_softmax_loss",
    "peak_bytes",
    "vocabulary_parallel_loss",
]

Implementation = Literal["auto", "reference", "slab", "scaled", "lean"]


def masked_softmax_loss(
    hidden: Float[Tensor, "masked hidden"],
    weight: Float[Tensor, "vocab hidden"],
    labels: Int[Tensor, " masked"],
    bias: Float[Tensor, " vocab"] | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_index: int = -100,
    reduction: Literal["none", "mean", "sum"] = "none",
    weight_grad: Float[Tensor, "vocab hidden"] | None = None,
    budget_bytes: int = BUDGET_BYTES,
    impl: Implementation = "auto",
) -> PositionLoss:
    """Cross entropy of softmax(hidden @ weight.T + bias) at each position, in nats, and accuracy.

    nats = lse - (1 - s) * logit of the label - s * mean logit + z * lse**2, where lse is the log of
    the sum of exp(logit), s is label_smoothing (Szegedy et al., 2016, arXiv:1512.00567, section 7)
    and z is z_loss (Chowdhery et al., 2022, arXiv:2204.02311, section 5). Sums are taken in float32
    (float64 for float64 inputs); under autocast, products in autocast's type. Positions whose label
    is ignore_index give 0, and "mean" is over the others. Without positions, results are empty
    and gradients zero, so that a rank without masked positions keeps in step with the others.

    weight_grad: a float32 buffer that the backward pass adds the weight's gradient to; the weight
        itself then gets none.
    budget_bytes: memory that may be held for the backward pass. The exponentials, one for each
        position and token of the vocabulary, are kept if they fit ("slab", or "scaled" with
        bfloat16 on a GPU); else they are computed twice, in chunks of the vocabulary ("lean").
        peak_bytes gives the memory of each.
    impl: "auto", one of these three, or "reference": full logits and PyTorch's own gradient.

    Raises:
        KernelError: wrong shapes, types or devices; settings out of range; on the CPU, a label
            outside the vocabulary (on a GPU checking would make the host wait; torch's device
            assertion catches it instead); "scaled" without a GPU or float16.
    """
    check_arguments(hidden, weight, labels, bias, weight_grad, label_smoothing, z_loss, reduction)
    options = Options(ignore_index, label_smoothing, z_loss)
    if impl == "reference":
        position_loss = reference_loss(hidden, weight, labels, bias, options)
    else:
        plan = plan_of(hidden, weight, budget_bytes, impl)
        placed = placed_labels(labels, ignore_index)
        setting = Setting(plan, options, weight_grad)
        with torch.autocast(hidden.device.type, enabled=False):
            position_loss = PositionLoss(
                *MaskedSoftmax.apply(hidden, weight, bias, placed, setting)
            )
    return reduced(position_loss, labels != ignore_index, reduction)


def reduced(loss: PositionLoss, known: Tensor, reduction: str) -> PositionLoss:
    """The loss with nats as they are, or as their sum or their mean over positions with a label."""
    if reduction == "none":
        return loss
    total = loss.nats.sum()
    return loss._replace(nats=total if reduction == "sum" else total / known.sum().clamp(min=1))


def plan_of(hidden: Tensor, weight: Tensor, budget_bytes: int, impl: Implementation) -> Plan:
    """The plan of a call, from sizes, types, device and settings alone.

    Raises:
        KernelError: an unknown implementation, or one that these inputs cannot have.
    """
    device, dtype = hidden.device, hidden.dtype
    if torch.is_autocast_enabled(device.type):
        dtype = torch.get_autocast_dtype(device.type)
    dtype = gemm_dtype(dtype, device)
    triton = device.type == "cuda" and dtype != torch.float64
    if impl == "auto":
        design = chosen_design(len(hidden), len(weight), dtype, device, budget_bytes)
        return Plan(design, dtype, triton)
    if impl not in ("slab", "scaled", "lean"):
        raise KernelError(f"impl must be auto, reference, slab, scaled or lean, found {impl!r}")
    if impl == "scaled":
        triton = triton or os.environ.get("TRITON_INTERPRET") == "1"
        if not triton or dtype in (torch.float16, torch.float64):
            place = f"{dtype} on {device}"
            raise KernelError(f"impl 'scaled' needs bfloat16 or float32 on a GPU, found {place}")
    return Plan(impl, dtype, triton)


def vocabulary_parallel_loss(
    hidden: Float[Tensor, "masked hidden"],
    weight: Float[Tensor, "vocab hidden"],
    labels: Int[Tensor, " masked"],
    bias: Float[Tensor, " vocab"] | None = None,
    *,
    group: torch.distributed.ProcessGroup | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_index: int = -100,
    budget_bytes: int = BUDGET_BYTES,
) -> PositionLoss:
    """The losses of this rank's positions, with the vocabulary split over a group's ranks.

    weight and bias are this rank's rows, in the order of the ranks; labels are tokens of the whole
    vocabulary. Ranks may have different numbers of positions and of rows. Every rank gathers the
    hidden states of all; maxima, sums and label logits are exchanged, logits are not. The weight's
    gradient is that of the positions of all ranks: do not average it over the group. Otherwise like
    masked_softmax_loss. Source: Shoeybi et al., 2019 (arXiv:1909.08053), section 3.

    Raises:
        KernelError: as masked_softmax_loss; no group.
    """
    check_arguments(hidden, weight, labels, bias, None, label_smoothing, z_loss, "none")
    check_group(group)
    options = Options(ignore_index, label_smoothing, z_loss)
    plan = plan_of(hidden, weight, budget_bytes, "auto")
    placed = placed_labels(labels, ignore_index)
    with torch.autocast(hidden.device.type, enabled=False):
        outputs = VocabularyParallel.apply(
            hidden, weight, bias, placed, plan, options, budget_bytes, group
        )
    return PositionLoss(*outputs)


class MaskedSoftmaxLoss(nn.Module):
    """masked_softmax_loss as a module with fixed settings; by default it takes the mean."""

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        ignore_index: int = -100,
        reduction: Literal["none", "mean", "sum"] = "mean",
        budget_bytes: int = BUDGET_BYTES,
        impl: Implementation = "auto",
    ) -> None:
        super().__init__()
        self.settings = {
            "label_smoothing": label_smoothing,
            "z_loss": z_loss,
            "ignore_index": ignore_index,
            "reduction": reduction,
            "budget_bytes": budget_bytes,
            "impl": impl,
        }

    def forward(
        self,
        hidden: Float[Tensor, "masked hidden"],
        weight: Float[Tensor, "vocab hidden"],
        labels: Int[Tensor, " masked"],
        bias: Float[Tensor, " vocab"] | None = None,
    ) -> PositionLoss:
        """As masked_softmax_loss."""
        return masked_softmax_loss(hidden, weight, labels, bias, **self.settings)  # type: ignore
