"""Checkpoints saved at one world size and ZeRO stage and loaded at each other, on this CPU.

Every cell trains a few steps more and is compared with the run that was not interrupted, at the
world size and stage of the save: same cell to the last bit, other cells within 1e-5 nats.

    python benchmarks/checkpoint_matrix.py            1, 2 and 4 ranks, stages 0 to 3: 144 cells
    python benchmarks/checkpoint_matrix.py --muon     the same with ModernBERT and Muon
    python benchmarks/checkpoint_matrix.py --smoke    1 and 2 ranks, stages 0 and 3: 16 cells
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import torch
import xxhash
from forked_ranks import LOOPBACK, forked, take_place
from machine import commit, processor

from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.numerics.counter_rng import key
from alignmlm.pretraining.assembly import Assembly, assemble
from alignmlm.pretraining.checkpoints import Progress, Rotation, save_checkpoint
from alignmlm.pretraining.engine import Engine, engine_settings
from alignmlm.pretraining.loop import step_batches
from alignmlm.pretraining.optimizers import learning_rate
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.state import (
    collect_state,
    load_parameters,
    restore_state,
    resume,
    start_moments,
)
from alignmlm.pretraining.training_run import make_module
from alignmlm.ranks.distributed import start_distributed
from alignmlm.ranks.network import free_port
from alignmlm.ranks.rank_zero import from_rank_zero

RESULTS = Path(__file__).parent / "results"
SAVED_STEP, STEPS = 4, 8
BOUND_NATS = 1e-5
SMALL = [
    '--data.sources=[{"language": "qaa-Latn", "files": ["sample:300"]}]',
    "--data.vocabulary_size=320",
    "--data.validation=0.1",
    "--dictionary.fraction=0.5",
    f"--train.steps={STEPS}",
    "--train.seq_len=32",
    "--train.batch_rows=8",
    "--train.precision=fp32",
    "--optimizer.warmup_steps=2",
]
MUON = ["--model.architecture=modernbert", "--optimizer.name=muon"]


@dataclass(frozen=True, order=True)
class Place:
    """A world size and a ZeRO stage."""

    world: int
    stage: int

    def __str__(self) -> str:
        return f"{self.world} x {self.stage}"


@dataclass(frozen=True)
class Continued:
    """What the steps after a save came to."""

    losses_nats: list[float]
    state_xxh3: str


def state_hash(state: dict[str, torch.Tensor]) -> str:
    """One hash of all tensors of a state."""
    digest = xxhash.xxh3_64()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().numpy())
    return digest.hexdigest()


def make_engine(recipe: Recipe, assembly: Assembly, stage: int, folder: Path) -> Engine:
    """An engine that goes on from a folder's checkpoint, if there is one, as a run does."""
    policy = {"zero_optimization": {"stage": stage}}
    world = torch.distributed.get_world_size()
    module, saved = make_module(recipe, assembly), resume(folder)
    if saved is not None:
        load_parameters(module, saved[1])
    settings = engine_settings(policy, None, recipe.train, recipe.optimizer, world)
    engine = Engine(module, settings, recipe.optimizer)
    start_moments(engine, saved[0].step if saved else 0)
    if saved is not None:
        restore_state(engine, saved[1])
    return engine


def train_steps(
    engine: Engine, recipe: Recipe, assembly: Assembly, first: int, stop: int
) -> list[float]:
    """The losses of steps [first, stop) over all ranks, in nats."""
    losses_nats = []
    for step in range(first, stop):
        batches = step_batches(engine, assembly.loader, recipe.train, step)
        masked = engine.sync_batches(batches)
        rate = learning_rate(step, recipe.optimizer, STEPS)
        losses, _ = engine.step(batches, masked, rate, key("dropout", 0, step, engine.rank) % 2**62)
        nats = engine.sum_over_ranks(losses.nats.double().sum())
        losses_nats.append(float(nats / masked))
    return losses_nats


def continued(engine: Engine, recipe: Recipe, assembly: Assembly) -> Continued:
    """The steps after a save; the engine is of no use afterwards."""
    losses = train_steps(engine, recipe, assembly, SAVED_STEP, STEPS)
    found = Continued(losses, state_hash(collect_state(engine)))
    engine.deepspeed.destroy()
    return found


def save_all(recipe: Recipe, folder: Path, stages: list[int]) -> dict[str, dict]:
    """Save at every stage at this world size, and go on without an interruption."""
    assembly, world, found = assemble(recipe), torch.distributed.get_world_size(), {}
    for stage in stages:
        place = Place(world, stage)
        home = folder / str(place) / "checkpoints"
        engine = make_engine(recipe, assembly, stage, folder / str(place))
        train_steps(engine, recipe, assembly, 0, SAVED_STEP)
        state = collect_state(engine)
        if engine.rank == 0:
            home.mkdir(parents=True)
            progress = Progress(SAVED_STEP, 0, 0.0, assembly.store.manifest.data_id, 0, {})
            save_checkpoint(home, state, progress, Rotation())
        found[str(place)] = asdict(continued(engine, recipe, assembly))
    return found


def load_all(
    recipe: Recipe, folder: Path, stages: list[int], saved: list[Place]
) -> dict[str, dict]:
    """Load every checkpoint at every stage at this world size, and go on."""
    assembly, world, found = assemble(recipe), torch.distributed.get_world_size(), {}
    for stage, source in product(stages, saved):
        engine = make_engine(recipe, assembly, stage, folder / str(source))
        cell = f"{source} to {Place(world, stage)}"
        found[cell] = asdict(continued(engine, recipe, assembly))
    return found


def on_ranks(world: int, result: Path, work: Callable[[], dict]) -> dict[str, dict]:
    """What rank 0 of so many forked ranks found.

    Raises:
        SystemExit: a rank failed; the others are ended.
    """
    port = free_port()
    children = [forked(partial(ranked, rank, world, port, result, work)) for rank in range(world)]
    for _ in range(world):
        child, status = os.waitpid(-1, 0)
        children.remove(child)
        if status:
            for other in children:
                os.kill(other, signal.SIGKILL)
            sys.exit(f"a rank of {world} failed with status {os.waitstatus_to_exitcode(status)}")
    return json.loads(result.read_text("utf-8"))


def ranked(rank: int, world: int, port: int, result: Path, work: Callable[[], dict]) -> int:
    """Do the work of one rank in this forked process; rank 0 writes what was found."""
    take_place(rank, world, LOOPBACK, port)
    start_distributed()
    torch.set_num_threads(1)
    found = work()
    from_rank_zero(result.write_text)(json.dumps(found), encoding="utf-8")
    return 0


def build(recipe: Recipe) -> None:
    """Build the store in a process of its own: its threads must not be forked."""

    def work() -> int:
        build_store(recipe.data)
        return 0

    if os.waitpid(forked(work), 0)[1]:
        sys.exit("the store could not be built")


def run_matrix(
    worlds: list[int], stages: list[int], settings: list[str], folder: Path
) -> list[dict]:
    """All cells: the largest difference of a loss, and whether all is the same to the last bit."""
    recipe = load_recipe(None, [*settings, f"--data.store={folder / 'store'}"])
    build(recipe)
    saved, loaded = {}, {}
    for world in worlds:
        saved |= on_ranks(world, folder / "saved", partial(save_all, recipe, folder, stages))
    places = [Place(world, stage) for world, stage in product(worlds, stages)]
    for world in worlds:
        work = partial(load_all, recipe, folder, stages, places)
        loaded |= on_ranks(world, folder / "loaded", work)
    return [
        cell(source, target, saved[str(source)], loaded[f"{source} to {target}"])
        for source, target in product(places, places)
    ]


def cell(source: Place, target: Place, whole: dict, again: dict) -> dict[str, object]:
    """One cell of the table; whether it holds what it must."""
    pairs = zip(whole["losses_nats"], again["losses_nats"], strict=True)
    difference = max(abs(a - b) for a, b in pairs)
    exact = whole == again
    return {
        "saved": asdict(source),
        "loaded": asdict(target),
        "difference_nats": difference,
        "exact": exact,
        "holds": exact if source == target else difference <= BOUND_NATS,
    }


def table(cells: list[dict], places: list[Place]) -> str:
    """The cells in Markdown: rows save, columns load."""
    known = {(Place(**c["saved"]), Place(**c["loaded"])): c for c in cells}

    def shown(found: dict) -> str:
        value = "exact" if found["exact"] else f"{found['difference_nats']:.0e}"
        return value if found["holds"] else f"**{value}**"

    lines = [
        "Largest difference of a loss in nats, over the steps after loading. Rows: ranks x ZeRO "
        "stage of the save; columns: those of the load. exact: losses, parameters and moments "
        "are the same to the last bit.",
        "",
        "| saved | " + " | ".join(map(str, places)) + " |",
        "|---" * (len(places) + 1) + "|",
    ]
    for source in places:
        row = (shown(known[source, target]) for target in places)
        lines.append(f"| {source} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the matrix, write JSON and Markdown, and fail where a cell does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="16 cells, nothing is written")
    parser.add_argument("--muon", action="store_true", help="ModernBERT and Muon")
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--stages", type=int, nargs="+", default=[0, 1, 2, 3])
    values = parser.parse_args()
    worlds, stages = ([1, 2], [0, 3]) if values.smoke else (values.worlds, values.stages)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        settings = SMALL + (MUON if values.muon else [])
        cells = run_matrix(worlds, stages, settings, Path(folder))
    told = table(cells, [Place(w, s) for w, s in product(worlds, stages)])
    failed = sum(not found["holds"] for found in cells)
    sys.stdout.write(f"{told}\n{len(cells)} cells, {failed} do not hold\n")
    if not values.smoke:
        about = {"commit": commit(), "cpu": processor(), "torch": torch.__version__}
        about |= {"seconds": round(time.perf_counter() - started, 1), "bound_nats": BOUND_NATS}
        about |= {"saved_step": SAVED_STEP, "steps": STEPS}
        text = json.dumps(about | {"cells": cells}, indent=1)
        name = "checkpoint_matrix" + ("_muon" if values.muon else "")
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        (RESULTS / f"{name}.md").write_text(told, encoding="utf-8")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
