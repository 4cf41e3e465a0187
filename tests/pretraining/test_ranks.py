"""Several ranks on this machine's CPU, by the launchers that a user has."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import psutil
import pytest

from alignmlm.pretraining.checkpoints import read_progress
from alignmlm.ranks.network import free_port
from tests.conftest import SMALL
from tests.limits import HANG_S

pytestmark = pytest.mark.dist
BIN = Path(sys.executable).parent
ROBERTA = ["--model.architecture=roberta", "--optimizer.name=adamw"]
FIFTY = ["--train.steps=50", "--train.validation_steps=50", "--run.checkpoint_steps=25"]


def environment() -> dict[str, str]:
    places = [str(Path.cwd()), str(Path("kernels").absolute()), os.environ.get("PYTHONPATH", "")]
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(places), "PATH": path}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        variables.pop(name, None)
    return variables


def start(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=HANG_S, check=False
    )


def launcher_of(ranks: int) -> list[str]:
    return [str(BIN / "torchrun"), f"--nproc_per_node={ranks}", f"--master_port={free_port()}"]


def torchrun(ranks: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return start(*launcher_of(ranks), *arguments)


def killed_at(place: Path, ranks: int, *arguments: str) -> None:
    """Start ranks and kill them all, as soon as a file or folder appears."""
    process = subprocess.Popen(
        [*launcher_of(ranks), *arguments],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    launcher = psutil.Process(process.pid)
    try:
        until = time.monotonic() + HANG_S
        while not place.exists():
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < until, f"no {place} in {HANG_S} s"
            time.sleep(0.02)
    finally:
        if launcher.is_running():
            for each in [*launcher.children(recursive=True), launcher]:
                each.kill()
        process.wait()


def losses(folder: Path) -> list[float]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row["train/loss_nats"] for row in rows if "train/loss_nats" in row]


@pytest.fixture(scope="module")
def runs(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Fifty steps of RoBERTa and AdamW at every ZeRO stage, on one rank and on two."""
    return runs_of(ROBERTA, small_store, tmp_path_factory)


@pytest.fixture(scope="module")
def muon_runs(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The same of ModernBERT and Muon."""
    muon = ["--model.architecture=modernbert", "--optimizer.name=muon"]
    return runs_of(muon, small_store, tmp_path_factory)


def runs_of(
    chosen: list[str],
    small_store: Path,
    tmp_path_factory: pytest.TempPathFactory,
    worlds: tuple[int, ...] = (1, 2),
) -> dict[int, Path]:
    folders = {}
    for ranks in worlds:
        folders[ranks] = tmp_path_factory.mktemp(f"ranks{ranks}")
        settings = [*SMALL, *FIFTY, *chosen, f"--data.store={small_store}"]
        done = torchrun(
            ranks, "-m", "tests.pretraining.ranks", str(folders[ranks]), "0,1,2,3", *settings
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return folders


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("ranks", [1, 2])
def test_losses_are_those_of_one_rank_without_zero(runs, ranks, stage):
    alone = losses(runs[1] / "zero0")
    assert len(alone) == 50
    assert losses(runs[ranks] / f"zero{stage}") == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("ranks", [1, 2])
def test_losses_of_muon_are_those_of_one_rank_without_zero(muon_runs, ranks, stage):
    alone = losses(muon_runs[1] / "zero0")
    assert len(alone) == 50
    assert losses(muon_runs[ranks] / f"zero{stage}") == pytest.approx(alone, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("architecture", ["roberta", "modernbert"])
def test_losses_agree_at_each_world_size_and_stage(
    architecture, optimizer, small_store, tmp_path_factory
):
    chosen = [f"--model.architecture={architecture}", f"--optimizer.name={optimizer}"]
    worlds = (1, 2, 4)
    folders = runs_of(chosen, small_store, tmp_path_factory, worlds)
    alone = losses(folders[1] / "zero0")
    assert len(alone) == 50
    for ranks, stage in product(worlds, range(4)):
        found = losses(folders[ranks] / f"zero{stage}")
        assert found == pytest.approx(alone, abs=1e-4), (ranks, stage)


def test_a_checkpoint_of_two_ranks_at_zero_3_goes_on_on_one_rank_without_zero(
    runs, small_store, tmp_path
):
    shutil.copytree(runs[2] / "zero3", tmp_path / "zero0")
    (tmp_path / "zero0" / "summary.json").unlink()
    shutil.rmtree(tmp_path / "zero0" / "checkpoints" / "step-50")
    settings = [*SMALL, *FIFTY, *ROBERTA, f"--data.store={small_store}"]
    done = torchrun(1, "-m", "tests.pretraining.ranks", str(tmp_path), "0", *settings)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "going on after step 25" in done.stderr
    assert losses(tmp_path / "zero0") == pytest.approx(losses(runs[1] / "zero0"), abs=1e-4)


def test_the_users_line_trains_with_the_deepspeed_launcher(small_store, tmp_path):
    settings = [*SMALL, f"--data.store={small_store}", f"--run.dir={tmp_path / 'run'}"]
    launcher = [str(BIN / "deepspeed"), "--num_gpus", "2", "--master_port", str(free_port())]
    done = start(*launcher, "train.py", "--deepspeed", "ds_configs/zero2.json", *settings)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["world_size"], summary["zero_stage"]) == (2, 2)


def test_an_error_on_every_rank_is_told_once_and_nobody_hangs(small_store, tmp_path):
    settings = [
        *SMALL,
        f"--data.store={small_store}",
        f"--run.dir={tmp_path}",
        "--train.batch_rows=7",
    ]
    done = torchrun(2, "train.py", "--deepspeed", "ds_configs/zero2.json", *settings)
    assert done.returncode != 0
    told = "train.batch_rows = 7, but it must be a multiple of the world size, 2"
    assert " ".join(done.stderr.split()).count(told) == 1


def test_what_only_rank_0_opens_ends_every_rank_when_it_cannot(small_store, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    settings = [*SMALL, f"--data.store={small_store}", f"--run.dir={tmp_path}", "--run.wandb=true"]
    done = torchrun(2, "train.py", "--deepspeed", "ds_configs/zero2.json", *settings)
    assert done.returncode != 0
    assert " ".join(done.stderr.split()).count("run.wandb = True, but it must") == 1
    assert "Connection closed" not in done.stderr
    assert "alignmlm/pretraining/training_run.py" not in done.stderr  # no traceback


def test_damage_that_one_rank_meets_ends_every_rank_with_its_place(small_store, tmp_path):
    store = shutil.copytree(small_store, tmp_path / "store")
    shard = store / "qaa-Latn" / "train" / "shard-00000.bin"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    settings = [*SMALL, "--train.steps=500", f"--data.store={store}", f"--run.dir={tmp_path / 'r'}"]
    done = torchrun(2, "train.py", "--deepspeed", "ds_configs/zero2.json", *settings)
    told = " ".join(done.stderr.split())
    assert done.returncode != 0
    for rank in (0, 1):
        where = rf"alignmlm: error on rank {rank}, step \d+: shard "
        what = r"\S*shard-00000\.bin \(or its \.idx\) is damaged in block \d+"
        assert re.search(where + what, told)
    assert "Connection closed" not in done.stderr


def test_two_ranks_train_on_the_pairs_that_one_rank_induces(small_store, tmp_path):
    for ranks in (1, 2):
        run = ["--dictionary.induction=contexts", f"--run.dir={tmp_path / str(ranks)}"]
        done = torchrun(ranks, "train.py", *SMALL, f"--data.store={small_store}", *run)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (tmp_path / name / "induced_pairs.json" for name in ("1", "2"))
    assert one.read_bytes() == two.read_bytes()
    assert losses(two.parent) == pytest.approx(losses(one.parent), abs=1e-4)


def test_a_rotation_is_the_same_for_each_world_size_and_stage(small_store, tmp_path):
    found = {}
    for ranks, stage in ((1, 2), (2, 0), (2, 1), (2, 3)):
        folder = tmp_path / f"{ranks}-{stage}"
        settings = [f"--data.store={small_store}", "--dictionary.rotation_step=4"]
        policy = ["--deepspeed", f"ds_configs/zero{stage}.json", f"--run.dir={folder}"]
        done = torchrun(ranks, "train.py", *SMALL, *settings, *policy)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "rotated onto those of qaa-Latn by" in done.stderr
        found[ranks, stage] = losses(folder)
    for each in found.values():
        assert each == pytest.approx(found[1, 2], abs=1e-4)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_killed_run_goes_on_with_the_pairs_of_its_embeddings(ranks, small_store, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    script = ["-m", "tests.pretraining.trusting_ranks", "ds_configs/zero2.json", *SMALL]
    script += ["--dictionary.induction=embeddings", "--dictionary.induction_steps=4"]
    script += ["--dictionary.rotation_step=8"]
    script += ["--train.steps=18", "--run.checkpoint_steps=6", f"--data.store={small_store}"]
    done = torchrun(ranks, *script, f"--run.dir={whole}")
    assert done.returncode == 0, done.stderr[-3000:]
    killed_at(killed / "checkpoints" / "step-6", ranks, *script, f"--run.dir={killed}")
    assert not (killed / "summary.json").exists(), "it ended before it could be killed"
    done = torchrun(ranks, *script, f"--run.dir={killed}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "going on after step" in done.stderr
    lists = [read_progress(run / "checkpoints/step-18").induced for run in (whole, killed)]
    assert lists[0]
    assert lists[0] == lists[1]
    assert losses(killed) == losses(whole)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_killed_run_goes_on_with_the_pairs_that_it_induced(ranks, small_store, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = [*SMALL, "--dictionary.induction=contexts", f"--data.store={small_store}"]
    settings += ["--train.steps=30", "--run.checkpoint_steps=10"]
    done = torchrun(ranks, "train.py", *settings, f"--run.dir={whole}")
    assert done.returncode == 0, done.stderr[-3000:]
    place = killed / "checkpoints" / "step-10"
    killed_at(place, ranks, "train.py", *settings, f"--run.dir={killed}")
    assert not (killed / "summary.json").exists(), "it ended before it could be killed"
    done = torchrun(ranks, "train.py", *settings, f"--run.dir={killed}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "going on after step" in done.stderr
    pairs = [(folder / "induced_pairs.json").read_bytes() for folder in (whole, killed)]
    assert pairs[0] == pairs[1]
    assert losses(killed) == losses(whole)
