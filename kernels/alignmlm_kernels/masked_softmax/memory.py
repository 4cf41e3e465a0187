"""How much memory each design takes, which one a call gets, and CPU memory that is reused."""

import weakref
from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Design = Literal["slab", "scaled", "lean"]

BUDGET_BYTES = 2**31  # of exponentials kept for the backward pass, unless a call says otherwise
CUDA_CHUNK_BYTES = 32 * 2**20  # stays in the L2 cache of a GPU
CPU_CHUNK_BYTES = 32 * 2**20
SMALLEST_CHUNK = 1024  # columns: narrower ones waste the GEMM


def slab_bytes(rows: int, vocab: int, dtype: torch.dtype) -> int:
    """Bytes of one exponential for each row and token of the vocabulary."""
    return rows * vocab * dtype.itemsize


def chunk_columns(rows: int, vocab: int, dtype: torch.dtype, device: torch.device) -> int:
    """Columns of the vocabulary that the lean design takes at a time."""
    room = CUDA_CHUNK_BYTES if device.type == "cuda" else CPU_CHUNK_BYTES
    fitting = room // (max(rows, 1) * dtype.itemsize) // 256 * 256
    return min(vocab, max(SMALLEST_CHUNK, fitting))


def peak_bytes(
    rows: int, vocab: int, hidden: int, dtype: torch.dtype, device: torch.device, design: Design
) -> int:
    """Peak bytes of forward and backward beyond inputs and gradients, which are all of one type.

    Counted are the exponentials; the hidden states times the scale of their rows, once more for
    rows whose label is among the exponentials' columns; and, for types less precise than
    float32, float32 sums of the gradients of the hidden states and of the weight (of all of it, or
    of the lean design's chunk). Single numbers per row or token are left out.
    """
    products = gemm_dtype(dtype, device)
    columns = chunk_columns(rows, vocab, products, device) if design == "lean" else vocab
    exact = torch.promote_types(dtype, torch.float32)
    states = rows * hidden
    room = slab_bytes(rows, columns, products) + states * products.itemsize
    room += states * exact.itemsize * columns // vocab
    if dtype != exact:
        room += (rows + columns) * hidden * exact.itemsize
    return room


def chosen_design(
    rows: int, vocab: int, dtype: torch.dtype, device: torch.device, budget_bytes: int
) -> Design:
    """The fastest design whose exponentials fit the budget.

    It depends on sizes, types and device alone, so that a recipe gives the same numbers again.
    """
    if slab_bytes(rows, vocab, dtype) > budget_bytes:
        return "lean"
    return "scaled" if device.type == "cuda" and dtype == torch.bfloat16 else "slab"


def gemm_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The type that matrices are multiplied in: float32 where a CPU has no bfloat16 instructions.

    Without them PyTorch's bfloat16 product takes nine times as long as the float32 one. A process
    in which ATEN_CPU_CAPABILITY disables AVX-512 has none either.
    """
    if device.type != "cpu" or dtype not in (torch.bfloat16, torch.float16):
        return dtype
    able = torch.cpu.get_capabilities()
    native = able.get("avx512_bf16") or able.get("amx_bf16")
    native = native and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return dtype if native and dtype == torch.bfloat16 else torch.float32


FREE: dict[int, list[np.ndarray]] = {}


def cpu_room(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Uninitialised CPU memory; what a call has given back is reused.

    New memory of this size is filled with zeros by the system, page by page, which takes ten times
    as long as writing to memory that is already mapped. One block of each size is kept.
    """
    size = max(1, prod(shape)) * dtype.itemsize
    waiting = FREE.setdefault(size, [])
    memory = waiting.pop() if waiting else np.empty(size, np.uint8)
    lent = memory.view()
    weakref.finalize(lent, give_back, waiting, memory)
    return torch.from_numpy(lent).view(dtype)[: prod(shape)].view(shape)


def give_back(waiting: list[np.ndarray], memory: np.ndarray) -> None:
    """Keep one block for the next call, and let the others go."""
    if not waiting:
        waiting.append(memory)
