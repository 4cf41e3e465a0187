"""Other libraries' loaders deliver every token of the file, in another order each epoch."""

import importlib.util
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from alignmlm.errors import DataError

SOURCE = Path(__file__).parents[2] / "benchmarks" / "loader_peers.py"
SPEC = importlib.util.spec_from_file_location("loader_peers", SOURCE)
loader_peers = importlib.util.module_from_spec(SPEC)
sys.modules["loader_peers"] = loader_peers
SPEC.loader.exec_module(loader_peers)

pytestmark = pytest.mark.filterwarnings("ignore:.*set_vital.*")
EPOCH_BATCHES = 2  # 390 rows: one batch of 256, one of 134


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("peers")
    loader_peers.write_sample(path, 200_000)
    return path


@pytest.fixture(params=loader_peers.PEERS, ids=lambda peer: peer.name)
def peer(request):
    if not loader_peers.is_installed(request.param):
        pytest.skip(f"{request.param.package} is not installed")
    return request.param


def original(batch) -> np.ndarray:
    """The rows that a batch was made of, its mask and reversal undone."""
    tokens = np.asarray(batch.tokens).astype(np.int64)
    if batch.labels is None:
        return tokens
    return np.where(batch.labels == loader_peers.IGNORED, tokens, batch.labels)[:, ::-1]


def epochs(peer, folder, number: int, seed: int = 0) -> list[np.ndarray]:
    """Rows of the first epochs, in the order in which they came."""
    batches = islice(peer.open(folder, seed), number * EPOCH_BATCHES)
    rows = [original(batch) for batch in batches]
    return [
        np.concatenate(rows[start : start + EPOCH_BATCHES])
        for start in range(0, len(rows), EPOCH_BATCHES)
    ]


def in_order(rows: np.ndarray) -> list[list[int]]:
    """Rows sorted, so that two orders of the same rows are equal."""
    return sorted(rows.tolist())


def test_an_epoch_holds_each_row_of_the_file_once(peer, folder):
    (rows,) = epochs(peer, folder, 1)
    assert in_order(rows) == in_order(loader_peers.row_matrix(folder))


def test_batches_have_256_rows_of_512_integers(peer, folder):
    tokens = next(peer.open(folder, 0)).tokens
    assert tuple(tokens.shape) == (256, 512)
    assert str(tokens.dtype) in ("uint16", "int64", "torch.int64")


def test_rows_are_shuffled_anew_in_each_epoch(peer, folder):
    first, second = epochs(peer, folder, 2)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, loader_peers.row_matrix(folder))


def test_a_seed_decides_the_order(peer, folder):
    once, again, other = (epochs(peer, folder, 1, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(once, again)
    assert not np.array_equal(once, other)


def test_a_batch_is_a_copy_that_does_not_change_with_the_next(peer, folder):
    batches = peer.open(folder, 0)
    batch = next(batches)
    before = original(batch).copy()
    next(batches)
    assert np.array_equal(original(batch), before)
    assert not np.shares_memory(np.asarray(batch.tokens), loader_peers.row_matrix(folder))


def test_the_mask_predicts_15_percent_as_80_10_10():
    rows = np.full((256, 512), 7, np.uint16)
    inputs, labels = loader_peers.bert_mask(rows, np.random.default_rng(0))
    chosen = labels != loader_peers.IGNORED
    assert chosen.mean() == pytest.approx(0.15, abs=0.005)
    assert (inputs[chosen] == loader_peers.MASK_ID).mean() == pytest.approx(0.8, abs=0.01)
    assert (inputs[chosen] == 7).mean() == pytest.approx(0.1, abs=0.01)
    assert np.array_equal(inputs[~chosen], rows[~chosen])


def test_the_mask_leaves_special_tokens_alone():
    rows = np.full((8, 512), loader_peers.SPECIAL_TOKENS - 1, np.uint16)
    inputs, labels = loader_peers.bert_mask(rows, np.random.default_rng(0))
    assert np.array_equal(inputs, rows)
    assert np.all(labels == loader_peers.IGNORED)


def test_a_form_is_written_once_and_anew_when_the_file_changes(tmp_path):
    loader_peers.write_sample(tmp_path, 2048)
    once = loader_peers.built(tmp_path, "form", lambda path: path.write_text("one"))
    again = loader_peers.built(tmp_path, "form", lambda path: path.write_text("two"))
    loader_peers.write_sample(tmp_path, 4096)
    changed = loader_peers.built(tmp_path, "form", lambda path: path.write_text("three"))
    assert (once, once.read_text(), changed.read_text()) == (again, "one", "three")


def test_a_form_that_fails_leaves_nothing_behind(tmp_path):
    loader_peers.write_sample(tmp_path, 2048)

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        loader_peers.built(tmp_path, "form", fail)
    assert [path.name for path in tmp_path.iterdir()] == [loader_peers.TOKENS]


def test_a_cut_file_is_refused_by_name(tmp_path):
    (tmp_path / loader_peers.TOKENS).write_bytes(bytes(1500))
    with pytest.raises(DataError, match=r"tokens\.bin: 1500 bytes.*multiple of 1024"):
        loader_peers.row_matrix(tmp_path)


def test_a_missing_package_is_seen_before_it_is_needed():
    missing = loader_peers.Peer("absent", "no_such_package", loader_peers.gather)
    assert not loader_peers.is_installed(missing)


def test_each_peer_gets_one_rate_and_one_delay_for_each_round(folder):
    peers = loader_peers.PEERS[:2]
    timings = loader_peers.compare(peers, folder, seconds_s=0.01, repeats=3)
    assert list(timings) == [peer.name for peer in peers]
    for timing in timings.values():
        assert len(timing.first_batch_ms) == len(timing.rates_tokens_per_s) == 3
        assert min(timing.first_batch_ms + timing.rates_tokens_per_s) > 0
