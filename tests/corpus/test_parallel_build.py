"""Building with several MPI ranks: the same bytes, and an end within seconds when one fails."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from alignmlm.corpus.mpi import SINGLE, launched_rank, launched_ranks, launched_size
from alignmlm.data.store import Store
from alignmlm.errors import DataError
from tests.limits import HANG_S

needs_mpi = [
    pytest.mark.cluster,
    pytest.mark.skipif(shutil.which("mpirun") is None, reason="NO MPI: mpirun is not installed"),
]
LAUNCH = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMP_NUM_THREADS": "1",
}
SMALL_PARTS = (
    "import sys, alignmlm.corpus.parts as parts, alignmlm.corpus.duplicates as duplicates\n"
    "parts.PART_CHARACTERS, duplicates.BUCKET_DOCUMENTS = {characters}, 64\n"
    "from alignmlm.cli import main\n"
    "sys.argv[1:1] = ['data', 'build']\n"
    "main()"
)


def words(seed: int, count: int) -> str:
    return " ".join(f"w{(seed * 7919 + i * i) % 997}" for i in range(count))


def corpus(folder: Path) -> list[str]:
    """Two large files and many small ones, with documents that occur again."""
    folder.mkdir()
    for name, size in (("large-a", 300), ("large-b", 200)):
        documents = (f"{words(i % 150, 40)}. {words(i % 150 + 1, 20)}!" for i in range(size))
        (folder / f"{name}.txt").write_text("\n\n".join(documents))
    for i in range(12):
        (folder / f"small-{i:02d}.txt").write_text(f"{words(i, 30)}.\n\n{words(i // 2, 15)}?")
    return [str(folder / "large-*.txt"), str(folder / "small-*.txt")]


def recipe(folder: Path, files: list[str], **settings) -> Path:
    path = folder / "recipe.yaml"
    source = {"language": "eng-Latn", "files": files}
    sample = {"language": "qaa-Latn", "files": ["sample:600"]}
    data = {"vocabulary_size": 400, "validation": 0.1, "shard_tokens": 2**16} | settings
    path.write_text(yaml.safe_dump({"data": data | {"sources": [source, sample]}}))
    return path


def command(
    ranks: int, recipe: Path, store: Path, *more: str, characters: int = 10_000
) -> list[str]:
    code = SMALL_PARTS.format(characters=characters)
    worker = [sys.executable, "-c", code, f"--config={recipe}", f"--data.store={store}", *more]
    return ["mpirun", "-n", str(ranks), "--bind-to", "none", *worker] if ranks > 1 else worker


def run(*arguments, **settings) -> subprocess.CompletedProcess:
    made = command(*arguments, **settings)
    return subprocess.run(
        made, env=os.environ | LAUNCH, capture_output=True, text=True, timeout=HANG_S, check=False
    )


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


class TestRanks:
    """Several ranks, real ones."""

    pytestmark = needs_mpi

    @pytest.mark.slow
    @pytest.mark.parametrize("deduplicate", [False, True])
    def test_any_number_of_ranks_gives_the_same_bytes(self, tmp_path, deduplicate):
        settings = {"deduplicate": deduplicate, "tokenizer_bytes": 2**16}
        made = recipe(tmp_path, corpus(tmp_path / "corpus"), **settings)
        found = []
        for ranks in (1, 2, 5):
            done = run(ranks, made, tmp_path / str(ranks))
            assert done.returncode == 0, done.stderr
            found.append(files_of(tmp_path / str(ranks)))
        assert found[0] == found[1] == found[2]
        dropped = Store(tmp_path / "1").manifest.provenance.get("duplicates_dropped")
        assert (dropped is not None) == deduplicate
        assert not deduplicate or dropped["eng-Latn"] > 300

    def test_an_error_of_one_rank_ends_all_and_is_told_once(self, tmp_path):
        files = corpus(tmp_path / "corpus")
        bad = tmp_path / "corpus" / "small-07.txt"
        bad.write_bytes(b"caf\xe9")
        started = time.monotonic()
        done = run(3, recipe(tmp_path, files), tmp_path / "store")
        assert done.returncode == 2
        assert time.monotonic() - started < 30
        assert done.stderr.count(f"{bad}:1: byte") == 1
        assert "alignmlm: error on rank" in done.stderr
        assert not (tmp_path / "store").exists()

    def test_an_error_that_all_ranks_have_is_told_by_one(self, tmp_path):
        done = run(3, recipe(tmp_path, ["none.txt"]), tmp_path / "store")
        assert done.returncode == 2
        assert done.stderr.count("none.txt of eng-Latn does not exist") == 1

    def test_a_wrong_setting_is_told_by_one_rank(self, tmp_path):
        made = recipe(tmp_path, corpus(tmp_path / "corpus"))
        done = run(3, made, tmp_path / "store", "--data.valdation=0.5")
        assert done.returncode == 2
        assert done.stderr.count("alignmlm: error") == 1

    @pytest.mark.slow
    def test_a_killed_rank_ends_all_and_the_build_goes_on_from_there(self, tmp_path):
        files = corpus(tmp_path / "corpus")
        large = tmp_path / "corpus" / "large-c.txt"
        large.write_text("\n\n".join(words(i, 60) for i in range(2500)))
        made, store = recipe(tmp_path, files), tmp_path / "store"
        tokens = tmp_path / "store.building" / "tokens"
        settings = {"characters": 20_000}
        process = subprocess.Popen(
            command(3, made, store, **settings),
            env=os.environ | LAUNCH,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: tokens.is_dir() and len(list(tokens.glob("*.npys"))) >= 5)
        os.kill(rank_process(process.pid, 1), signal.SIGKILL)
        killed = time.monotonic()
        _, said = process.communicate(timeout=HANG_S)
        assert time.monotonic() - killed < 15
        assert process.returncode != 0
        assert "signal 9" in said
        assert "the build was stopped; the same command goes on from there" in said
        assert not store.exists()
        kept = {path.name: path.stat().st_ino for path in tokens.glob("*.npys")}
        assert kept
        done = run(2, made, store, **settings)
        assert done.returncode == 0, done.stderr
        assert run(1, made, tmp_path / "alone", **settings).returncode == 0
        assert files_of(store) == files_of(tmp_path / "alone")
        assert not tokens.exists()

    def test_a_second_build_of_the_same_store_is_refused(self, tmp_path):
        made, store = recipe(tmp_path, corpus(tmp_path / "corpus")), tmp_path / "store"
        (tmp_path / "store.building").mkdir()
        with (tmp_path / "store.building" / "lock").open("w") as lock:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write("process 1 on here")
            lock.flush()
            done = run(2, made, store)
        assert done.returncode == 2
        assert "(process 1 on here)" in done.stderr

    def test_the_benchmark_builds_the_same_shards_with_any_number_of_ranks(self):
        script = Path(__file__).parents[2] / "benchmarks" / "build.py"
        made = [sys.executable, str(script), "--smoke"]
        done = subprocess.run(made, capture_output=True, text=True, timeout=HANG_S, check=False)
        assert done.returncode == 0, done.stderr
        assert "sample:2000" in done.stdout


def wait_for(condition, limit_s: float = 60.0) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def descendants(pid: int) -> Iterator[int]:
    """Processes that a process started, directly or not."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from descendants(int(child))


def rank_process(launcher: int, rank: int) -> int:
    """The process of one rank."""
    mark = f"OMPI_COMM_WORLD_RANK={rank}".encode()
    return next(
        pid
        for pid in descendants(launcher)
        if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    )


@pytest.fixture
def launcher(monkeypatch):
    """A function that sets the variables of a launcher, all others unset."""
    for name in list(os.environ):
        if name.startswith(("OMPI_", "PMI", "MV2_", "SLURM_")):
            monkeypatch.delenv(name)

    def started(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return started


def test_without_a_launcher_there_is_one_rank(launcher):
    launcher(SLURM_NTASKS="8")  # a batch script's own shell
    assert (launched_size(), launched_rank(), launched_ranks()) == (1, 0, SINGLE)


@pytest.mark.parametrize(
    "variables",
    [
        {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"},
        {"PMI_SIZE": "4", "PMI_RANK": "3"},
        {"PMIX_RANK": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "9"},
    ],
)
def test_ranks_of_every_launcher_are_known(launcher, variables):
    launcher(**variables)
    assert (launched_size(), launched_rank()) == (4, 3)


def test_a_launcher_without_mpi4py_is_an_error_that_says_what_to_install(launcher, monkeypatch):
    launcher(OMPI_COMM_WORLD_SIZE="2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(DataError, match=r"started 2 ranks.*pip install 'alignmlm\[mpi\]'"):
        launched_ranks()
