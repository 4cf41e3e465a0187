"""A finished run for the tests of what is measured on its checkpoints."""

from pathlib import Path

import pytest

from alignmlm.config import load_recipe
from alignmlm.pretraining.run import pretrain
from tests.conftest import SMALL


@pytest.fixture(scope="module")
def run(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with checkpoints of steps 4 and 8."""
    folder = tmp_path_factory.mktemp("studies") / "run"
    places = [f"--data.store={small_store}", f"--run.dir={folder}"]
    pretrain(load_recipe(None, [*SMALL, *places]), None)
    return folder
