"""Which pairs a step uses, and in which order: integer hashes, equal on every machine."""

import torch
from jaxtyping import Int
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
SAMPLE = 0x53414D504C45  # separates the statistics' sample from the choice of a step


def signed(number: int) -> int:
    """The int64 that has the lowest 64 bits of a number."""
    number %= 2**64
    return number - 2**64 if number >= 2**63 else number


def shifted(bits: Int[Tensor, " item"], places: int) -> Int[Tensor, " item"]:
    """Logical right shift."""
    return (bits >> places) & (2 ** (64 - places) - 1)


def mix(bits: Int[Tensor, " item"]) -> Int[Tensor, " item"]:
    """A bijection of 64-bit integers. Source: Steele et al., 2014 (SplitMix64)."""
    bits = (bits ^ shifted(bits, 30)) * signed(MIX_1)
    bits = (bits ^ shifted(bits, 27)) * signed(MIX_2)
    return bits ^ shifted(bits, 31)


def pair_hashes(pairs: int, seed: int, step: int, device: torch.device) -> Int[Tensor, " pair"]:
    """A different 64-bit integer for each pair, drawn by (seed, step, number of the pair)."""
    key = torch.zeros(1, dtype=torch.int64)
    for part in (seed, step):
        key = mix((key ^ signed(part)) + signed(GOLDEN))
    numbers = torch.arange(pairs, device=device)
    return mix((numbers ^ int(key)) + signed(GOLDEN))


def chosen_count(pairs: int, share: float) -> int:
    """Pairs of a step: the share of all, rounded, and at least one."""
    return max(1, round(share * pairs))


def chosen_order(
    pairs: int, count: int, seed: int, step: int, device: torch.device
) -> Int[Tensor, " chosen"]:
    """`count` pairs in an order drawn for the step; a smaller count gives a prefix.

    Never synchronises with the device.
    """
    hashes = pair_hashes(pairs, seed, step, device)
    return hashes.argsort()[:count] if count == pairs else hashes.topk(count, largest=False)[1]
