"""Ranks that watch each other: what is said of one that is gone, late or slow."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignmlm.pretraining import loop
from alignmlm.pretraining.engine import Engine
from alignmlm.ranks import rank_zero
from alignmlm.ranks.stragglers import DeviceTime, SlowRank
from alignmlm.ranks.watchdog import (
    NOWHERE,
    READING,
    Heartbeat,
    RankWatch,
    broke_with_others,
    place_of,
)
from tests.limits import HANG_S

NAMES = ["rank 0 on a", "rank 1 on b", "rank 2 on c"]
FINE = Heartbeat(
    beat=5, turn=10, step=4, place="engine.py:1 sync_batches", waits=True, host="b", pid=7
)


def watch_of(known: dict[int, Heartbeat], quiet_s: dict[int, float], rank: int = 0) -> RankWatch:
    """Rank `rank`'s view of heartbeats that came so many seconds before the last look."""
    watch = RankWatch(rank, len(known) + 1, 60.0, None, lambda: (10, 4), heartbeats=dict(known))
    watch.seen = {other: watch.reached - quiet_s.get(other, 0.0) for other in known}
    return watch


def test_functions_that_the_watch_knows_by_name_exist():
    known = {name for part in (loop, rank_zero, Engine) for name in vars(part)}
    assert known >= {*NOWHERE, *READING}


def test_a_rank_without_signs_of_life_is_named_with_its_place():
    told = watch_of({1: FINE, 2: replace(FINE, pid=8)}, {2: 9.0}).verdict()
    assert told == [
        "rank 2 (host b, pid 8) gives no sign of life for 9 s; it was at step 4, in "
        "engine.py:1 sync_batches"
    ]


def test_a_rank_that_lives_but_did_not_arrive_is_named():
    late = replace(FINE, turn=9, place="rows.py:7 read", waits=False)
    told = watch_of({1: FINE, 2: late}, {}).verdict()
    assert told == [
        "rank 2 (host b, pid 7) is alive but did not arrive: it is at step 4, in rows.py:7 read"
    ]


def test_a_rank_that_left_says_why():
    left = replace(FINE, left="MemoryError: 2 GiB")
    assert (
        "ended at step 4, in engine.py:1 sync_batches: MemoryError: 2 GiB"
        in (watch_of({1: left}, {}).verdict()[0])
    )


def test_a_rank_that_is_cut_off_names_the_first_rank():
    watch = watch_of({0: FINE, 2: FINE}, {}, rank=1)
    watch.reached -= 30
    watch.seen = {0: watch.reached, 2: watch.reached}
    (told,) = watch.verdict()
    assert told.startswith("rank 0 (host b, pid 7) does not answer, since 30 s")
    assert "this machine is cut off" in told


def test_signs_go_over_a_store_and_grow_old():
    store = torch.distributed.HashStore()
    first, second = (RankWatch(r, 2, 60.0, store, lambda: (1, 1)) for r in range(2))
    first.publish(1)
    second.publish(1)
    first.read_all()
    before = first.seen[1]
    time.sleep(0.01)
    first.read_all()
    assert first.seen[1] == before
    second.publish(2)
    first.read_all()
    assert first.seen[1] > before


def test_the_place_of_a_thread_is_the_innermost_line_of_ours():
    event, watch = threading.Event(), watch_of({}, {})
    watch.interval_s, watch.over = 0.05, event
    thread = threading.Thread(target=watch.end_when_stuck)
    thread.start()
    place, waits = place_of(thread.ident)
    event.set()
    thread.join()
    assert place.startswith("watchdog.py:")
    assert place.endswith(" end_when_stuck")
    assert not waits


def test_only_an_error_of_a_connection_is_blamed_on_others():
    assert broke_with_others(RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer"))
    assert not broke_with_others(RuntimeError("shape mismatch"))
    assert not broke_with_others(ValueError("gloo"))


def test_a_rank_that_stays_slow_is_named_once(caplog):
    slow = SlowRank(NAMES)
    with caplog.at_level("WARNING"):
        found = [slow.judge([1.0, 1.7, 1.0], tell=True) for _ in range(5)]
    assert found[0] == {"train/slowest_rank": 1, "train/slowest_rank_ratio": 1.7}
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "rank 1 on b is slow: 1.70 times the median rank's time for data and forward pass"
    ]


def test_ranks_that_are_slow_in_turn_are_not_named(caplog):
    slow = SlowRank(NAMES)
    with caplog.at_level("WARNING"):
        for number in range(9):
            slow.judge([3.0 if number % 3 == rank else 1.0 for rank in range(3)], tell=True)
    assert not caplog.records


def test_a_stopwatch_counts_what_happened_since_it_was_read():
    passed = DeviceTime(torch.device("cpu"))
    with passed:
        time.sleep(0.02)
    assert 0.02 <= passed.take_s() < 0.5
    assert passed.take_s() == 0


@pytest.mark.dist
@pytest.mark.slow
def test_runs_that_are_killed_told_to_end_or_frozen_end_like_one_that_nobody_hurt(tmp_path):
    rows, script = tmp_path / "faults.jsonl", Path("benchmarks/faults.py")
    line = [sys.executable, str(script), "--smoke", "--output", str(rows)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    trials = {row["kind"]: row for row in map(json.loads, rows.read_text().splitlines())}
    assert set(trials) == {"kill step", "sigterm", "freeze"}
    assert all(row["equal"] and not row["lost"] for row in trials.values())
    assert trials["sigterm"]["codes"][0] == [85, 85]
    for kind in ("kill step", "freeze"):
        assert trials[kind]["named"]
        assert 1 in trials[kind]["codes"][0]
