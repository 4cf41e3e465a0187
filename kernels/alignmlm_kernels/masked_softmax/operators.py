"""The loss as operators of PyTorch, so that torch.compile takes them as they are."""

import torch
from jaxtyping import Int
from torch import Tensor

from alignmlm_kernels.errors import KernelError
from alignmlm_kernels.masked_softmax.designs import Plan, forward, gpu_room
from alignmlm_kernels.masked_softmax.gradients import Coefficients, backward
from alignmlm_kernels.masked_softmax.head import Head
from alignmlm_kernels.masked_softmax.row_sums import RowSums


def placed_labels(labels: Int[Tensor, " masked"], ignore_index: int) -> Int[Tensor, " masked"]:
    """Labels with -1 for ignored ones; other negative ones, which are invalid, are lowered by 1."""
    return torch.where(labels == ignore_index, -1, labels - (labels < 0).to(labels.dtype))


def check_labels(labels: Int[Tensor, " masked"], vocab: int) -> None:
    """Raise unless every label from placed_labels is -1 or a token.

    Raises:
        KernelError: on the CPU, any other label. On a GPU torch's own assertion fails, later:
            checking here would make the host wait.
    """
    if not len(labels):
        return
    if labels.device.type != "cpu":
        torch._assert_async(((labels >= -1) & (labels < vocab)).all())
        return
    low, high = int(labels.min()), int(labels.max())
    if low < -1 or high >= vocab:
        raise KernelError(
            f"labels must lie in [0, {vocab}) or be ignore_index, found "
            f"{low + (low < -1)} to {high}"
        )


@torch.library.custom_op("alignmlm::masked_softmax_sums", mutates_args=())
def masked_softmax_sums(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    design: str,
    dtype: torch.dtype,
    triton: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The fields of RowSums, and the exponentials (no columns of them where none are kept)."""
    check_labels(labels, len(weight))
    head = Head(hidden, weight, bias, labels)
    sums, exponentials = forward(Plan(design, dtype, triton), head, keep)  # type: ignore[arg-type]
    if exponentials is None:
        exponentials = hidden.new_empty(len(hidden), 0, dtype=dtype)
    reference, total, label_logit, largest, leads = (numbers.clone() for numbers in sums)
    return reference, total, label_logit, largest, leads, exponentials  # they share no memory


@masked_softmax_sums.register_fake
def _(hidden, weight, bias, labels, design, dtype, triton, keep):  # type: ignore[no-untyped-def]
    exact = torch.promote_types(hidden.dtype, torch.float32)
    numbers = [hidden.new_empty(hidden.shape[0], dtype=exact) for _ in range(4)]
    columns = weight.shape[0] if keep and design != "lean" else 0
    if hidden.device.type == "cpu":
        exponentials = hidden.new_empty(hidden.shape[0], columns, dtype=dtype)
    else:
        exponentials = gpu_room(hidden, columns, dtype)
    return *numbers, hidden.new_empty(hidden.shape[0], dtype=torch.bool), exponentials


@torch.library.custom_op("alignmlm::masked_softmax_gradients", mutates_args=("weight_grad",))
def masked_softmax_gradients(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    sums: list[Tensor],
    exponentials: Tensor,
    of_softmax: Tensor,
    of_label: Tensor,
    uniform: Tensor | None,
    weight_grad: Tensor | None,
    design: str,
    dtype: torch.dtype,
    triton: bool,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of hidden, weight and bias; empty where one is not wanted or went to the buffer."""
    head, has_exponentials = Head(hidden, weight, bias, labels), exponentials.shape[1] > 0
    gradients = backward(
        Plan(design, dtype, triton),  # type: ignore[arg-type]
        head,
        RowSums(*sums),
        exponentials if has_exponentials else None,
        Coefficients(of_softmax, of_label, uniform),
        (wanted[0], wanted[1], wanted[2]),
        weight_grad,
    )
    return tuple(hidden.new_empty(0) if grad is None else grad for grad in gradients)  # type: ignore


@masked_softmax_gradients.register_fake
def _(  # type: ignore[no-untyped-def]
    hidden, weight, bias, labels, sums, exponentials, of_softmax, of_label, uniform, weight_grad,
    design, dtype, triton, wanted,
):  # fmt: skip
    inputs = (hidden, None if weight_grad is not None else weight, bias)
    return tuple(
        torch.empty_like(tensor) if want and tensor is not None else hidden.new_empty(0)
        for tensor, want in zip(inputs, wanted, strict=True)
    )
