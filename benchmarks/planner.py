"""The planner against runs: ranks on nodes of their own, joined by links of a known speed.

Each rank lives in a network namespace with its own address (root and iproute2 are needed). For each
ZeRO stage it trains over an unshaped link, and over links that `tc` limits. From the unshaped steps
and two timed all-reduces for each link the planner predicts the steps on the limited ones.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from machine import commit, processor

from alignmlm.console.terminal import console, new_table, print_line, set_up_logging
from alignmlm.planning.communication import transfers
from alignmlm.planning.jobs import POLICIES, Cluster, GpuSpeed, Workload
from alignmlm.planning.shapes import EncoderShape, sized
from alignmlm.planning.steps import plan_stage

RESULTS = Path(__file__).parent / "results" / "planner.jsonl"
HUB, NODE = "alignmlm-hub", "alignmlm-node{}"
ADDRESS = "10.79.0.{}"
UNSHAPED = 0  # Mbit/s
SEQ_LEN, ROWS = 32, 4  # rows of a rank
PROBE_BYTES, PROBES = 2**22, 5


def recipe_of(store: Path, size: str, ranks: int) -> list[str]:
    """The settings of the measured recipe."""
    return [
        f"--data.store={store}",
        '--data.sources=[{"language": "qaa-Latn", "files": ["sample:600"]}]',
        "--data.vocabulary_size=400",
        "--data.validation=0.1",
        "--languages.ids=[qaa-Latn, qaa-Latn-x-inv-trans]",
        "--objective.name=mlm",
        f"--model.size={size}",
        "--train.precision=fp32",
        f"--train.seq_len={SEQ_LEN}",
        f"--train.batch_rows={ROWS * ranks}",
    ]


def run(*command: str) -> None:
    """Run a system command that must succeed."""
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)


@contextmanager
def nodes(count: int) -> Iterator[None]:
    """Namespaces with an eth0 each, joined by a bridge in one more; they are removed at the end."""
    names = [HUB, *(NODE.format(number) for number in range(count))]
    made = []
    try:
        for name in names:
            run("ip", "netns", "add", name)
            made.append(name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", HUB, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", HUB, "link", "set", "br0", "up")
        for number, name in enumerate(names[1:]):
            port = f"port{number}"
            pair = ("type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "-n", HUB, "link", "add", port, *pair)
            run("ip", "-n", HUB, "link", "set", port, "master", "br0", "up")
            run("ip", "-n", name, "addr", "add", f"{ADDRESS.format(number + 1)}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        yield
    finally:
        for name in made:
            run("ip", "netns", "del", name)


def shape_link(mbit: int) -> None:
    """Limit what this node sends; every rank sends as much as it receives."""
    subprocess.run(["tc", "qdisc", "del", "dev", "eth0", "root"], capture_output=True, check=False)
    if mbit != UNSHAPED:
        limit = ("rate", f"{mbit}mbit", "burst", "128kb", "latency", "400ms")
        run("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", *limit)


def sent_bytes() -> int:
    """Bytes that this node has sent, headers included."""
    return int(Path("/sys/class/net/eth0/statistics/tx_bytes").read_text())


def probe_link() -> tuple[float, float]:
    """Gbit/s that a ring all-reduce reaches on this link, and microseconds of an empty hop."""
    import torch

    ranks = torch.distributed.get_world_size()
    if ranks == 1:
        return 0.0, 0.0
    found = []
    for size in (4, PROBE_BYTES):
        tensor, times = torch.zeros(size // 4), []
        for _ in range(PROBES):
            start = time.perf_counter()
            torch.distributed.all_reduce(tensor)
            times.append(time.perf_counter() - start)
        found.append(median(times))
    hop_s = found[0] / (2 * (ranks - 1))
    flowing = max(found[1] - found[0], 1e-9)
    return 2 * (ranks - 1) / ranks * PROBE_BYTES * 8e-9 / flowing, 1e6 * hop_s


def tensor_bytes() -> int:
    """Bytes of all tensors of this process, gradients included, each memory once."""
    import torch

    found: dict[int, int] = {}
    for held in gc.get_objects():
        if issubclass(type(held), torch.Tensor):
            for tensor in (held, held.grad if held.is_leaf else None):
                if tensor is not None:
                    storage = tensor.untyped_storage()
                    found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def train_stage(stage: int, settings: list[str], links: list[int], asked: Any) -> dict[str, Any]:
    """What one rank measures at a ZeRO stage: bytes held, and steps over each link."""
    import torch

    from alignmlm.config import load_recipe
    from alignmlm.pretraining.assembly import assemble
    from alignmlm.pretraining.engine import Engine, engine_settings
    from alignmlm.pretraining.loop import step_batches
    from alignmlm.pretraining.policy import read_policy
    from alignmlm.pretraining.state import start_moments
    from alignmlm.pretraining.training_run import make_module

    recipe = load_recipe(None, settings)
    assembly = assemble(recipe)
    path = Path(f"ds_configs/zero{stage}.json")
    ranks, before = torch.distributed.get_world_size(), tensor_bytes()
    told = engine_settings(read_policy(path), path, recipe.train, recipe.optimizer, ranks)
    engine = Engine(make_module(recipe, assembly), told, recipe.optimizer)
    start_moments(engine, 0)
    batches = step_batches(engine, assembly.loader, recipe.train, 0)
    shape = engine.module.masked_model.model.config
    measured: dict[str, Any] = {
        "stage": stage,
        "parameters": sum(getattr(p, "ds_numel", p.numel()) for p in engine.module.parameters()),
        "vocabulary": shape.vocab_size,
        "links": {str(mbit): [] for mbit in links},
    }

    def step() -> None:
        engine.step(batches, engine.sync_batches(batches), 1e-4, 0)

    step()
    measured["held_bytes"] = tensor_bytes() - before
    for _ in range(asked.rounds):
        for mbit in links:
            shape_link(mbit)
            gbit, hop_us = probe_link()
            step()
            torch.distributed.barrier()
            sent, start = sent_bytes(), time.perf_counter()
            for _ in range(asked.steps):
                step()
            torch.distributed.barrier()
            passed = (time.perf_counter() - start) / asked.steps
            row = {"step_s": passed, "sent_bytes": (sent_bytes() - sent) / asked.steps}
            measured["links"][str(mbit)].append(row | {"gbit_s": gbit, "hop_us": hop_us})
    shape_link(UNSHAPED)
    return measured


def work(asked: argparse.Namespace) -> None:
    """What a rank does: every stage in turn; rank 0 writes what it measured."""
    from alignmlm.cli import leave
    from alignmlm.ranks.distributed import start_distributed

    set_up_logging()
    rank, ranks = start_distributed()
    settings = recipe_of(asked.store, asked.size, ranks)
    links = [UNSHAPED, *asked.links] if ranks > 1 else [UNSHAPED]
    with Path(os.devnull if rank else asked.output).open("a") as file:
        for stage in asked.stages:
            file.write(json.dumps(train_stage(stage, settings, links, asked)) + "\n")
            file.flush()
            gc.collect()
    leave(0)


def start_ranks(count: int, asked: argparse.Namespace, store: Path, output: Path) -> None:
    """Start one rank on each node and wait for all.

    Raises:
        SystemExit: a rank failed; the others are ended.
    """
    stages = [str(stage) for stage in asked.stages]
    command = [sys.executable, __file__, "--worker", f"--store={store}", f"--output={output}"]
    command += [f"--size={asked.size}", f"--steps={asked.steps}", f"--rounds={asked.rounds}"]
    command += ["--stages", *stages, "--links", *map(str, asked.links)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_", "PMI_"))}
    alike = {"WORLD_SIZE": str(count), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    alike |= {"MASTER_ADDR": ADDRESS.format(1), "MASTER_PORT": "29555", "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            ["ip", "netns", "exec", NODE.format(rank), *command],
            env=kept | alike | {"RANK": str(rank), "GLOO_SOCKET_IFNAME": "eth0"},
        )
        for rank in range(count)
    ]
    try:
        codes = [process.wait(timeout=asked.timeout_s) for process in started]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
    if any(codes):
        raise SystemExit(f"ranks ended with {codes}")


def measured_job(row: dict[str, Any], size: str, ranks: int) -> Workload:
    """The measured recipe as the planner has it."""
    shape: EncoderShape = sized(size, row["vocabulary"], SEQ_LEN)
    return Workload(shape=shape, seq_len=SEQ_LEN, batch_rows=ROWS * ranks, precision="fp32")


def middle(rows: Sequence[dict[str, float]], name: str) -> float:
    """The median of one number over the rounds."""
    return median(row[name] for row in rows)


def compare(row: dict[str, Any], size: str, ranks: int) -> Iterator[dict[str, Any]]:
    """Predicted and measured steps of a stage, one object for each limited link.

    What a rank computes is its unshaped step less the communication that the planner sees in it.
    """
    limited = [int(name) for name in row["links"] if int(name) != UNSHAPED]
    if not limited:
        return
    job, policy = measured_job(row, size, ranks), POLICIES[row["stage"]]
    tokens = job.tokens / ranks

    def planned(mbit: int, compute_s: float) -> Any:
        found = row["links"][str(mbit)]
        link = Cluster(
            nodes=ranks,
            gpus=1,
            link_gbit_s=middle(found, "gbit_s"),
            link_latency_us=middle(found, "hop_us"),
        )
        return plan_stage(
            job, link, GpuSpeed(tokens_per_s=tokens / compute_s), policy, "ring", "gloo"
        )

    free = row["links"][str(UNSHAPED)]
    unshaped_s = middle(free, "step_s")
    compute_s = max(unshaped_s - planned(UNSHAPED, 1.0).communication_s, 0.05 * unshaped_s)
    sent = sum(each.sent_bytes(ranks) for each in transfers(job, policy, ranks, "gloo"))
    for mbit in limited:
        found = row["links"][str(mbit)]
        predicted, step_s = planned(mbit, compute_s).serial_step_s, middle(found, "step_s")
        yield {
            "ranks": ranks,
            "stage": row["stage"],
            "parameters": row["parameters"],
            "mbit_s": mbit,
            "sent_mb": middle(found, "sent_bytes") / 1e6,
            "predicted_sent_mb": sent / 1e6,
            "unshaped_s": unshaped_s,
            "step_s": step_s,
            "predicted_s": predicted,
            "error": predicted / step_s - 1,
        }


def show(rows: list[dict[str, Any]]) -> None:
    """The table of predicted and measured steps."""
    table = new_table("predicted and measured on limited links")
    for name in rows[0] if rows else ():
        table.add_column(name, justify="right")
    for row in rows:
        cells = (f"{v:,.3f}" if isinstance(v, float) else f"{v:,}" for v in row.values())
        table.add_row(*cells)
    console.print(table)


def campaign(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure every number of ranks; what was held and what was compared, as rows."""
    from alignmlm.config import load_recipe
    from alignmlm.corpus.build import build_store

    where = {"device": processor(), "commit": commit(), "size": asked.size}
    where["load_before"] = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        build_store(load_recipe(None, recipe_of(store, asked.size, 1)).data)
        for ranks in asked.ranks:
            output = Path(folder) / f"ranks{ranks}.jsonl"
            with nodes(ranks):
                start_ranks(ranks, asked, store, output)
            for line in output.read_text().splitlines():
                row = json.loads(line)
                held = {"ranks": ranks, "stage": row["stage"], "held_bytes": row["held_bytes"]}
                alone = middle(row["links"][str(UNSHAPED)], "step_s")
                yield where | held | {"unshaped_s": alone, "parameters": row["parameters"]}
                yield from (where | found for found in compare(row, asked.size, ranks))


def main() -> None:
    """Measure, print the table, keep the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--links", type=int, nargs="+", default=[1000, 100], help="Mbit/s")
    parser.add_argument("--size", default="small", help="of the model")
    parser.add_argument("--steps", type=int, default=3, help="steps between two looks at the clock")
    parser.add_argument("--rounds", type=int, default=3, help="visits of each link")
    parser.add_argument("--timeout_s", type=int, default=1800)
    parser.add_argument("--smoke", action="store_true", help="two ranks, one step; not kept")
    for name in ("--worker", "--store", "--output"):
        options = {"action": "store_true"} if name == "--worker" else {"type": Path}
        parser.add_argument(name, help=argparse.SUPPRESS, **options)
    asked = parser.parse_args()
    if asked.worker:
        work(asked)
        return
    if os.geteuid() != 0:
        print_line("NOT RUN: network namespaces need root")
        return
    if asked.smoke:
        asked.ranks, asked.links, asked.size, asked.steps, asked.rounds = [2], [100], "tiny", 1, 1
    rows = []
    RESULTS.parent.mkdir(exist_ok=True)
    for row in campaign(asked):
        rows.append(row)
        if not asked.smoke:
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    about = {"device", "commit", "size", "load_before"}
    compared = [row for row in rows if "error" in row]
    show([{k: v for k, v in row.items() if k not in about} for row in compared])


if __name__ == "__main__":
    main()
