"""Building a store with 1, 2 and 4 MPI ranks on this machine: seconds a step, memory, hashes.

Each row is appended to benchmarks/results/build.jsonl. The store of every number of ranks must be
the same to the last byte. `--smoke` builds the sample world.
"""

import argparse
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from machine import commit, processor

from alignmlm.config import load_recipe
from alignmlm.console.terminal import WholeTable, console, new_table
from alignmlm.corpus.build import BuildProgress, build_store
from alignmlm.corpus.mpi import launched_ranks, share_threads
from alignmlm.corpus.settings import DataConfig
from alignmlm.data.store import Store
from alignmlm.errors import DataError

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
RECIPE = HERE.parent / "recipes" / "wikipedia-mlm.yaml"
RESULTS = HERE / "results" / "build.jsonl"
RANKS, SMOKE_RANKS = (1, 2, 4), (1, 2)
SMOKE = '--data.sources=[{"language": "qaa-Latn", "files": ["sample:2000"]}]'
STEPS = ("sentences", "tokenizer", "tokens", "shards")
MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMP_NUM_THREADS": "1",
}


def config_of(smoke: bool, store: Path) -> DataConfig:
    """What is built."""
    recipe = load_recipe(None, [SMOKE]) if smoke else load_recipe(RECIPE)
    return replace(recipe.data, store=str(store))


def peak_mb() -> float:
    """The most memory that this process has had resident, in MB of 10^6 bytes."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    [peak] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * 1024 / 1e6


def work(smoke: bool, store: Path, result: Path) -> None:
    """What each rank runs: build, and let rank 0 write down what was measured."""
    share_threads()
    ranks = launched_ranks()
    starts: dict[str, float] = {}

    def report(progress: BuildProgress) -> None:
        starts.setdefault(progress.step, time.perf_counter())

    ranks.meet()
    started = time.perf_counter()
    build_store(config_of(smoke, store), report, ranks)
    ended = time.perf_counter()
    peaks = ranks.gathered(peak_mb())
    if ranks.first:
        times = [started, *(starts[step] for step in STEPS[1:]), ended]
        steps = {step: times[i + 1] - times[i] for i, step in enumerate(STEPS)}
        measured = {"seconds": ended - started, "step_seconds": steps, "peak_mb": peaks}
        result.write_text(json.dumps(measured), "utf-8")


def shards_sha256(store: Path) -> str:
    """One SHA-256 over the names and bytes of all shard files."""
    whole = hashlib.sha256()
    for path in sorted([*store.rglob("*.bin"), *store.rglob("*.idx")]):
        whole.update(str(path.relative_to(store)).encode() + path.read_bytes())
    return whole.hexdigest()


def measure(ranks: int, smoke: bool, folder: Path) -> dict[str, object]:
    """One row: a build with some ranks in a fresh folder.

    Raises:
        DataError: the build failed.
    """
    store, result = folder / f"store-{ranks}", folder / f"result-{ranks}.json"
    worker = [sys.executable, __file__, "--worker", str(store), str(result)]
    command = ["mpirun", "-n", str(ranks), "--bind-to", "none", *worker, *["--smoke"] * smoke]
    load = os.getloadavg()[0]
    if subprocess.run(command, env=os.environ | MPI, check=False).returncode:
        raise DataError(f"building with {ranks} ranks failed: {' '.join(command)}")
    tokens = sum(
        entry.tokens
        for splits in Store(store).manifest.splits.values()
        for entries in splits.values()
        for entry in entries
    )
    measured = json.loads(result.read_text("utf-8"))
    return {
        "commit": commit(),
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": load,  # of the machine, by others as well
        "load_after": os.getloadavg()[0],
        "corpus": "sample:2000" if smoke else RECIPE.name,
        "ranks": ranks,
        "tokens": tokens,
        "tokens_per_s": tokens / measured["seconds"],
        **measured,
        "shards_sha256": shards_sha256(store),
    }


def rows(counts: tuple[int, ...], smoke: bool) -> Iterator[dict]:
    """A row for each number of ranks."""
    with tempfile.TemporaryDirectory(prefix="alignmlm-build-") as folder:
        for ranks in counts:
            yield measure(ranks, smoke, Path(folder))


def table_of(found: list[dict]) -> WholeTable:
    """All rows as a table."""
    first = found[0]
    cores = f"{first['cores']} cores; more ranks than cores share them (oversubscribed)"
    table = new_table(f"{first['corpus']}, {first['tokens']:,} tokens · {first['cpu']}, {cores}")
    table.add_column("ranks")
    names = (*(f"{step} s" for step in STEPS), "all s", "tokens/s", "peak MB per rank", "SHA-256")
    for name in names:
        table.add_column(name, justify="right")
    for row in found:
        over = " (oversubscribed)" if row["ranks"] > row["cores"] else ""
        steps = (f"{row['step_seconds'][step]:.1f}" for step in STEPS)
        peaks = ", ".join(f"{peak:.0f}" for peak in row["peak_mb"])
        whole = (f"{row['seconds']:.1f}", f"{row['tokens_per_s']:,.0f}", peaks)
        table.add_row(f"{row['ranks']}{over}", *steps, *whole, row["shards_sha256"][:12])
    return table


def main() -> None:
    """Measure, keep and show; with --worker be one rank of a build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="the sample world, in seconds")
    parser.add_argument("--ranks", type=int, nargs="+", help="numbers of ranks; default 1 2 4")
    parser.add_argument("--worker", type=Path, nargs=2, help=argparse.SUPPRESS)
    values = parser.parse_args()
    if values.worker:
        work(values.smoke, *values.worker)
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    default = SMOKE_RANKS if values.smoke else RANKS
    found = []
    for row in rows(tuple(values.ranks or default), values.smoke):
        found.append(row)
        if not values.smoke:
            RESULTS.parent.mkdir(exist_ok=True)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    console.print(table_of(found))
    if len({row["shards_sha256"] for row in found}) > 1:
        raise DataError("the shards depend on the number of ranks")


if __name__ == "__main__":
    main()
