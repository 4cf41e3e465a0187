"""Muon for the matrices of an encoder, AdamW for all else, under any ZeRO stage.

Muon needs whole matrices, but ZeRO gives an optimizer flat partitions of them. So momentum is kept
with each partition; then each matrix's update is gathered, orthogonalised, and partitioned again.
"""

from collections import defaultdict
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from alignmlm.pretraining.partitions import Partitions

ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al., 2024 (Muon), "Tuning the coefficients"
SMALLEST = 1e-7  # Frobenius norm to divide by
RMS = 0.2  # of an update's elements, as AdamW's. Source: Liu et al., 2025 (arXiv:2502.16982)


def orthogonal(
    matrix: Float[Tensor, "*any row column"], blocks: int, dtype: torch.dtype
) -> Float[Tensor, "*any row column"]:
    """Approximately the nearest orthogonal matrix to each block of rows, scaled to AdamW's RMS.

    Before scaling, singular values lie in about [0.7, 1.2]; the aim is 1. Source: Jordan et al.,
    2024 (Muon), Newton-Schulz iteration; scale of Liu et al., 2025, section 2.2.
    """
    rows, columns = matrix.shape[-2] // blocks, matrix.shape[-1]
    stacked = matrix.reshape(-1, rows, columns).to(dtype)
    estimate = stacked.mT if rows > columns else stacked
    estimate = estimate / estimate.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = estimate @ estimate.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        estimate = torch.baddbmm(estimate, polynomial, estimate, beta=a)
    estimate = estimate.mT if rows > columns else estimate
    return (estimate * (RMS * sqrt(max(rows, columns)))).reshape(matrix.shape).to(matrix.dtype)


class Muon(torch.optim.AdamW):
    """AdamW, but Muon in the group marked "muon", whose moments are "momentum" and "update".

    `partitions` must be set after DeepSpeed has divided the matrices and before the first step.
    """

    partitions: Partitions
    momentum: float
    dtype: torch.dtype  # of the iteration
    found_inf: Tensor | None = None  # 1 where a step must change nothing, 0 elsewhere

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of all groups."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["muon"]]
        try:
            super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["muon"]:
                masters = [master for master in group["params"] if master.grad is not None]
                for master in masters:
                    self.note_gradient(master, master.grad)
                self.make_orthogonal(masters)
                for master in masters:
                    self.apply_update(master, group["lr"], group["weight_decay"])

    def note_gradient(self, master: Tensor, grad: Tensor) -> None:
        """Move the momentum, unless `found_inf` is 1, and set the update before it is orthogonal.

        Source: Jordan et al., 2024 (Muon), with Nesterov's momentum as in torch.optim.Muon.
        """
        momentum, update = (self.state[master][name] for name in ("momentum", "update"))
        if self.found_inf is not None:
            grad = torch.where(self.found_inf > 0, 0.0, grad)
        momentum.add_((grad - momentum) * ((1 - self.momentum) * self.taken))
        update.copy_(grad.lerp(momentum, self.momentum))

    def apply_update(self, master: Tensor, rate: float, weight_decay: float) -> None:
        """Take the update, unless `found_inf` is 1."""
        update, taken = self.state[master]["update"], self.taken
        master.mul_(1 - rate * weight_decay * taken).sub_(update * (rate * taken))

    @property
    def taken(self) -> Tensor | float:
        """1 in a step that is taken, 0 in one that must change nothing."""
        return 1.0 if self.found_inf is None else 1 - self.found_inf

    def make_orthogonal(self, masters: list[Tensor]) -> None:
        """Orthogonalise, in place, the update of each matrix that lies in one of the tensors.

        Matrices of one shape are gathered and turned together: a model has few shapes.
        """
        parts, alike = self.partitions, defaultdict(list)
        for master in masters:
            for matrix in parts.matrices_in(master):
                shape = getattr(matrix.weight, "ds_shape", matrix.weight.shape)  # ds_: ZeRO-3
                alike[shape, matrix.blocks].append(matrix.weight)
        for (_, blocks), weights in alike.items():
            wholes = [parts.whole(weight, "update") for weight in weights]
            here = [n for n, weight in enumerate(weights) if parts.has_part(weight)]
            if here:
                turned = orthogonal(torch.stack([wholes[n] for n in here]), blocks, self.dtype)
                for n, each in zip(here, turned, strict=True):
                    parts.put(weights[n], each, "update")
