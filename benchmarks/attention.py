"""Milliseconds of attention, forward and backward: torch's fused one and ours by matrix products.

Both as transformers calls them, in fp32 and bf16, for the rows of each model size;
they take turns, and the median counts. A row for each is appended to results/.
"""

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import commit, processor
from rows import keep_rows
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from alignmlm.console.terminal import WholeTable, console, new_table
from alignmlm.models.attention import product_attention

RESULTS = Path(__file__).parent / "results" / "attention.jsonl"
WAYS = {"fused": sdpa_attention_forward, "products": product_attention}
SHAPES = {"tiny": (32, 2, 128), "small": (16, 4, 128), "paper": (8, 8, 512)}  # rows, heads, tokens
SMOKE_SHAPES = {"smoke": (2, 2, 16)}
HEAD = 64  # width of a head, of all sizes


def milliseconds(way: str, tensors: list[Tensor]) -> float:
    """One forward and backward pass."""
    for tensor in tensors:
        tensor.grad = None
    module = torch.nn.Module()
    began = perf_counter()
    output, _ = WAYS[way](module, *tensors, None, scaling=HEAD**-0.5, is_causal=False)
    output.backward(torch.ones_like(output))
    return 1e3 * (perf_counter() - began)


def measured(shape: tuple[int, int, int], dtype: torch.dtype, times: int) -> dict[str, float]:
    """Medians of both ways on the same random tensors, in turns."""
    rows, heads, tokens = shape
    made = (torch.randn(rows, tokens, heads, HEAD).to(dtype).transpose(1, 2) for _ in range(3))
    tensors = [tensor.requires_grad_() for tensor in made]
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(times + 1):
        for way in WAYS:
            found[way].append(milliseconds(way, tensors))
    return {f"{way}_ms": round(median(each[1:]), 2) for way, each in found.items()}


def table_of(rows: list[dict[str, Any]]) -> WholeTable:
    """All shapes and precisions."""
    table = new_table("attention, forward and backward")
    for name in ("rows of", "precision", "fused, ms", "products, ms"):
        table.add_column(name)
    for row in rows:
        table.add_row(row["size"], row["precision"], str(row["fused_ms"]), str(row["products_ms"]))
    return table


def main() -> None:
    """Measure, print the table, keep the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--out", type=Path, help=f"default: {RESULTS.name} in benchmarks/results")
    parser.add_argument("--smoke", action="store_true", help="small; kept with --out alone")
    asked = parser.parse_args()
    torch.manual_seed(0)
    origin = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    origin |= {"device": processor(), "commit": commit()}
    precisions = {"fp32": torch.float32, "bf16": torch.bfloat16}
    rows = [
        {"size": size, "precision": name, **measured(shape, dtype, asked.times), **origin}
        for size, shape in (SMOKE_SHAPES if asked.smoke else SHAPES).items()
        for name, dtype in precisions.items()
    ]
    keep_rows(rows, asked, RESULTS)
    console.print(table_of(rows))


if __name__ == "__main__":
    main()
