"""Commands of README and how-to pages that need Wikipedia's text or a cluster, word for word.

They run in a folder of their own with the first megabytes of the text, a small encoder and few
steps and examples; what goes to SLURM is printed and not submitted.
"""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documented import LEFT_OUT, RUN_SMALL
from tests.limits import HANG_S

ROOT = Path(__file__).parents[1]
TEXT = "corpora/en/wikipedia_en_2014.txt.gz"
BYTES = 4_000_000
FOLDERS = ("recipes", "studies", "ds_configs", "launchers", "train.py")
SMALLER = {
    "deepspeed train.py": ["--model.size=tiny", "--train.steps=4", "--train.batch_rows=4"],
    "alignmlm eval run": ["--evaluation.limit=20", "--evaluation.finetune.epochs=1"],
    "alignmlm launch": ["--dry-run"],
}
pytestmark = pytest.mark.slow


@pytest.fixture
def place(shared_data: Path, tmp_path: Path) -> Path:
    """A folder that looks like the checkout, beside data whose Wikipedia is short."""
    for name in FOLDERS:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "runs").mkdir()
    for name in ("a-1", "b-1"):  # the pages' names of any two runs
        (tmp_path / "runs" / name).symlink_to("wikipedia-align_mlm-1")
    data = tmp_path / "shared"
    (data / TEXT).parent.mkdir(parents=True)
    for path in shared_data.iterdir():
        if path.name != "corpora":
            (data / path.name).symlink_to(path.resolve())
    with gzip.open(shared_data / TEXT) as whole:
        first = whole.read(BYTES)
    (data / TEXT).write_bytes(gzip.compress(first[: first.rindex(b"\n") + 1]))
    return tmp_path


def test_what_needs_wikipedia_or_slurm_runs_small(place):
    commands = [command for command, reason in LEFT_OUT.items() if reason == RUN_SMALL]
    assert commands[0].startswith("alignmlm data build")
    programs = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    own = {**os.environ, **programs, "ALIGNMLM_DATA": str(place / "shared")}
    for command in commands:
        more = next((flags for start, flags in SMALLER.items() if command.startswith(start)), [])
        done = subprocess.run(
            [*command.split(), *more],
            cwd=place, env=own, capture_output=True, text=True, timeout=HANG_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
