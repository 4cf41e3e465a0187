"""Folders that cannot be written to: one line with the place, exit 2, nothing half-written."""

import gc
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from alignmlm import cli
from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.evaluation.scores.results import empty, with_task, write_results
from alignmlm.evaluation.scores.scoring import Scores
from tests.conftest import SMALL
from tests.evaluation.conftest import LANGUAGES, write_export
from tests.toys import ToyTask, write_toy_task

Arguments = Callable[["Inputs", Path], list[str]]


class Inputs:
    """What the commands read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = build_store(
            load_recipe(None, [*SMALL, f"--data.store={folder / 'store'}"]).data
        )
        self.run = folder / "run"
        write_export(self.run / "export", LANGUAGES)
        self.task: ToyTask = write_toy_task(folder)
        self.treebank = folder / "treebank.conllu"
        lines = (f"{i}\tw{i}\tw{i}\tNOUN\t_\t_\t{i - 1}\tdep\t_\t_\n" for i in range(1, 6))
        self.treebank.write_text("".join(lines).replace("0\tdep", "0\troot") + "\n")
        config = {"task": {"name": "toy", "version": 1, "metric": "accuracy"}, "source": "qaa-Latn"}
        score = Scores(
            seed=0, source="qaa-Latn", target="qaa-Latn", source_test=9.0, bz=9.0, bs=9.0
        )
        results = with_task(empty({"objective": "mlm"}), config, [score], {}, 1.0)
        write_results(self.run / "evaluation", results)
        (self.run / "metrics.jsonl").write_text('{"step": 1, "train/loss_nats": 1.0}\n')

    def study(self, place: Path) -> Path:
        """A study in a folder."""
        told = {"name": "tiny", "folder": str(place), "objectives": ["mlm"]}
        path = self.folder / "study.yaml"
        path.write_text(yaml.safe_dump(told))
        return path


COMMANDS: dict[str, Arguments] = {
    "data build": lambda i, p: [*SMALL, f"--data.store={p}"],
    "data export": lambda i, p: [str(i.store), f"--output={p}", "--language=qaa-Latn"],
    "data fit-order": lambda i, p: [str(i.treebank), "--language=fra", f"--output={p}"],
    "data train-parser": lambda i, p: [
        f"--train={i.treebank}", f"--dev={i.treebank}", f"--output={p}/a.udpipe",
    ],
    "eval run": lambda i, p: [
        f"--model={i.run}", f"--tasks={i.task.path}", f"--output={p}",
        "--evaluation.finetune.epochs=1",
    ],
    "eval export": lambda i, p: [str(i.run), "--model_id=lab/toy", f"--output={p}"],
    "eval map": lambda i, p: [f"--model={i.run}", f"--output={p}", "--pairs=5"],
    "train": lambda i, p: [*SMALL, f"--data.store={i.store}", f"--run.dir={p}"],
    "study run": lambda i, p: [str(i.study(p))],
    "report": lambda i, p: [str(i.run), f"--output={p}/report.html"],
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Inputs:
    return Inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def read_only(tmp_path_factory) -> Iterator[Path]:
    """A folder of a file system that is mounted to be read only."""
    folder = tmp_path_factory.mktemp("read-only")
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("NOT ROOT: a read-only file system cannot be mounted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def obstacle(name: str, folder: Path) -> Path:
    """A path at which no folder can be made."""
    if name == "below a file":
        (folder / "file").write_text("a file")
        return folder / "file" / "out"
    if name == "a link to itself":
        (folder / "loop").symlink_to("loop")
        return folder / "loop" / "out"
    if name == "too long a name":
        return folder / ("x" * 300)
    return Path("/proc/none/out")


def refused(capsys, name: str, inputs: Inputs, place: Path) -> None:
    """Check that a command ends with one line that names the place."""
    with suppress(SystemExit):
        code = cli.guarded(cli.dispatch, [*name.split(), *COMMANDS[name](inputs, place)])
    gc.collect()  # closes what a library left open
    err = capsys.readouterr().err
    assert code == 2, err
    lines = [line for line in err.splitlines() if line.startswith("alignmlm: error")]
    assert len(lines) == 1, err
    assert str(place.parent) in lines[0], err
    assert "Traceback" not in err


OBSTACLES = ("below a file", "a link to itself", "too long a name", "no such folder")


@pytest.mark.parametrize("kind", OBSTACLES)
@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_cannot_be_made_is_one_line(capsys, inputs, tmp_path, name, kind):
    place = obstacle(kind, tmp_path)
    before = sorted(tmp_path.iterdir())
    refused(capsys, name, inputs, place)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_on_a_read_only_file_system_is_one_line(capsys, inputs, read_only, name):
    refused(capsys, name, inputs, read_only / "out")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_is_a_file_is_one_line_and_the_file_stays(capsys, inputs, tmp_path, name):
    place = tmp_path / "out"
    place.write_text("mine")
    refused(capsys, name, inputs, place)
    assert place.read_text() == "mine"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_line_and_nothing_half_written(capsys, inputs, small_disk, name):
    disk = small_disk("64k")
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    refused(capsys, name, inputs, disk / "out")
    left = [path for path in disk.rglob("*") if path.is_file() and path.name != "ballast"]
    assert not [path for path in left if path.stat().st_size and path.name != "run.lock"], left
