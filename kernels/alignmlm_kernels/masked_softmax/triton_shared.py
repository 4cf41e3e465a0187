"""The argument check that the kernel launchers share."""

from torch import Tensor

from alignmlm_kernels.errors import KernelError


def check_rows(**tensors: Tensor) -> None:
    """Raise unless the elements of each row lie next to each other.

    Raises:
        KernelError: a tensor whose last dimension has a stride other than 1.
    """
    for name, tensor in tensors.items():
        if tensor.shape[-1] > 1 and tensor.stride(-1) != 1:
            raise KernelError(
                f"{name} must have rows without gaps (stride 1), found stride {tensor.stride(-1)}"
            )
