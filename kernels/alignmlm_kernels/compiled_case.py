"""What it takes to compile a Triton kernel without a device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledCase:
    """One kernel at one choice of types and sizes, as the launcher would specialise it."""

    name: str
    function: Any  # what triton.jit returned
    types: Mapping[str, str]  # of each argument that is no constant: "*bf16", "i32", "fp32"
    constants: Mapping[str, Any]
    divisible_by_16: tuple[str, ...] = ()  # pointers and sizes that Triton may assume aligned
    warps: int = 4
    stages: int = 3
    expects_tensor_cores: bool = False
