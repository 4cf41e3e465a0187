"""What is installed is pinned, and comes as a wheel."""

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
OF_TORCH = ("nvidia-", "cuda-")  # torch's build with CUDA pins these itself


def pins(file: str) -> dict[str, str]:
    """The version of each package of a constraints file."""
    lines = Path(file).read_text("utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def needs(requirements: list[str]) -> set[str]:
    """Packages that requirements lead to, as far as they are installed here."""
    waiting, names = list(map(Requirement, requirements)), set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), requirement.extras or {""}
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras
        )
        if name in names or not applies:
            continue
        names.add(name)
        try:
            further = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for text in further:
            inner = Requirement(text)
            marker = inner.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                inner.marker = None
                waiting.append(inner)
    return names


def test_every_package_that_is_installed_is_pinned():
    extras = PROJECT["optional-dependencies"].values()
    wanted = needs([*PROJECT["dependencies"], *(line for lines in extras for line in lines)])
    assert len(wanted) > 100
    free = wanted - pins("constraints.txt").keys()
    assert not {name for name in free if not name.startswith(OF_TORCH)}


def test_what_builds_is_pinned_as_what_runs():
    build, run = pins("build-constraints.txt"), pins("constraints.txt")
    assert {"setuptools", "wheel"} <= build.keys()
    assert all(run.get(name, version) == version for name, version in build.items())


@pytest.mark.parametrize("target", ["train", "test", "docs", "test-cluster", "lint"])
def test_every_target_installs_pinned_wheels_and_builds_deepspeed_alone(target):
    command = ["make", "--dry-run", target, "VENV=no-such-folder"]
    planned = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    installs = re.findall(r"-m pip install.*", planned.replace("\\\n", " "))
    assert len(installs) >= 4
    for line in installs:
        if "pip==" in line:
            continue
        for option in (
            "--constraint constraints.txt",
            "--build-constraint build-constraints.txt",
            "--only-binary :all: --no-binary deepspeed",
        ):
            assert option in line
        assert "--no-build-isolation" not in line


def test_the_container_has_all_that_is_installed_from_the_checkout():
    text = Path("launchers/Containerfile").read_text("utf-8")
    copied = {word for line in re.findall(r"^COPY (.*) \S+$", text, re.M) for word in line.split()}
    assert all(Path(name).exists() for name in copied)
    links = {path.name for path in Path("alignmlm/shipped").iterdir() if path.is_symlink()}
    assert links <= copied
    assert set(map(str, Path().glob("*.toml"))) | {"Makefile", "alignmlm", "kernels"} <= copied
