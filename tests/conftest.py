"""A small store of the sample world, and recipes over it, shared by all tests."""

import os
import subprocess

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # these models are too small to be shared out
os.environ.setdefault("TRITON_INTERPRET", "1")  # read when triton is first imported

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.checked_calls import check_calls

check_calls()

from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.corpus.sources import expand_path
from alignmlm.pretraining.recipe import Recipe
from tests.toys import ToyTask, write_toy_task
from tests.triton_interpreter import mend_interpreter

mend_interpreter()
settings.register_profile("house", deadline=None)  # a busy machine is no failure
settings.load_profile("house")

SMALL = [
    '--data.sources=[{"language": "qaa-Latn", "files": ["sample:600"]}]',
    "--data.vocabulary_size=400",
    "--data.validation=0.1",
    "--dictionary.fraction=0.5",
    "--train.steps=8",
    "--train.seq_len=32",
    "--train.batch_rows=8",
    "--train.precision=fp32",
    "--train.log_steps=1",
    "--train.validation_steps=4",
    "--train.validation_rows=8",
    "--run.checkpoint_steps=4",
    "--optimizer.warmup_steps=2",
]


RANK_VARIABLES = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_rank_in_the_environment() -> Iterator[None]:
    """A run in this process leaves its rank there; what a test starts is no rank of that run."""
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)
    yield
    for name in RANK_VARIABLES:
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 600 sample sentences."""
    folder = tmp_path_factory.mktemp("data") / "store"
    return build_store(load_recipe(None, [*SMALL, f"--data.store={folder}"]).data)


@pytest.fixture
def small_recipe(small_store: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """A function from overrides to a recipe of 8 quick steps over the small store."""

    def recipe(*overrides: str) -> Recipe:
        fixed = [f"--data.store={small_store}", f"--run.dir={tmp_path / 'run'}"]
        return load_recipe(None, [*SMALL, *fixed, *overrides])

    return recipe


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data; without it the test is skipped, loudly."""
    folder = expand_path("$ALIGNMLM_DATA")
    if not folder.is_dir():
        pytest.skip(f"NO REAL DATA: set ALIGNMLM_DATA (looked in {folder.absolute()})")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """What mounts a file system of a size, such as 40k, and gives its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mounted(size: str) -> Path:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("NOT ROOT: a small file system cannot be mounted")
        return folder

    yield mounted
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def toy_task(tmp_path_factory: pytest.TempPathFactory) -> ToyTask:
    """A POS task of the sample world's language."""
    return write_toy_task(tmp_path_factory.mktemp("task"))
