"""Two ranks that go back to a checkpoint together."""

import pytest

from alignmlm.pretraining.faults import SkipList, read_skip_list, write_skip_list
from tests.conftest import SMALL
from tests.pretraining.test_faults import JUMPS, losses, same_state
from tests.pretraining.test_ranks import torchrun

pytestmark = [pytest.mark.dist, pytest.mark.slow]


def test_two_ranks_that_go_back_equal_two_that_never_saw_the_batches(small_store, tmp_path):
    stages = "013"
    for stage in stages:
        (tmp_path / f"skipped{stage}").mkdir()
        write_skip_list(tmp_path / f"skipped{stage}", SkipList([10, 11]))
    settings = [*SMALL, *JUMPS, "--faults.rewind=true", f"--data.store={small_store}"]
    script = ["-m", "tests.pretraining.spiking_ranks", str(tmp_path), ",".join(stages)]
    done = torchrun(2, *script, *settings)
    assert done.returncode == 0, done.stderr[-3000:]
    for stage in stages:
        jumped, skipped = tmp_path / f"jumped{stage}", tmp_path / f"skipped{stage}"
        assert read_skip_list(jumped) == SkipList([10, 11], [8])
        assert same_state(jumped, skipped, 14)
        assert losses(jumped) == losses(skipped)
