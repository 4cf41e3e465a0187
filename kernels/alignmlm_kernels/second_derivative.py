"""An error where a loss that has no second derivative is differentiated twice."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from alignmlm_kernels.errors import KernelError

Backward = Callable[..., tuple[Tensor | None, ...]]


class Once(torch.autograd.Function):
    """Passes a gradient on unchanged; differentiating it is an error."""

    @staticmethod
    def forward(ctx: Any, loss: str, gradient: Tensor) -> Tensor:
        """The gradient."""
        ctx.loss = loss
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[None, None]:
        """Raise, for there is nothing to return.

        Raises:
            KernelError: always.
        """
        raise KernelError(
            f"{ctx.loss} has no second derivative; masked_softmax_loss and alignment_loss have one "
            f"with impl='reference'"
        )


def differentiable_once(loss: str, gradient: Tensor | None) -> Tensor | None:
    """The gradient of a loss; under create_graph=True, one that cannot be differentiated.

    torch.compile supports no second derivatives, and has its own error for them.
    """
    if gradient is None or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return gradient
    return Once.apply(loss, gradient.detach().requires_grad_())


def once_differentiable(loss: str) -> Callable[[Backward], Backward]:
    """Like torch's decorator, but also acts if the upstream gradient requires no gradient."""

    def decorated(backward: Backward) -> Backward:
        @wraps(backward)
        def first(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
            with torch.no_grad():
                gradients = backward(ctx, *upstream)
            return tuple(differentiable_once(loss, gradient) for gradient in gradients)

        return first

    return decorated
