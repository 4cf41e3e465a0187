"""The loss of every position and its gradient, by the operators."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from alignmlm_kernels.masked_softmax.designs import Plan
from alignmlm_kernels.masked_softmax.operators import (
    masked_softmax_gradients,
    masked_softmax_sums,
)
from alignmlm_kernels.masked_softmax.reference import Options
from alignmlm_kernels.masked_softmax.row_sums import RowSums
from alignmlm_kernels.second_derivative import once_differentiable


class Setting(NamedTuple):
    """The settings of a call besides its tensors."""

    plan: Plan
    options: Options
    weight_grad: Float[Tensor, "vocab hidden"] | None


def position_nats(
    sums: RowSums,
    log_sum_exp: Float[Tensor, " masked"],
    known: Any,
    mean_logit: Float[Tensor, " masked"] | float,
    options: Options,
) -> Float[Tensor, " masked"]:
    """Cross entropy with smoothed labels, plus the z-loss; 0 where there is no label."""
    share = options.label_smoothing
    nats = log_sum_exp - (1 - share) * sums.label_logit - share * mean_logit
    return torch.where(known, nats + options.z_loss * log_sum_exp.square(), 0)


def mean_logits(
    hidden: Float[Tensor, "masked hidden"],
    weight: Float[Tensor, "vocab hidden"],
    bias: Float[Tensor, " vocab"] | None,
) -> Float[Tensor, " masked"]:
    """The mean of each row's logits, without computing the logits."""
    exact = torch.promote_types(hidden.dtype, torch.float32)
    means = hidden.to(exact) @ weight.mean(dim=0, dtype=exact)
    return means if bias is None else means + bias.mean(dtype=exact)


class MaskedSoftmax(torch.autograd.Function):
    """(nats, correct, log_sum_exp) of each position; the last two have no gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        setting: Setting,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the sums, and save what the backward pass needs."""
        plan, options, _ = setting
        keep = any(ctx.needs_input_grad)
        *numbers, exponentials = masked_softmax_sums(hidden, weight, bias, labels, *plan, keep)
        sums = RowSums(*numbers)
        log_sum_exp = sums.log_sum_exp()
        mean = mean_logits(hidden, weight, bias) if options.label_smoothing else 0.0
        nats = position_nats(sums, log_sum_exp, labels >= 0, mean, options)
        ctx.save_for_backward(hidden, weight, bias, labels, exponentials, *numbers)
        ctx.setting = setting
        ctx.mark_non_differentiable(sums.leads, log_sum_exp)
        return nats, sums.leads, log_sum_exp

    @staticmethod
    @once_differentiable("masked_softmax_loss")
    def backward(ctx: Any, nats_grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs that require one."""
        hidden, weight, bias, labels, exponentials, *numbers = ctx.saved_tensors
        plan, options, weight_grad = ctx.setting
        upstream = torch.where(labels >= 0, nats_grad, 0)
        log_sum_exp = RowSums(*numbers).log_sum_exp()
        of_softmax = upstream * (1 + 2 * options.z_loss * log_sum_exp)
        share = options.label_smoothing
        uniform = upstream * (share / len(weight)) if share else None
        wanted = list(ctx.needs_input_grad[:3])
        gradients = masked_softmax_gradients(
            hidden, weight, bias, labels, numbers, exponentials, of_softmax,
            (1 - share) * upstream, uniform, weight_grad, *plan, wanted,
        )  # fmt: skip
        wanted[1] &= weight_grad is None
        given = (grad if want else None for grad, want in zip(gradients, wanted, strict=True))
        return *given, None, None
