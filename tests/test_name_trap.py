import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HIDE = """
import importlib.machinery, importlib.metadata, sys

class OnlyTheFolder:
    '''Finds nothing called kernels but the folder of the repository.'''

    def find_spec(self, name, path=None, target=None):
        if name != "kernels":
            return None
        found = importlib.machinery.PathFinder.find_spec(name, [{root!r}])
        if found is None:
            raise ModuleNotFoundError("No module named 'kernels'", name="kernels")
        return found

sys.meta_path.insert(0, OnlyTheFolder())
every = importlib.metadata.MetadataPathFinder.find_distributions

def without_kernels(context=importlib.metadata.DistributionFinder.Context()):
    return (found for found in every(context) if found.metadata["Name"] != "kernels")

importlib.metadata.MetadataPathFinder.find_distributions = without_kernels
try:
    importlib.metadata.version("kernels")
except importlib.metadata.PackageNotFoundError:
    pass
else:
    raise SystemExit("Hugging Face's kernels could not be hidden")
"""
IMPORTS = "import transformers, datasets, transformers.modeling_utils"


def run_python(code: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)


def test_the_folder_kernels_is_no_package():
    assert (ROOT / "kernels").is_dir()
    assert not (ROOT / "kernels" / "__init__.py").exists()


def test_kernels_is_hugging_faces_where_it_is_installed():
    pytest.importorskip("kernels.layer")
    done = run_python("import kernels; print(kernels.__file__)")
    assert "site-packages" in done.stdout, done.stderr


def test_transformers_and_datasets_import_from_the_root_with_kernels_installed():
    pytest.importorskip("kernels.layer")
    done = run_python(IMPORTS)
    assert done.returncode == 0, done.stderr


def test_transformers_and_datasets_import_from_the_root_without_kernels():
    done = run_python(HIDE.format(root=str(ROOT)) + IMPORTS)
    assert done.returncode == 0, done.stderr


def test_transformers_does_not_take_the_folder_for_the_package():
    code = "from transformers.utils import is_kernels_available\nprint(is_kernels_available())"
    done = run_python(HIDE.format(root=str(ROOT)) + code)
    assert done.stdout.strip() == "False", done.stderr


def test_an_init_would_hide_hugging_faces_package(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").touch()
    done = run_python("from kernels import get_kernel", folder=tmp_path)
    assert "ImportError: cannot import name 'get_kernel'" in done.stderr
