"""A finished run for the tests of what is measured on its checkpoints."""

from pathlib import Path

import pytest

from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.pretraining.recipe import Recipe
from tests.conftest import SMALL
from tests.runs import pretrain


@pytest.fixture(scope="module")
def run(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with checkpoints of steps 4 and 8."""
    folder = tmp_path_factory.mktemp("studies") / "run"
    places = [f"--data.store={small_store}", f"--run.dir={folder}"]
    pretrain(load_recipe(None, [*SMALL, *places]), None)
    return folder


@pytest.fixture
def moved_recipe(run: Path, small_store: Path, tmp_path: Path) -> Recipe:
    """The recipe of the run after its store was built anew from other text, tokenizer kept."""
    source = '--data.sources=[{"language": "qaa-Latn", "files": ["sample:700"]}]'
    moved = [
        source,
        f"--data.store={tmp_path / 'other'}",
        f"--data.tokenizer={small_store / 'tokenizer.json'}",
    ]
    found = load_recipe(run / "recipe.yaml", moved)
    build_store(found.data)
    return found
