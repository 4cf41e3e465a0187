"""The gradients from the exponentials, without another pass over the logits.

With E = exp(logit - reference), 0 at the label, and S the row's sum, softmax = E / S. The gradient
of the logits is a * softmax - c at the label - u everywhere, with coefficients of each row, so that

    d hidden = (E @ W) * (a / S) + (a * softmax at the label - c) * W[label] - u * sum of W's rows
    d W      = E.T @ (hidden * (a / S)), plus the same two terms the other way round

Every option is a coefficient, and the label's term is never rounded with the others.
"""

from collections.abc import Iterator
from math import exp
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alignmlm_kernels.masked_softmax.designs import SHIFT, Piece, Plan, chunks
from alignmlm_kernels.masked_softmax.head import Head
from alignmlm_kernels.masked_softmax.products import (
    add_label_rows,
    column_sums,
    product_into,
)
from alignmlm_kernels.masked_softmax.row_sums import RowSums


class Coefficients(NamedTuple):
    """The coefficients in the gradient of each row's logits."""

    softmax: Float[Tensor, " masked"]  # a
    label: Float[Tensor, " masked"]  # c
    uniform: Float[Tensor, " masked"] | None  # u; None: 0


class Gradients(NamedTuple):
    """Gradients of the weighted sum of the losses; None where not required."""

    hidden: Float[Tensor, "masked hidden"] | None
    weight: Float[Tensor, "vocab hidden"] | None
    bias: Float[Tensor, " vocab"] | None


class LabelRows(NamedTuple):
    """The part of the weight's gradient that is not from the exponentials."""

    hidden: Float[Tensor, "masked hidden"]
    at_label: Float[Tensor, " masked"]
    labels: Int[Tensor, " masked"]
    uniform: Float[Tensor, " masked"] | None


def backward(
    plan: Plan,
    head: Head,
    sums: RowSums,
    exponentials: Float[Tensor, "masked vocab"] | None,
    coefficients: Coefficients,
    wanted: tuple[bool, bool, bool],
    weight_grad: Float[Tensor, "vocab hidden"] | None = None,
) -> Gradients:
    """Those gradients of hidden, weight and bias that are wanted.

    The weight's is added to the buffer weight_grad where there is one.
    """
    at_label, scale, pieces = pieces_of(plan, head, sums, exponentials, coefficients)
    scaled, unit = scaled_states(plan, head, scale)
    states = torch.zeros_like(head.hidden, dtype=scale.dtype) if wanted[0] else None
    weight = torch.empty_like(head.weight) if wanted[1] and weight_grad is None else weight_grad
    bias = scale.new_empty(len(head.weight)) if wanted[2] else None
    for start, part, block in pieces:
        here = slice(start, start + len(part.weight))
        if states is not None:
            product_into(states, block, part.weight.to(plan.dtype), add=True)
        if weight is not None and wanted[1]:
            target, add = weight[here], weight_grad is not None
            with_labels = LabelRows(head.hidden, at_label, part.labels, coefficients.uniform)
            write_weight(plan, target, add, block, scaled, unit, with_labels)
        if bias is not None:
            bias[here] = column_sums(block, scale, plan.triton)
    del block, scaled  # hidden_grad needs the same memory again
    if bias is not None:
        bias += label_sums(plan, head, at_label, coefficients.uniform)
        bias = bias.to(head.bias.dtype if head.bias is not None else bias.dtype)
    hidden = None if states is None else hidden_grad(head, states, scale, at_label, coefficients)
    return Gradients(hidden, weight if weight_grad is None else None, bias)


def pieces_of(
    plan: Plan,
    head: Head,
    sums: RowSums,
    exponentials: Float[Tensor, "masked vocab"] | None,
    coefficients: Coefficients,
) -> tuple[Float[Tensor, " masked"], Float[Tensor, " masked"], Iterator[Piece]]:
    """Each row's gradient at its label, the scale of its exponentials, and the exponentials."""
    log_sum_exp = sums.log_sum_exp()
    at_label = coefficients.softmax * (sums.label_logit - log_sum_exp).exp() - coefficients.label
    at_label = torch.where(head.labels >= 0, at_label, 0)
    if exponentials is not None:
        return at_label, coefficients.softmax / sums.sums, iter([(0, head, exponentials)])
    shift = SHIFT.get(plan.dtype, 0.0)
    return at_label, coefficients.softmax * exp(-shift), chunks(plan, head, log_sum_exp - shift)


def scaled_states(
    plan: Plan, head: Head, scale: Float[Tensor, " masked"]
) -> tuple[Float[Tensor, "masked hidden"], Float[Tensor, ""] | None]:
    """Hidden states times their row's scale, and the unit that float16 needs to hold them."""
    if plan.dtype != torch.float16:
        return (head.hidden * scale[:, None]).to(plan.dtype), None
    unit = scale.abs().amax().clamp(min=1e-30)
    return (head.hidden * (scale / unit)[:, None]).to(plan.dtype), unit


def write_weight(
    plan: Plan,
    target: Float[Tensor, "chunk hidden"],
    add: bool,
    exponentials: Float[Tensor, "masked chunk"],
    scaled: Float[Tensor, "masked hidden"],
    unit: Float[Tensor, ""] | None,
    rows: LabelRows,
) -> None:
    """Write the gradient of some rows of the weight, or add it to what is there.

    It is accumulated in float32, and rounded once if the target has lower precision.
    """
    exact = torch.promote_types(plan.dtype, torch.float32)
    direct = target.dtype == exact and unit is None
    gradient = target if direct else torch.empty_like(target, dtype=exact)
    product_into(gradient, exponentials.T, scaled, add=add and direct)
    if unit is not None:
        gradient *= unit
    add_label_rows(gradient, rows.hidden, rows.at_label, rows.labels, plan.triton)
    if rows.uniform is not None:
        gradient -= rows.uniform @ rows.hidden.to(exact)
    if not direct:
        target.copy_(target + gradient if add else gradient)


def label_sums(
    plan: Plan,
    head: Head,
    at_label: Float[Tensor, " masked"],
    uniform: Float[Tensor, " masked"] | None,
) -> Float[Tensor, " vocab"]:
    """The part of the bias's gradient that is not from the exponentials."""
    column = torch.zeros(len(head.weight), 1, dtype=at_label.dtype, device=at_label.device)
    ones = torch.ones_like(at_label)[:, None]
    add_label_rows(column, ones, at_label, head.labels, plan.triton)
    return column[:, 0] if uniform is None else column[:, 0] - uniform.sum()


def hidden_grad(
    head: Head,
    states: Float[Tensor, "masked hidden"],
    scale: Float[Tensor, " masked"],
    at_label: Float[Tensor, " masked"],
    coefficients: Coefficients,
) -> Float[Tensor, "masked hidden"]:
    """The gradient of the hidden states, computed in place from the products E @ W in `states`."""
    label_rows = head.weight[head.labels.clamp(min=0)]
    states.mul_(scale[:, None]).addcmul_(at_label[:, None], label_rows)
    if coefficients.uniform is not None:
        total = head.weight.sum(dim=0, dtype=scale.dtype)
        states.addr_(coefficients.uniform, total, alpha=-1)
    return states.to(head.hidden.dtype)
