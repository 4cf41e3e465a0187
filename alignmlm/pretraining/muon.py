"""Muon for the matrices of an encoder, AdamW for all else, under any ZeRO stage.

Muon needs whole matrices, but ZeRO gives an optimizer flat partitions of them. So momentum is kept
with each partition; then each matrix's update is gathered, orthogonalised, and partitioned again.
"""

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
    matrix: Float[Tensor, "row column"], blocks: int, dtype: torch.dtype
) -> Float[Tensor, "row column"]:
    """Approximately the nearest orthogonal matrix to each block of rows, scaled to AdamW's RMS.

    Before scaling, singular values lie in about [0.7, 1.2]; the aim is 1. Source: Jordan et al.,
    2024 (Muon), Newton-Schulz iteration; scale of Liu et al., 2025, section 2.2.
    """
    stacked = matrix.view(blocks, -1, matrix.shape[1]).to(dtype)
    rows, columns = stacked.shape[1:]
    estimate = stacked.mT if rows > columns else stacked
    estimate = estimate / estimate.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = estimate @ estimate.mT
        estimate = a * estimate + (b * square + c * square @ square) @ estimate
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
            for master in group["params"] if group["muon"] else ():
                if master.grad is not None:
                    self.update(master, master.grad, group["lr"], group["weight_decay"])

    def update(self, master: Tensor, grad: Tensor, rate: float, weight_decay: float) -> None:
        """Muon's update of one tensor; if `found_inf` is 1, its weight and momentum do not change.

        Source: Jordan et al., 2024 (Muon), with Nesterov's momentum as in torch.optim.Muon.
        """
        momentum, update = (self.state[master][name] for name in ("momentum", "update"))
        taken: Tensor | float = 1.0
        if self.found_inf is not None:
            taken = 1 - self.found_inf
            grad = torch.where(self.found_inf > 0, 0.0, grad)
        momentum.add_((grad - momentum) * ((1 - self.momentum) * taken))
        update.copy_(grad.lerp(momentum, self.momentum))
        self.make_orthogonal(master)
        master.mul_(1 - rate * weight_decay * taken).sub_(update * (rate * taken))

    def make_orthogonal(self, master: Tensor) -> None:
        """Orthogonalise, in place, the update of each matrix that lies in a master tensor."""
        parts = self.partitions
        for matrix in parts.matrices_in(master):
            whole = parts.whole(matrix.weight, "update")
            if parts.has_part(matrix.weight):
                turned = orthogonal(whole, matrix.blocks, self.dtype)
                parts.put(matrix.weight, turned, "update")
