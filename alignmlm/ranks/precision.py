"""Which precision is fastest on this machine."""

from time import perf_counter
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]
# How many times as fast as in fp32 a matrix product must be for bf16 to be chosen: 4 times on an
# AMD EPYC with AVX512-BF16, where training then takes 0.6 of fp32's time.
BF16_GAIN = 2.5
TIMES = 20  # that each product is timed; the fastest counts


def fastest_precision() -> tuple[Precision, str]:
    """The precision that is fastest on this machine, and why; docs/performance.md has times."""
    if torch.cuda.is_available():
        return "bf16", "there is a GPU"
    if not cpu_computes_in_bf16():
        return "fp32", "this CPU does not compute in bf16"
    gain = product_s(torch.float32) / product_s(torch.bfloat16)
    reason = f"this CPU multiplies matrices {gain:.1f} times as fast in bf16 as in fp32"
    return ("bf16" if gain >= BF16_GAIN else "fp32"), reason


def cpu_computes_in_bf16() -> bool:
    """Whether this CPU has instructions for bf16; without, its products take many times as long."""
    has_library = torch.backends.mkldnn.is_available()
    return has_library and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def product_s(dtype: torch.dtype) -> float:
    """Seconds for a matrix product of a small encoder's shapes; the best of several."""
    rows, weight = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 256, dtype=dtype)
    times_s = []
    for _ in range(TIMES):
        began = perf_counter()
        torch.matmul(rows, weight)
        times_s.append(perf_counter() - began)
    return min(times_s)
