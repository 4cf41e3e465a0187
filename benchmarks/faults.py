"""Runs of two ranks that are hurt at random moments, and started again until they are done.

Each trial must end with the tensors of the run that nobody hurt, to the last byte, and no
checkpoint that was announced may be lost. The ranks are forks of this process, which has imported
everything before: importing takes far longer than these runs do.

    python benchmarks/faults.py --trials 100 --seed 0

Full disks and links that go down need root: they are a file system and a network of their own.
"""

import argparse
import json
import logging
import os
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from subprocess import run
from time import monotonic, sleep

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "DS_ACCELERATOR": "cpu"}

from forked_ranks import LOOPBACK, forked, take_place
from machine import commit, processor
from own_network import HERE, THERE, own_network, plug_in, unplug

from alignmlm.cli import guarded, leave
from alignmlm.commands.runs import train_command
from alignmlm.console.terminal import WholeTable, console, new_table, set_up_logging
from alignmlm.errors import ExitCode
from alignmlm.pretraining import loop, saving
from alignmlm.pretraining.checkpoints import LATEST, STATE, newest_checkpoint
from alignmlm.ranks.network import free_port

log = logging.getLogger(__name__)

STEPS, RANKS, MOST_STARTS = 16, 2, 6
RECIPE = [
    '--data.sources=[{"language": "qaa-Latn", "files": ["sample:600"]}]',
    "--data.vocabulary_size=400", "--data.validation=0.1", "--dictionary.fraction=0.5",
    f"--train.steps={STEPS}", "--train.seq_len=32", "--train.batch_rows=8", "--train.log_steps=1",
    f"--train.validation_steps={STEPS}", "--train.validation_rows=8", "--run.checkpoint_steps=3",
    "--optimizer.warmup_steps=2", "--model.dropout=0.1",
]  # fmt: skip
KINDS = ("kill step", "kill save", "kill read", "sigterm", "freeze", "link down", "disk full")
RANK_GONE = ("kill step", "kill save", "kill read", "freeze", "link down")
AS_ROOT = ("link down", "disk full")
SAVE_S, READ_S, STEP_S = 0.05, 0.01, 0.3  # about what each takes: a moment within is drawn


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One row of the results."""

    kind: str
    seed: int
    rank: int  # the one that was hurt
    starts: int
    codes: list[list[int]]  # of each start, by rank; negative: the signal that ended it
    announced: int  # the newest step that LATEST named
    lost: bool  # whether it, and what came after it, could not be loaded
    equal: bool  # the final tensors are those of the run that nobody hurt
    noticed_s: float  # from the fault to the end of the last rank that was not hurt; 0: none ended
    named: bool  # a rank that was left said which one is gone


@dataclass(slots=True)
class Scene:
    """A trial under way."""

    folder: Path
    random: random.Random
    rank: int
    timeout_s: float
    address: str = LOOPBACK  # of rank 0
    announced: int = 0
    hurt_at: float = 0.0
    noticed_s: float = 0.0

    @property
    def text(self) -> Path:
        """What the ranks said."""
        return self.folder.with_suffix(".log")

    def look(self) -> None:
        """Keep the newest checkpoint that was announced."""
        latest = self.folder / "checkpoints" / LATEST
        if latest.is_file():
            name = latest.read_text("utf-8").strip()
            self.announced = max(self.announced, int(name.removeprefix("step-") or 0))

    def step(self) -> int:
        """The newest step in metrics.jsonl, whose last line may be half written."""
        path = self.folder / "metrics.jsonl"
        whole, _, _ = path.read_text("utf-8").rpartition("\n") if path.is_file() else ("", "", "")
        return json.loads(whole.splitlines()[-1])["step"] if whole else 0


def arguments_of(scene: Scene, store: Path) -> list[str]:
    """The command line of a rank."""
    limit = f"--run.collective_timeout_s={scene.timeout_s}"
    return [*RECIPE, f"--data.store={store}", f"--run.dir={scene.folder}", limit]


def train(scene: Scene, rank: int, port: int, store: Path) -> int:
    """The exit code of a rank that this process, a fork, is from now on."""
    output = os.open(scene.text, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    take_place(rank, RANKS, scene.address, port, apart=scene.address != LOOPBACK)
    logging.getLogger().handlers.clear()
    try:
        leave(guarded(train_command, arguments_of(scene, store)))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def start(scene: Scene, store: Path, trap: Callable[[int], None] | None = None) -> list[int]:
    """Process ids of the ranks, which have just been started."""
    port = free_port()

    def work(rank: int) -> int:
        if trap is not None:
            trap(rank)
        return train(scene, rank, port, store)

    return [forked(partial(work, rank)) for rank in range(RANKS)]


def follow(scene: Scene, pids: list[int], act: Callable[[list[int]], bool]) -> list[int]:
    """Exit codes of the ranks; `act` is called over and over until it has done its work."""
    codes: list[int | None] = [None] * len(pids)
    acted = False
    while None in codes:
        scene.look()
        acted = acted or act(pids)
        for rank, pid in enumerate(pids):
            if codes[rank] is None:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    codes[rank] = os.waitstatus_to_exitcode(status)
                    note_end(scene, rank, codes[rank])
        others = [code for rank, code in enumerate(codes) if rank != scene.rank]
        if scene.hurt_at and None not in others and codes[scene.rank] is None:
            give_up_on(scene, pids[scene.rank])
        sleep(0.002)
    return [code for code in codes if code is not None]


def note_end(scene: Scene, rank: int, code: int | None) -> None:
    """Measure how long a rank went on after the fault; one that killed itself is the fault."""
    if rank == scene.rank and code == -signal.SIGKILL and not scene.hurt_at:
        scene.hurt_at = monotonic()
    elif scene.hurt_at and rank != scene.rank:
        scene.noticed_s = max(scene.noticed_s, monotonic() - scene.hurt_at)


def give_up_on(scene: Scene, pid: int) -> None:
    """End a frozen rank as soon as all others have gone; others get some time to end."""
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    if state == "T" or monotonic() - scene.hurt_at > 10 * scene.timeout_s:
        os.kill(pid, signal.SIGKILL)


def at_a_moment(scene: Scene, hurt: Callable[[list[int]], None]) -> Callable[[list[int]], bool]:
    """What hurts the ranks once, at a random moment of a random step."""
    step, delay_s = scene.random.randrange(1, STEPS - 1), scene.random.uniform(0, STEP_S)

    def act(pids: list[int]) -> bool:
        if scene.step() < step:
            return False
        sleep(delay_s)
        scene.hurt_at = monotonic()
        hurt(pids)
        return True

    return act


def kill_within(scene: Scene, place: object, name: str, most_s: float, rank: int) -> None:
    """In a fork: kill -9 of this process at a random moment of a random call of a function."""
    if rank != scene.rank:
        return
    turn, delay_s = scene.random.randrange(1, 5), scene.random.uniform(0, most_s)
    real, calls = getattr(place, name), iter(range(1, 10**9))

    def armed(*arguments: object) -> object:
        if next(calls) == turn:
            threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return real(*arguments)

    setattr(place, name, armed)


def cut_off(scene: Scene, store: Path) -> list[int]:
    """Exit codes of a start whose rank to be hurt is on a machine of its own, until its link fails.

    The rest of the ranks are on this one.
    """
    scene.address = THERE if scene.rank == 0 else HERE
    (ready, tell_ready), (go, tell_go) = os.pipe(), os.pipe()

    def trap(rank: int) -> None:
        if rank == scene.rank:
            own_network()
            os.write(tell_ready, b"!")
        os.read(go, 1)

    pids = start(scene, store, trap)
    os.read(ready, 1)
    plug_in(pids[scene.rank])
    os.write(tell_go, b"!" * RANKS)
    for end in (ready, tell_ready, go, tell_go):
        os.close(end)
    codes = follow(scene, pids, at_a_moment(scene, lambda pids: unplug()))
    scene.address = LOOPBACK
    return codes


def nothing(pids: list[int]) -> bool:
    """Let the ranks be."""
    return True


def send(scene: Scene, number: int, pids: list[int]) -> None:
    """A signal to the rank that is to be hurt; SIGTERM comes twice, as from launchers."""
    os.kill(pids[scene.rank], number)
    if number == signal.SIGTERM:
        sleep(0.05)
        os.kill(pids[scene.rank], number)


def first_start(scene: Scene, store: Path, kind: str) -> list[int]:
    """Exit codes of the start during which the fault comes."""
    signals = {"kill step": signal.SIGKILL, "sigterm": signal.SIGTERM, "freeze": signal.SIGSTOP}
    if kind in signals:
        act = at_a_moment(scene, partial(send, scene, signals[kind]))
        return follow(scene, start(scene, store), act)
    if kind == "link down":
        return cut_off(scene, store)
    if kind == "disk full":
        ballast = scene.folder / "ballast"
        act = at_a_moment(scene, lambda pids: fill(ballast, scene.random.uniform(0, 4)))
        codes = follow(scene, start(scene, store), act)
        ballast.unlink(missing_ok=True)
        return codes
    place, name, most_s = {
        "kill save": (saving, "save_checkpoint", SAVE_S),
        "kill read": (loop, "make_batch", READ_S),
    }[kind]
    trap = partial(kill_within, scene, place, name, most_s)
    return follow(scene, start(scene, store, trap), nothing)


def fill(ballast: Path, seconds: float) -> None:
    """Fill a disk for some seconds."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**16))
        except OSError:
            log.info("%s is full for %.1f s", ballast.parent, seconds)
    threading.Timer(seconds, partial(ballast.unlink, missing_ok=True)).start()


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """A file system of its own at a folder."""
    folder.mkdir(parents=True)
    place = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "alignmlm-faults", str(folder)]
    run(place, check=True)
    try:
        yield
    finally:
        run(["umount", "--lazy", str(folder)], check=True)


def attempt(kind: str, seed: int, root: Path, store: Path, whole: bytes, timeout_s: float) -> Trial:
    """One trial: hurt once, started again until it is done."""
    draws = random.Random(f"{kind} {seed}")
    rank = 0 if kind in ("kill save", "disk full") else draws.randrange(RANKS)
    scene = Scene(root / f"{kind.replace(' ', '-')}-{seed}", draws, rank, timeout_s)
    if kind != "disk full":
        return finish_trial(scene, kind, seed, store, whole)
    scene.folder = scene.folder / "disk" / "run"
    with small_disk(scene.folder.parent, 5 * len(whole)):
        return finish_trial(scene, kind, seed, store, whole)


def finish_trial(scene: Scene, kind: str, seed: int, store: Path, whole: bytes) -> Trial:
    """The row of a trial."""
    codes = [first_start(scene, store, kind)]
    found = newest_checkpoint(scene.folder / "checkpoints")
    lost = scene.announced > (found[1].step if found else 0)
    told = " ".join(scene.text.read_text("utf-8", "replace").split())
    named = f"rank {scene.rank} (host" in told
    noticed_s, scene.hurt_at = scene.noticed_s if any(codes[0]) else 0.0, 0.0
    while any(codes[-1]) and len(codes) < MOST_STARTS:
        codes.append(follow(scene, start(scene, store), nothing))
    final = scene.folder / "checkpoints" / f"step-{STEPS}" / STATE
    return Trial(
        kind=kind,
        seed=seed,
        rank=scene.rank,
        starts=len(codes),
        codes=codes,
        announced=scene.announced,
        lost=lost,
        equal=final.is_file() and final.read_bytes() == whole,
        noticed_s=round(noticed_s, 2),
        named=named,
    )


def summary(trials: list[Trial]) -> WholeTable:
    """One line for each kind of fault."""
    table = new_table(f"{len(trials)} trials on {RANKS} ranks")
    for name in ("fault", "trials", "resumed, equal", "lost", "saved at once", "rank named"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    table.add_column("longest time to notice", justify="right")
    for kind in dict.fromkeys(trial.kind for trial in trials):
        here = [trial for trial in trials if trial.kind == kind]
        counts = (
            len(here),
            sum(trial.equal for trial in here),
            sum(trial.lost for trial in here),
            sum(trial.codes[0] == [ExitCode.REQUEUE] * RANKS for trial in here),
            sum(trial.named for trial in here) if kind in RANK_GONE else "-",
        )
        table.add_row(kind, *map(str, counts), f"{max(t.noticed_s for t in here):.1f} s")
    return table


def campaign(options: argparse.Namespace, root: Path) -> list[Trial]:
    """All trials, one kind after another in turn."""
    kinds = options.kinds or list(KINDS)
    if os.geteuid() == 0:
        own_network()
    elif left_out := [kind for kind in AS_ROOT if kind in kinds]:
        kinds = [kind for kind in kinds if kind not in AS_ROOT]
        log.warning("NOT ROOT: no trial of %s", " or ".join(left_out))
    store = root / "store"
    calm = Scene(root / "calm", random.Random(0), 0, 600.0)
    codes = follow(calm, start(calm, store), nothing)
    if any(codes):
        raise SystemExit(f"the run that nobody hurts ended with {codes}:\n{calm.text.read_text()}")
    whole = (calm.folder / "checkpoints" / f"step-{STEPS}" / STATE).read_bytes()
    trials, where = [], {"device": processor(), "commit": commit(), "timeout_s": options.timeout_s}
    for number in range(options.trials):
        kind = kinds[number % len(kinds)]
        trial = attempt(kind, options.seed + number, root, store, whole, options.timeout_s)
        trials.append(trial)
        log.info("%d of %d: %s", number + 1, options.trials, trial)
        with options.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(trial) | where) + "\n")
    return trials


def main() -> None:
    """The campaign; exit code 1 if a trial failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS)
    parser.add_argument("--timeout-s", type=float, default=30.0, help="run.collective_timeout_s")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/faults.jsonl"))
    parser.add_argument("--keep", type=Path, help="folder for the runs; none: a temporary one")
    parser.add_argument("--smoke", action="store_true", help="three trials")
    options = parser.parse_args()
    set_up_logging()
    logging.getLogger(__name__).setLevel(logging.INFO)
    if options.smoke:
        options.trials, options.kinds = 3, ["kill step", "sigterm", "freeze"]
    import deepspeed  # noqa: F401

    import alignmlm.pretraining.run
    import alignmlm.reporting.curves  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        root = options.keep or Path(folder)
        root.mkdir(parents=True, exist_ok=True)
        trials = campaign(options, root)
    console.print(summary(trials))
    failed = any(trial.lost or not trial.equal for trial in trials)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
