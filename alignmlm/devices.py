"""Which device this machine has, told to DeepSpeed before it looks and complains."""

import os

import torch


def name_accelerator() -> None:
    """Tell DeepSpeed, which transformers imports too, to use the CPU where there is no GPU."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
