"""Linear layer, softmax and cross entropy at masked positions."""

from jaxtyping import Float, Int
from torch import Tensor

from alignmlm_kernels.errors import KernelError
from alignmlm_kernels.masked_softmax.reference import PositionLoss, reference_loss

__all__ = ["PositionLoss", "masked_softmax_loss"]


def masked_softmax_loss(
    hidden: Float[Tensor, "masked hidden"],
    weight: Float[Tensor, "vocab hidden"],
    labels: Int[Tensor, " masked"],
    bias: Float[Tensor, " vocab"] | None = None,
) -> PositionLoss:
    """-log softmax(hidden @ weight.T + bias)[label] of each position, in nats, and whether it won.

    Sums are taken in float32 (float64 for float64 inputs). No positions give empty results whose
    gradients are zero, so that a rank without masked positions keeps in step with the others.

    Raises:
        KernelError: inputs on different devices; on the CPU, a label outside the vocabulary (on a
            GPU looking would make the host wait, and torch's device assertion catches it).
    """
    tensors = [hidden, weight, labels] + ([] if bias is None else [bias])
    if len({tensor.device for tensor in tensors}) > 1:
        found = [str(tensor.device) for tensor in tensors]
        raise KernelError(f"hidden, weight, labels and bias must share a device, found {found}")
    if labels.device.type == "cpu" and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(weight):
            raise KernelError(f"labels must lie in [0, {len(weight)}), found {low} to {high}")
    return reference_loss(hidden, weight, labels, bias)
