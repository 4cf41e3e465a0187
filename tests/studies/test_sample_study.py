"""The study of `make train` over three seeds: the effect is there in each."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from alignmlm.studies.running import run_study
from alignmlm.studies.study import load_study


@pytest.mark.slow
def test_align_mlm_transfers_better_than_mlm_at_three_seeds(tmp_path):
    sample = load_study(Path("studies/sample.yaml"))
    rows = run_study(replace(sample, seeds=[0, 1, 2], folder=str(tmp_path / "study"))).rows
    delta = {(row["objective"], row["task"], row["seed"]): row["delta"] for row in rows}
    assert len(delta) == 12
    for task, seed in product(sample.tasks, (0, 1, 2)):
        assert delta["align_mlm", task, seed] < delta["mlm", task, seed] - 10  # points
