"""Checks of the arguments of the masked softmax."""

import torch
from torch import Tensor

from alignmlm_kernels.errors import KernelError

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_arguments(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    weight_grad: Tensor | None,
    label_smoothing: float,
    z_loss: float,
    reduction: str,
) -> None:
    """Raise unless the arguments fit each other.

    Raises:
        KernelError: they do not; the message names the argument.
    """
    tensors = {"hidden": hidden, "weight": weight, "labels": labels}
    tensors |= {} if bias is None else {"bias": bias}
    tensors |= {} if weight_grad is None else {"weight_grad": weight_grad}
    check_devices(tensors)
    check_shapes(tensors)
    check_types(tensors)
    check_settings(label_smoothing, z_loss, reduction)


def check_devices(tensors: dict[str, Tensor]) -> None:
    """Raise unless all tensors are on one device.

    Raises:
        KernelError: they are not.
    """
    if len({tensor.device for tensor in tensors.values()}) > 1:
        devices = ", ".join(f"{name} on {tensor.device}" for name, tensor in tensors.items())
        raise KernelError(f"the tensors must share a device, found {devices}")


def check_shapes(tensors: dict[str, Tensor]) -> None:
    """Raise unless the sizes that tensors share are equal.

    Raises:
        KernelError: they are not, or the vocabulary is empty.
    """
    hidden, weight = tensors["hidden"], tensors["weight"]
    if hidden.dim() != 2 or weight.dim() != 2 or hidden.shape[1] != weight.shape[1]:
        shapes_found = f"{tuple(hidden.shape)} and {tuple(weight.shape)}"
        raise KernelError(
            "hidden (masked, hidden) and weight (vocab, hidden) must have two dimensions each, "
            f"and the last dimensions must be equal; found {shapes_found}"
        )
    if not len(weight):
        raise KernelError("weight must have at least one row")
    shapes = {"labels": hidden.shape[:1], "bias": weight.shape[:1], "weight_grad": weight.shape}
    for name, shape in shapes.items():
        if name in tensors and tensors[name].shape != shape:
            there = tuple(tensors[name].shape)
            raise KernelError(f"{name} must have the shape {tuple(shape)}, found {there}")


def check_types(tensors: dict[str, Tensor]) -> None:
    """Raise unless each tensor has an allowed dtype.

    Raises:
        KernelError: one does not.
    """
    for name in ("hidden", "weight", "bias"):
        if name in tensors and tensors[name].dtype not in FLOATS:
            raise KernelError(f"{name} must hold floats, found {tensors[name].dtype}")
    if tensors["labels"].dtype not in (torch.int64, torch.int32):
        raise KernelError(f"labels must be int64 or int32, found {tensors['labels'].dtype}")
    exact = torch.promote_types(tensors["hidden"].dtype, torch.float32)
    buffer = tensors.get("weight_grad")
    if buffer is not None and buffer.dtype != exact:
        raise KernelError(f"weight_grad must be {exact}, found {buffer.dtype}")


def check_settings(label_smoothing: float, z_loss: float, reduction: str) -> None:
    """Raise unless the settings lie in their ranges.

    Raises:
        KernelError: one does not.
    """
    if not 0 <= label_smoothing < 1 or z_loss < 0:
        values = f"{label_smoothing} and {z_loss}"
        raise KernelError(
            f"label_smoothing must lie in [0, 1), z_loss be 0 or more; found {values}"
        )
    if reduction not in ("none", "mean", "sum"):
        raise KernelError(f"reduction must be none, mean or sum, found {reduction!r}")
