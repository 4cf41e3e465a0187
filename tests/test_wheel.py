"""The wheel, installed into an empty environment and used in an empty folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from itertools import pairwise
from pathlib import Path

import pytest

from alignmlm.artifacts.names import STUDY
from alignmlm.cli import COMMANDS
from alignmlm.evaluation.scores.study_file import study_document
from tests.documented import LEFT_OUT, RUN, alignmlm_commands, first_yaml
from tests.limits import HANG_S
from tests.own_text import write_own

ROOT = Path(__file__).parents[1]
DATA = ("recipes", "studies", "ds_configs", "launchers")
pytestmark = pytest.mark.slow  # builds and starts programs
BUILT_FROM = ("alignmlm", "kernels", *DATA, "pyproject.toml", "README.md", "LICENSE")
HELPS = f"""
import contextlib, io
from alignmlm import cli
for name in {list(COMMANDS)}:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert cli.dispatch([*name.split(), "--help"]) == 0, name
    assert "Usage: alignmlm " + name in text.getvalue(), name
"""


def pip(*words: str) -> None:
    """Run pip without the network."""
    command = [sys.executable, "-m", "pip", *words]
    subprocess.run(command, check=True, timeout=HANG_S, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and the libraries of this one, in which it is not editable."""
    place = tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, place / name, **({"symlinks": True} if copy is shutil.copytree else {}))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(place))
    (wheel,) = place.glob("*.whl")
    folder = place / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip("--python", str(folder), "install", "--no-deps", "--no-index", str(wheel))
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def alignmlm(environment: Path, folder: Path, *words: str, code: int = 0) -> str:
    """What the installed program prints in a folder."""
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "ALIGNMLM_DATA")}
    done = subprocess.run(
        [str(environment / "bin" / "alignmlm"), *words],
        cwd=folder, env=own, capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


def test_the_wheel_has_every_recipe_study_policy_and_launcher(environment):
    (package,) = environment.glob("lib/python*/site-packages/alignmlm")
    for folder in DATA:
        shipped = package / "shipped" / folder
        assert not shipped.is_symlink()
        for path in (ROOT / folder).iterdir():
            assert (shipped / path.name).read_bytes() == path.read_bytes()
    tasks = [path.name for path in (ROOT / "alignmlm/tasks/shipped").iterdir()]
    assert sorted(path.name for path in (package / "tasks/shipped").iterdir()) == sorted(tasks)


def test_every_command_explains_itself_in_the_wheel(environment, tmp_path):
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(environment / "bin/python"), "-c", HELPS]
    subprocess.run(command, cwd=tmp_path, env=own, check=True, timeout=HANG_S)


def test_files_of_the_wheel_are_found_by_name_in_an_empty_folder(environment, tmp_path):
    asked = ("launch", "pretrain", "--config=sample", "--deepspeed=zero2", "--dry-run")
    assert "shipped/launchers/pretrain.sbatch" in alignmlm(environment, tmp_path, *asked)
    assert "--array=1-4" in alignmlm(
        environment, tmp_path, "launch", "study", "sample", "--dry-run"
    )
    assert "sample_pos" in alignmlm(environment, tmp_path, "eval", "ls")
    assert list(tmp_path.iterdir()) == []


RELEASE = [
    "make", "-o", f"{sys.prefix}/.run-installed",  # make takes it as up to date
    f"VENV={sys.prefix}", "release", "VERSION=9.8.7",
]  # fmt: skip


@pytest.fixture
def git(tmp_path: Path) -> list[str]:
    """Git in a clone of this repository, with the Makefile as it is here."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path)], check=True)
    git = ["git", "-C", str(tmp_path)]
    for name in ("user.name", "user.email"):
        subprocess.run([*git, "config", name, "a@example.org"], check=True)
    shutil.copy(ROOT / "Makefile", tmp_path)
    subprocess.run([*git, "commit", "--quiet", "--all", "--allow-empty", "-m", "x"], check=True)
    return git


def refused(folder: Path, *settings: str) -> str:
    """What a release that fails says."""
    make = [*RELEASE, *settings]
    done = subprocess.run(make, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    return done.stderr


def test_a_file_that_no_commit_has_stops_a_release(git, tmp_path):
    (tmp_path / "alignmlm" / "own_notes.py").touch()
    assert "Commit what is not committed first" in refused(tmp_path)


def test_a_release_whose_wheel_fails_leaves_all_as_it_was(git, tmp_path):
    refused(tmp_path, "PINNED=--no-such-option")
    assert subprocess.check_output([*git, "status", "--porcelain"]) == b""


def test_a_release_is_a_wheel_a_section_of_the_changelog_and_a_tag(git, tmp_path):
    subprocess.run(RELEASE, cwd=tmp_path, check=True, timeout=HANG_S)
    assert (tmp_path / "dist/alignmlm-9.8.7-py3-none-any.whl").is_file()
    changelog = (tmp_path / "CHANGELOG.md").read_text("utf-8")
    assert changelog.startswith("# Changelog\n\n## Unreleased\n\n## 9.8.7 (")
    told = subprocess.check_output([*git, "tag", "--list", "--format=%(contents)", "v9.8.7"])
    assert (
        changelog.partition("## 9.8.7 (")[2]
        .partition("\n")[2]
        .strip()
        .startswith(told.decode().strip())
    )
    assert subprocess.check_output([*git, "status", "--porcelain"]) == b""
    assert "v9.8.7 was released" in refused(tmp_path)


def quick(words: list[str]) -> list[str]:
    """A command of a page, with a budget of seconds where it has one of minutes."""
    return ["0.1" if before == "--minutes" else word for before, word in pairwise(["", *words])]


def test_the_commands_of_the_pages_lead_from_own_text_to_the_page(environment, tmp_path):
    write_own(tmp_path)
    pages = [ROOT / "docs" / f"{name}.md" for name in RUN]
    (tmp_path / "tasks.yaml").write_text(first_yaml(ROOT / "docs/howto-task.md"), "utf-8")
    commands = [words for page in pages for words in alignmlm_commands(page)]
    run = [words for words in commands if " ".join(["alignmlm", *words]) not in LEFT_OUT]
    assert [words[0] for words in run[:3]] == ["init", "data", "study"]
    for words in run:
        alignmlm(environment, tmp_path, *quick(words))
    rows = study_document(tmp_path / "mine/runs" / STUDY)["rows"]
    assert {(row["objective"], row["task"]) for row in rows} == {
        (objective, task)
        for objective in ("mlm", "align_mlm")
        for task in ("own_pos_fra", "own_names_fra")
    }
    page = (tmp_path / "mine/runs/report.html").read_text("utf-8")
    assert "Study mine" in page
