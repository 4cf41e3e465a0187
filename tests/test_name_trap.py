"""The folder kernels/ must not hide Hugging Face's package of that name."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.limits import HANG_S

HIDE = """
import importlib.metadata, sys
from importlib.machinery import PathFinder

class OnlyOurFolder:  # as where Hugging Face's kernels is not installed
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "kernels":
            return PathFinder.find_spec(name, ["."])
        if name.startswith("kernels."):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, OnlyOurFolder)
version = importlib.metadata.version
def hidden(name):
    if name == "kernels":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version = hidden
"""


def import_from_the_root(before: str = "") -> subprocess.CompletedProcess[str]:
    lines = [before, "import transformers, datasets", "transformers.Trainer", "print('imported')"]
    code = "\n".join(lines)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S, check=False
    )


def test_the_folder_stays_a_plain_folder():
    assert Path("kernels/alignmlm_kernels/__init__.py").is_file()
    assert not Path("kernels/__init__.py").exists()


def test_transformers_and_datasets_import_where_hugging_faces_kernels_is_installed():
    assert "site-packages" in str(find_spec("kernels").origin)
    assert "imported" in import_from_the_root().stdout


def test_transformers_and_datasets_import_where_it_is_not():
    done = import_from_the_root(HIDE)
    assert "imported" in done.stdout, done.stderr
