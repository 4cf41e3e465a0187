"""Tokens per second and peak memory of a training step: other recipes and this project's.

On a GPU also the MFU: the operations that training on the tokens takes, counted as `alignmlm plan`
counts them (EncoderShape.training_flops), as a share of the GPU's peak in bf16.
The sides are those of speedrun.py, on the same rows of English and its inverted, transliterated
form. Each measurement is a process of its own, so that its peak memory is its own; the sides take
turns, --rounds times. A row for each side and size is appended to results/.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import commit, device_name
from rows import keep_rows
from speedrun import DEVICE, SIDES, SMOKE, learner_of, wait_for_device

from alignmlm.config import load_recipe
from alignmlm.console.terminal import WholeTable, console, new_table, print_line
from alignmlm.corpus.build import build_store
from alignmlm.data.batches import batch_samples, make_batch
from alignmlm.data.store import TRAIN
from alignmlm.models.settings import SIZES
from alignmlm.planning.shapes import sized
from alignmlm.pretraining.assembly import assemble
from alignmlm.pretraining.recipe import Recipe
from alignmlm.ranks.distributed import start_distributed
from alignmlm.ranks.precision import fastest_precision

RESULTS = Path(__file__).parent / "results" / "throughput.jsonl"
SHAPES = {  # size: tokens of one script's vocabulary, rows, tokens of a row
    "tiny": (8000, 64, 64),
    "small": (16000, 16, 128),
    "paper": (40000, 8, 512),
    "base": (40000, 8, 512),
}
GPU_ROWS = {"tiny": 1024, "small": 512, "paper": 128, "base": 96}
SMOKE_SHAPE = (400, 8, 32)
# Dense bf16 operations per second. Source: NVIDIA's data sheets of the A100, H100 (SXM) and H200
PEAK_FLOPS_PER_S = {"A100": 312e12, "H100": 989e12, "H200": 989e12}


def shape_of(asked: argparse.Namespace) -> tuple[int, int, int]:
    """Tokens of one script's vocabulary, rows of a step, tokens of a row."""
    if asked.smoke:
        return SMOKE_SHAPE
    vocabulary, rows, seq_len = SHAPES[asked.size]
    return vocabulary, GPU_ROWS[asked.size] if DEVICE.type == "cuda" else rows, seq_len


def recipe_of(side: str, precision: str, asked: argparse.Namespace, folder: Path) -> Recipe:
    """The recipe of one side at one size."""
    vocabulary, rows, seq_len = shape_of(asked)
    text = "qaa-Latn" if asked.smoke else "eng-Latn"
    path = None if asked.smoke else Path("recipes/wikipedia-laptop.yaml")
    settings = {
        "data.store": folder / f"{text}-{vocabulary}", "data.vocabulary_size": vocabulary,
        "languages.ids": f"[{text},{text}-x-inv-trans]", "objective.name": "mlm",
        "model.size": asked.size, "train.batch_rows": rows, "train.seq_len": seq_len,
        "train.precision": precision,
    }  # fmt: skip
    told = [f"--{key}={value}" for key, value in settings.items()]
    return load_recipe(path, [*(SMOKE if asked.smoke else []), *told, *SIDES[side]])


def measure_steps(side: str, precision: str, asked: argparse.Namespace) -> dict[str, float]:
    """Tokens per second of some steps after two others, and the process's peak memory."""
    start_distributed()
    recipe = recipe_of(side, precision, asked, asked.folder)
    assembly = assemble(recipe)
    learner = learner_of(side, recipe, assembly)
    rows, loader = recipe.train.batch_rows, assembly.loader

    def take(step: int) -> int:
        batch = make_batch(loader, batch_samples(loader, step, rows, 0, 1, rows)[0], TRAIN)
        learner.step(batch, 1e-4)
        return batch.input_ids.numel()

    before_mib = peak_mib()
    for step in range(2):
        take(step)
    wait_for_device()
    began = perf_counter()
    tokens = sum(take(2 + step) for step in range(asked.steps))
    wait_for_device()
    seconds_s, peak = perf_counter() - began, peak_mib()
    found = {
        "tokens_per_s": tokens / seconds_s,
        "peak_mib": peak,
        "step_mib": peak - before_mib,  # beyond weights, data and libraries
    }
    for name, peak_flops_per_s in PEAK_FLOPS_PER_S.items():
        if name in device_name():
            seq_len, architecture = recipe.train.seq_len, recipe.model.architecture
            shape = sized(asked.size, assembly.vocabulary_size, seq_len, architecture)
            flops = shape.training_flops(seq_len, recipe.mask.rate)
            found["mfu"] = found["tokens_per_s"] * flops / peak_flops_per_s
    return found


def peak_mib() -> float:
    """The most memory so far: of the GPU, or of this process."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(side: str, precision: str, asked: argparse.Namespace) -> dict[str, float]:
    """The same, measured by a new process."""
    command = [sys.executable, __file__, "--side", side, "--precision", precision]
    command += ["--size", asked.size, "--steps", str(asked.steps), "--folder", str(asked.folder)]
    command += ["--smoke"] if asked.smoke else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side}, {precision}: {done.stderr.strip()[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def sides_of() -> list[tuple[str, str]]:
    """Every side and precision: the authors' in fp32 alone, ours in the one that it chooses."""
    fastest = fastest_precision()[0]
    precisions = ["fp32"] if fastest == "fp32" else ["fp32", "bf16"]
    trainers = [
        (f"trainer {name}", each) for name in ("roberta", "modernbert") for each in precisions
    ]
    return [("authors", "fp32"), *trainers, ("alignmlm before", fastest), ("alignmlm", fastest)]


def compare(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each side, measured in turns."""
    build_store(recipe_of("authors", "fp32", asked, asked.folder).data)
    sides = sides_of()
    found: dict[tuple[str, str], list[dict[str, float]]] = {side: [] for side in sides}
    for number in range(asked.rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            found[side].append(in_a_process(*side, asked))
    vocabulary, rows, seq_len = shape_of(asked)
    shape = {"size": asked.size, "vocabulary": 2 * vocabulary, "rows": rows, "seq_len": seq_len}
    origin = {
        "steps": asked.steps, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "device": device_name(), "commit": commit(),
    }  # fmt: skip
    return [
        {"side": side, "precision": precision, **shape}
        | {key: [round(one[key], 3) for one in parts] for key in parts[0]}
        | origin
        for (side, precision), parts in found.items()
    ]


def table_of(rows: list[dict[str, Any]]) -> WholeTable:
    """Medians of all sides at one size."""
    shape = "{size}: vocabulary {vocabulary:,}, {rows} rows of {seq_len} tokens".format(**rows[0])
    table = new_table(shape)
    names = ["side", "precision", "tokens/s", "spread", "peak GiB", "of a step, GiB"]
    for name in names + (["MFU (%)"] if "mfu" in rows[0] else []):
        table.add_column(name)
    for row in rows:
        speeds = row["tokens_per_s"]
        table.add_row(
            row["side"], row["precision"], f"{median(speeds):,.0f}",
            f"{min(speeds):,.0f} to {max(speeds):,.0f}",
            f"{median(row['peak_mib']) / 1024:.2f}", f"{median(row['step_mib']) / 1024:.2f}",
            *([f"{100 * median(row['mfu']):.1f}"] if "mfu" in row else []),
        )  # fmt: skip
    return table


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", default="tiny", choices=[size for size in SIZES if size in SHAPES]
    )
    parser.add_argument("--steps", type=int, default=10, help="that are timed in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side")
    parser.add_argument("--folder", type=Path, help="of the corpus; default: one that is removed")
    parser.add_argument("--out", type=Path, help=f"default: {RESULTS.name} in benchmarks/results")
    parser.add_argument("--smoke", action="store_true", help="sample world; kept with --out alone")
    parser.add_argument("--side", choices=SIDES, help="measure one side in this process")
    parser.add_argument("--precision", default="fp32", help="of that side")
    asked = parser.parse_args()
    if asked.smoke:
        asked.steps, asked.rounds = 2, 1
    return asked


def main() -> None:
    """Measure, print the table, keep the rows."""
    asked = arguments()
    if asked.side:
        print_line(json.dumps(measure_steps(asked.side, asked.precision, asked)))
        return
    with tempfile.TemporaryDirectory() as folder:
        asked.folder = asked.folder or Path(folder)
        rows = compare(asked)
    keep_rows(rows, asked, RESULTS)
    console.print(table_of(rows))


if __name__ == "__main__":
    main()
