"""Everything that a session on a GPU measures, in one command and into one folder.

Correctness of each implementation in bfloat16 against float64, the masked softmax beside its peers
with and without a bias and with ignored positions, the alignment loss, a training step, pictures;
training beside other recipes (tokens/s, MFU, time until a loss), and ALIGN-MLM of two languages
with its transfer. A stage that fails does not stop the next one. --rehearse does all this on a CPU
at small sizes, to see that the commands work there before a GPU is at hand.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from records import ROOT
from rich.console import Console

HERE = Path(__file__).parent
EAGER_AND_OURS = ["floor", "alignmlm", "torch: plain"]
ODD_SHAPE = "1001x30011x512"  # no size is a multiple of a tile
WITHOUT_BIAS = ["9832x80000x512", "9832x80000x1024"]  # quack takes multiples of 8 only
STAGE_LIMIT_S = 540.0
RECIPE = str(ROOT / "recipes" / "wikipedia-laptop.yaml")
STUDY = "study.yaml"
UNTIL_A_LOSS = ["trainer modernbert", "alignmlm"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One command of the session."""

    name: str
    command: list[str]
    needs_gpu: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a stage ended."""

    stage: str
    command: str
    returned: int | None  # None: it ran past its limit
    spent_s: float


def script(name: str, *arguments: str | Path) -> list[str]:
    """The command of one of these scripts."""
    return [sys.executable, str(HERE / name), *map(str, arguments)]


def training(name: str, rows: Path, *arguments: str) -> list[str]:
    """The command of a benchmark of training that appends its rows to a file."""
    return [sys.executable, str(ROOT / "benchmarks" / name), "--out", str(rows), *arguments]


def command(*words: str | Path) -> list[str]:
    """A command of the package."""
    return [sys.executable, "-m", "alignmlm.cli", *map(str, words)]


def transfer_study(folder: Path, rehearse: bool) -> dict[str, object]:
    """MLM and ALIGN-MLM of two languages, and tagging: what study.yaml says."""
    study: dict[str, object] = {
        "name": "gpu", "folder": str(folder / "transfer"), "objectives": ["mlm", "align_mlm"],
    }  # fmt: skip
    store = {"data.store": str(folder / "store")}
    if rehearse:
        overrides = store | {"train.steps": 8, "train.batch_rows": 8, "train.seq_len": 32}
        settings = {"limit": 50, "finetune": {"epochs": 1}}
        return study | {"overrides": overrides, "evaluation": settings}
    settings = {"limit": 2000, "finetune": {"epochs": 2}}
    own = {"recipe": RECIPE, "overrides": store, "tasks": ["ewt_pos"], "evaluation": settings}
    return study | own


def stages(folder: Path, commit: str | None, rehearse: bool) -> list[Stage]:
    """The commands of a session, those first whose results the others rest on."""
    head, variants = folder / "head.jsonl", folder / "variants.jsonl"
    alignment, step = folder / "alignment.jsonl", folder / "training_step.jsonl"
    told = ["--commit", commit] if commit else []
    odd = [] if rehearse else ["--shapes", ODD_SHAPE, "--rounds", "10"]
    unbiased = ["--no-bias", *([] if rehearse else ["--shapes", *WITHOUT_BIAS])]
    short = ["--smoke"] if rehearse else []
    paper, base = (short or ["--size", size] for size in ("paper", "base"))
    device = ["--device", "cpu" if rehearse else "cuda", *short]
    corpus = [] if rehearse else ["--config", RECIPE]
    throughput, curves = folder / "throughput.jsonl", folder / "speedrun.jsonl"

    def comparison(name: str, rows: Path, *arguments: str) -> list[str]:
        """The command of a comparison that appends its rows to a file."""
        return script(name, *device, "--keep", rows, *told, *arguments)

    lists = {
        "correctness": [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/kernels"],
        "errors": comparison("masked_softmax.py", variants, *odd),
        "head": comparison("masked_softmax.py", head),
        "without-bias": comparison("masked_softmax.py", variants, *unbiased),
        "all-tokens": comparison(
            "masked_softmax.py", variants, "--all-tokens", "--only", *EAGER_AND_OURS
        ),
        "alignment": comparison("alignment.py", alignment),
        "training-step": comparison("training_step.py", step),
        "throughput-paper": training("throughput.py", throughput, *paper),
        "throughput-base": training("throughput.py", throughput, *base),
        "until-a-loss": training("speedrun.py", curves, "--sides", *UNTIL_A_LOSS, *short),
        "corpus": command("data", "build", *corpus, f"--data.store={folder / 'store'}"),
        "transfer": command("study", "run", folder / STUDY),
        "picture-alignment": script("roofline.py", alignment),
        "picture-head": script("roofline.py", head, "--inputs", "trained"),
    }
    if rehearse:
        del lists["throughput-base"]  # which would be throughput-paper at the small size
    return [
        Stage(name=name, command=command, needs_gpu="picture" not in name)
        for name, command in lists.items()
    ]


def run(stage: Stage, folder: Path, limit_s: float) -> Outcome:
    """Run a stage from the root of the checkout; what it prints goes into the folder's log."""
    start, returned = time.monotonic(), None
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        log.write(f"\n## {stage.name}: {shlex.join(stage.command)}\n")
        log.flush()
        told = {"stdout": log, "stderr": subprocess.STDOUT, "cwd": ROOT}
        try:
            returned = subprocess.run(stage.command, timeout=limit_s, **told).returncode
        except subprocess.TimeoutExpired:
            log.write(f"\nstopped after {limit_s:.0f} s\n")
    spent_s = round(time.monotonic() - start, 1)
    command = shlex.join(stage.command)
    return Outcome(stage=stage.name, command=command, returned=returned, spent_s=spent_s)


def parsed_arguments(arguments: list[str]) -> argparse.Namespace:
    """What the command line asks for."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    names = [stage.name for stage in stages(Path(), None, False)]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "results" / f"gpu-{now}")
    parser.add_argument("--stages", nargs="+", choices=names, default=names)
    parser.add_argument("--limit-s", type=float, default=STAGE_LIMIT_S, help="of each stage")
    parser.add_argument("--commit", help="where the checkout has no history")
    parser.add_argument("--rehearse", action="store_true", help="on a CPU, at small sizes")
    parser.add_argument("--plan", action="store_true", help="print the commands, run nothing")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run the stages and write how each ended; 1 where one failed, 2 without a GPU."""
    asked, console = parsed_arguments(arguments), Console(soft_wrap=True, highlight=False)
    folder = asked.folder.absolute()
    known = stages(folder, asked.commit, asked.rehearse)
    wanted = [stage for stage in known if stage.name in asked.stages]
    if asked.plan:
        for stage in wanted:
            console.print(f"{stage.name}: {shlex.join(stage.command)}", markup=False)
        return 0
    if not (asked.rehearse or torch.cuda.is_available()) and any(
        stage.needs_gpu for stage in wanted
    ):
        console.print("torch sees no CUDA device here; --plan prints the commands")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    study = json.dumps(transfer_study(folder, asked.rehearse), indent=1)  # JSON is YAML
    (folder / STUDY).write_text(study + "\n", encoding="utf-8")
    outcomes: list[Outcome] = []
    for stage in wanted:
        outcomes.append(run(stage, folder, asked.limit_s))
        console.print(f"{stage.name}: {outcomes[-1].returned}, {outcomes[-1].spent_s:.0f} s")
        told = [asdict(outcome) for outcome in outcomes]
        (folder / "summary.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    console.print(f"results in {folder}")
    return int(any(outcome.returned != 0 for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
