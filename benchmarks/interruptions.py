"""kill -9 at every operation of a command that changes a file; the same command then finishes.

Each command is killed once at each of its operations (open for writing, write, rename, unlink,
mkdir, fsync and so on), started again, and must end with the numbers of a run that nobody killed.
Commands are forks of this process, which has imported everything before.

    python benchmarks/interruptions.py                     # all commands, every operation
    python benchmarks/interruptions.py --commands train --ranks 2 --every 3
    python benchmarks/interruptions.py --commands "eval run" --operations 110 111   # again

Needs a C compiler: kill_at_operation.c counts the operations.
"""

import argparse
import ctypes
import importlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "DS_ACCELERATOR": "cpu"}

from forked_ranks import LOOPBACK, forked, take_place
from machine import commit, processor

from alignmlm.cli import dispatch, guarded, leave
from alignmlm.console.terminal import console, new_table, set_up_logging
from alignmlm.pretraining.checkpoints import STATE
from alignmlm.ranks.network import free_port
from alignmlm.studies import running

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("kill_at_operation.c")
SHIM = "ALIGNMLM_KILL_SHIM"  # the compiled source, preloaded
SEEN = "ALIGNMLM_SEEN_MODULES"  # where a fork writes what it has imported
KILLED = -9
STEPS = 4
LIMIT_S = 300.0  # of one command, on a busy machine
DATA = [
    '--data.sources=[{"language": "qaa-Latn", "files": ["sample:300"]}]',
    "--data.vocabulary_size=400", "--data.validation=0.1",
]  # fmt: skip
TRAIN = {
    "dictionary.fraction": 0.5, "train.steps": STEPS, "train.seq_len": 32, "train.batch_rows": 8,
    "train.log_steps": 1, "train.validation_steps": STEPS, "train.validation_rows": 8,
    "run.checkpoint_steps": 2, "run.keep_checkpoints": 1, "optimizer.warmup_steps": 2,
}  # fmt: skip
TUNING = {"limit": 8, "sample_folder": "tasks", "finetune": {"epochs": 1}}
EVALUATION = ["--evaluation.limit=8", "--evaluation.sample_folder=tasks"]
EVALUATION += ["--evaluation.finetune.epochs=1"]
UNEQUAL = re.compile(
    r"seconds|date|_s$|tokens_per|memory|git_hash|environment|version|uncommitted|checksum|slowest"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What is killed, and what two ends of it must have in common."""

    name: str
    arguments: list[str]
    outcome: Callable[[Path], object]
    after: str = ""  # the command whose folder it starts in; none: an empty one


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of the results."""

    command: str
    ranks: int
    killed: str  # which process
    operations: int
    kills: int
    finished: int  # by the same command, started again once
    equal: int  # of those, with the numbers of a run that nobody killed
    failures: list[str]  # the operations after which it was not so


def lasting(value: object) -> object:
    """A JSON value without what differs from one run to the next: times and machines."""
    if isinstance(value, dict):
        return {k: lasting(v) for k, v in value.items() if not UNEQUAL.search(k)}
    return [lasting(part) for part in value] if isinstance(value, list) else value


def read(path: Path) -> object:
    """What a JSON file holds, without what differs from run to run."""
    return lasting(json.loads(path.read_text("utf-8")))


def metrics(folder: Path) -> list[object]:
    """The lines of a run's metrics, without what differs from run to run."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [lasting(json.loads(line)) for line in lines]


def leftovers(folder: Path) -> list[str]:
    """Names of files that somebody began to write."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*.tmp*"))


def run_outcome(root: Path, name: str = "run") -> object:
    """A finished run: its losses, its tensors to the last bit, its export and its curves."""
    folder = root / name
    state = (folder / "checkpoints" / f"step-{STEPS}" / STATE).read_bytes()
    weights = (folder / "export" / "model.safetensors").read_bytes()
    names = sorted(path.name for path in folder.iterdir() if path.name != "evaluation")
    exported = sorted(path.name for path in (folder / "export").iterdir())
    told = metrics(folder), state, weights, read(folder / "summary.json")
    return told, names, exported, leftovers(folder)


def evaluation_outcome(root: Path) -> object:
    """Measured scores, and the answers that they add up from."""
    folder = root / "run" / "evaluation"
    samples = {path.name: path.read_text("utf-8") for path in folder.glob("samples_*")}
    models = sorted(path.name for path in (folder / "models").iterdir())
    return read(folder / "results.json"), samples, models, leftovers(folder)


def study_outcome(root: Path) -> object:
    """The rows of a study, its run, and its report."""
    report = (root / "study" / "report.html").stat().st_size > 0
    return read(root / "study" / "study.json"), run_outcome(root / "study", "mlm-seed0"), report


def build_outcome(root: Path) -> object:
    """The files of a store, to the last byte."""
    files = sorted(path for path in (root / "built").rglob("*") if path.is_file())
    told = {str(path.relative_to(root)): path.read_bytes() for path in files}
    return told, sorted(path.name for path in root.iterdir())


def report_outcome(root: Path) -> object:
    """Whether the page is whole."""
    return (root / "page" / "report.html").read_text("utf-8").rstrip().endswith("</html>")


def export_outcome(root: Path) -> object:
    """The weights of an export, and its files."""
    names = sorted(path.name for path in (root / "model").iterdir())
    return names, (root / "model" / "model.safetensors").read_bytes(), leftovers(root)


def commands(store: Path) -> list[Command]:
    """All commands, each after the one that it needs."""
    settings = {"data.store": str(store)} | TRAIN
    train = [f"--{name}={value}" for name, value in settings.items()]
    tiny = {
        "name": "tiny", "folder": "study", "objectives": ["mlm"], "seeds": [0],
        "tasks": ["sample_pos"], "evaluation": TUNING,
        "overrides": settings | {"data.sources": json.loads(DATA[0].partition("=")[2])}
        | {"data.vocabulary_size": 400, "data.validation": 0.1},
    }  # fmt: skip
    (store.parent / "study.yaml").write_text(json.dumps(tiny), encoding="utf-8")
    evaluate = ["eval", "run", "--model=run", "--tasks=sample_pos", *EVALUATION]
    return [
        Command(
            name="data build",
            arguments=["data", "build", *DATA, "--data.store=built"],
            outcome=build_outcome,
        ),
        Command(
            name="train",
            arguments=["train", *DATA, *train, "--run.dir=run"],
            outcome=run_outcome,
        ),
        Command(
            name="export", arguments=["export", "run", "model"], outcome=export_outcome,
            after="train",
        ),
        Command(
            name="export again", arguments=["export", "run", "model"], outcome=export_outcome,
            after="export",
        ),
        Command(
            name="eval run", arguments=evaluate, outcome=evaluation_outcome, after="train"
        ),
        Command(
            name="report", arguments=["report", ".", "--output=page/report.html"],
            outcome=report_outcome, after="eval run",
        ),
        Command(
            name="study run", arguments=["study", "run", str(store.parent / "study.yaml")],
            outcome=study_outcome,
        ),
    ]  # fmt: skip


class ForkedTraining:
    """In place of the process that a study trains in: a fork, which need not import anything."""

    def __init__(self, line: list[str], env: dict[str, str]) -> None:
        self.pid = forked(partial(end_of, ["train", *line[2:]]))

    def __enter__(self) -> "ForkedTraining":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def wait(self) -> int:
        """Its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def end_of(arguments: list[str]) -> int:
    """The exit code of a command."""
    logging.getLogger().handlers.clear()
    code = guarded(dispatch, arguments)
    if SEEN in os.environ:
        Path(os.environ[SEEN]).write_text("\n".join(sys.modules), encoding="utf-8")
    try:
        leave(code)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


class Trap:
    """The preloaded library in this process."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(os.environ[SHIM])
        self.library.operations.restype = ctypes.c_long

    def set(self, operation: int, victim: int = 0) -> None:
        """Before this operation of the next armed process the victim dies."""
        self.library.set_trap(ctypes.c_long(operation), victim)

    def arm(self, folder: Path, record: Path) -> None:
        """In a fork: count what happens under a folder from now on."""
        listed = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.library.arm(f"{folder}/".encode(), listed)


@dataclass(slots=True)
class Stage:
    """Where commands are run."""

    folder: Path
    trap: Trap
    ranks: int = 1
    victim_rank: int = 0

    @property
    def output(self) -> Path:
        """What the commands said."""
        return self.folder / "output.txt"

    @property
    def record(self) -> Path:
        """The operations of the last command, one a line."""
        return self.folder / "operations.txt"

    def work(self, command: Command, root: Path, rank: int, port: int) -> int:
        """In a fork: the exit code of a command, or of one rank of it."""
        os.setpgid(0, 0)
        output = os.open(self.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(root)
        vars(running)["subprocess"] = SimpleNamespace(Popen=ForkedTraining)  # of studies alone
        if self.ranks > 1:
            take_place(rank, self.ranks, LOOPBACK, port)
        self.trap.arm(root, self.record)
        return end_of(command.arguments)

    def run(self, command: Command, root: Path, operation: int = 0) -> list[int]:
        """Exit codes of the ranks of a command that is killed at an operation; 0: never."""
        for path in (self.output, self.record):
            path.unlink(missing_ok=True)
        self.trap.set(operation)
        port = free_port()
        pids = [forked(partial(self.work, command, root, rank, port)) for rank in range(self.ranks)]
        if self.victim_rank:
            self.trap.library.set_victim(pids[self.victim_rank])
        return self.follow(pids)

    def follow(self, pids: list[int]) -> list[int]:
        """Exit codes of processes; when one was killed, the others are, as by a launcher."""
        codes: dict[int, int] = {}
        began = monotonic()
        while len(codes) < len(pids):
            for pid in pids:
                if pid not in codes:
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    if ended:
                        codes[pid] = os.waitstatus_to_exitcode(status)
            late = monotonic() - began > LIMIT_S
            if late or KILLED in codes.values():
                sleep(0 if late else 0.3)
                for pid in set(pids) - codes.keys():
                    os.kill(pid, KILLED * -1)
            sleep(0.005)
        return [codes[pid] for pid in pids]

    def operations(self) -> list[str]:
        """The operations of the last command."""
        return self.record.read_text("utf-8").splitlines() if self.record.exists() else []


def fresh(stage: Stage, command: Command, name: str) -> Path:
    """A folder as the command finds it."""
    root = stage.folder / name
    shutil.rmtree(root, ignore_errors=True)
    if command.after:
        shutil.copytree(stage.folder / f"whole {command.after}", root, symlinks=True)
    else:
        root.mkdir()
    return root


def whole(stage: Stage, command: Command) -> tuple[object, list[str]]:
    """What a command that nobody kills ends with, and its operations.

    This process then imports what the command did, so that no later fork has to.
    """
    root = fresh(stage, command, f"whole {command.name}")
    seen = stage.folder / "modules.txt"
    os.environ[SEEN] = str(seen)
    codes = stage.run(command, root)
    del os.environ[SEEN]
    if any(codes):
        raise SystemExit(f"{command.name} ended with {codes}:\n{stage.output.read_text()}")
    for name in seen.read_text("utf-8").split():
        with suppress(Exception):  # some only work where they are needed
            importlib.import_module(name)
    return command.outcome(root), stage.operations()


def killed_at(stage: Stage, command: Command, operation: int, expected: object) -> str | None:
    """What went wrong when a command was killed at an operation; empty: nothing, none: no kill."""
    root = fresh(stage, command, "trial")
    if KILLED not in stage.run(command, root, operation):
        return None
    if any(codes := stage.run(command, root)):
        told = stage.output.read_text("utf-8", "replace").strip().splitlines()
        return f"the second start ended with {codes}: {told[-1] if told else ''}"
    try:
        return "" if command.outcome(root) == expected else "another outcome"
    except (OSError, ValueError) as error:
        return f"no outcome: {error}"


def campaign(stage: Stage, command: Command, options: argparse.Namespace) -> Row:
    """One command, killed at every operation, every so many, or some."""
    expected, operations = whole(stage, command)
    kills, results = 0, []
    failures = []
    log.info("%s on %d ranks: %d operations", command.name, stage.ranks, len(operations))
    for number in options.operations or range(1, len(operations) + 1, options.every):
        wrong = killed_at(stage, command, number, expected)
        kills += wrong is not None
        results.append(wrong)
        if wrong:
            failures.append(f"{operations[number - 1]}: {wrong}")
            log.error("%s: %s", command.name, failures[-1])
        if len(results) % 20 == 0:
            log.info("%s: %d trials, %d failed", command.name, len(results), len(failures))
    finished = sum(wrong in ("", "another outcome") for wrong in results)
    return Row(
        command=command.name,
        ranks=stage.ranks,
        killed=f"rank {stage.victim_rank}" if stage.ranks > 1 else "all",
        operations=len(operations),
        kills=kills,
        finished=finished,
        equal=results.count(""),
        failures=failures,
    )


def show(rows: list[Row]) -> None:
    """The table of the results."""
    table = new_table("killed at operations that change a file, then started again")
    names = ("command", "ranks", "killed", "operations", "kills", "finished", "equal")
    for name in names:
        table.add_column(name, justify="left" if name in ("command", "killed") else "right")
    for row in rows:
        table.add_row(*(str(getattr(row, name)) for name in names))
    console.print(table)


def preloaded(folder: Path) -> dict[str, str]:
    """The environment of a process that counts its operations; the library is compiled here."""
    library = folder / "kill_at_operation.so"
    compiler = os.environ.get("CC", "cc")
    flags = ["-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", library, SOURCE, "-ldl"], check=True)
    return os.environ | {"LD_PRELOAD": str(library), SHIM: str(library)}


def import_all() -> None:
    """Import what the commands import when they run."""
    import deepspeed  # noqa: F401

    import alignmlm.evaluation.evaluate
    import alignmlm.pretraining.run
    import alignmlm.reporting.curves
    import alignmlm.reporting.page  # noqa: F401


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", nargs="+", help="of those in the table; none: all")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="2: of train alone")
    parser.add_argument("--every", type=int, default=1, help="only every so many operations")
    parser.add_argument("--operations", type=int, nargs="+", help="only these, by number from 1")
    parser.add_argument("--output", type=Path, help="JSON lines, appended")
    return parser.parse_args()


def main() -> None:
    """The campaign; exit code 1 if a command did not finish, or with other numbers."""
    options = parsed()
    with tempfile.TemporaryDirectory() as name:
        if SHIM not in os.environ:
            line = [sys.executable, *sys.argv]
            sys.exit(subprocess.run(line, env=preloaded(Path(name)), check=False).returncode)
        set_up_logging()
        log.setLevel(logging.INFO)
        import_all()
        rows = run_all(options, Path(name))
    show(rows)
    sys.exit(any(row.equal < row.kills or not row.kills for row in rows))


def run_all(options: argparse.Namespace, folder: Path) -> list[Row]:
    """The rows of all commands that are asked for."""
    stage = Stage(folder, Trap())
    build = Command(name="", arguments=["data", "build", *DATA, "--data.store=store"],
                    outcome=lambda root: None)  # fmt: skip
    whole(stage, build)
    store = str(folder / "whole " / "store")
    guarded(dispatch, ["data", "show", *DATA, f"--data.store={store}", "--hash"])  # compiles
    every = commands(Path(store))
    wanted = options.commands or [command.name for command in every]
    needed = {c.after for c in every if c.name in wanted} | {"train"}
    rows = []
    for command in every:
        stage.ranks, stage.victim_rank = 1, 0
        if command.name in wanted and 1 in options.ranks:
            rows.append(campaign(stage, command, options))
        elif command.name in needed:
            whole(stage, command)
        if command.name == "train" and command.name in wanted and 2 in options.ranks:
            for stage.ranks, stage.victim_rank in ((2, 0), (2, 1)):
                rows.append(campaign(stage, command, options))
    if options.output:
        where = {"device": processor(), "commit": commit()}
        with options.output.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(row) | where) + "\n" for row in rows)
    return rows


if __name__ == "__main__":
    main()
