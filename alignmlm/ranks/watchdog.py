"""A watchdog over ranks: one that dies, hangs or is cut off is named, and the others exit.

Each rank publishes a heartbeat with its state once per interval, over a separate store on rank 0.
Each rank has two threads: one talks to the store and may hang with the network; the other only
checks clocks and ends the process. So a rank cut off from rank 0, or rank 0 from all, exits too.
"""

import faulthandler
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any

import torch

from alignmlm.ranks.signals import SavedAndStoppedError

log = logging.getLogger(__name__)

INTERVAL_S = 1.0  # between two heartbeats
PATIENCE = 4  # intervals to find out who is gone after a connection broke
FAILED = 1  # exit code when another rank failed
OURS = str(Path(__file__).parents[1])
NOWHERE = ("sum_over_ranks", "collective")  # their callers are more informative
READING = ("outcomes", "step_metrics", "interval_metrics")  # reading a GPU's results may wait too
OF_OTHERS = ("torch/distributed", "deepspeed/comm")  # where a rank waits for others


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A heartbeat: the state of one rank."""

    beat: int  # increases with every heartbeat
    turn: int  # increases with training
    step: int
    place: str  # of the main thread, in our code
    waits: bool  # in a collective operation
    host: str
    pid: int
    left: str = ""  # why it ends, if so


def place_of(thread: int) -> tuple[str, bool]:
    """The position of a thread in our code, and whether it waits for other ranks there."""
    frame, waits = sys._current_frames().get(thread), False
    while frame is not None:
        name = frame.f_code.co_filename
        waits = waits or any(part in name for part in OF_OTHERS)
        if name.startswith(OURS) and frame.f_code.co_name not in NOWHERE:
            waits = waits or frame.f_code.co_name in READING
            return f"{Path(name).name}:{frame.f_lineno} {frame.f_code.co_name}", waits
        frame = frame.f_back
    return "unknown", waits


def broke_with_others(error: BaseException) -> bool:
    """Whether an exception means that other ranks cannot be reached."""
    if not isinstance(error, RuntimeError):
        return False
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if any(part in trace.tb_frame.f_code.co_filename for part in OF_OTHERS):
            return True
        trace = trace.tb_next
    return any(word in str(error) for word in ("gloo", "NCCL", "Connection closed"))


@dataclass
class RankWatch:
    """This rank's view of the others."""

    rank: int
    size: int
    timeout_s: float
    store: Any
    turn: Callable[[], tuple[int, int]]  # progress of training: a count, and the step
    interval_s: float = INTERVAL_S
    main: int = field(default_factory=threading.get_ident)
    left: str = ""
    over: threading.Event = field(default_factory=threading.Event)
    ending: threading.Lock = field(default_factory=threading.Lock)
    heartbeats: dict[int, Heartbeat] = field(default_factory=dict)
    seen: dict[int, float] = field(default_factory=dict)  # when a rank's heartbeat last changed
    reached: float = field(default_factory=monotonic)  # when the store last answered
    lost: str = ""  # why the store cannot be reached

    def start(self) -> None:
        """Start publishing heartbeats and checking those of others."""
        self.publish(1)
        torch.distributed.barrier()  # from here on every rank has published one
        for work in (self.publish_heartbeats, self.end_when_stuck):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()

    def heartbeat(self, beat: int) -> Heartbeat:
        """The heartbeat of this rank."""
        turn, step = self.turn()
        place, waits = place_of(self.main)
        return Heartbeat(
            beat, turn, step, place, waits, socket.gethostname(), os.getpid(), self.left
        )

    def publish(self, beat: int) -> None:
        """Publish a heartbeat."""
        heartbeat = self.heartbeat(beat)
        text = json.dumps([getattr(heartbeat, name) for name in Heartbeat.__slots__])
        self.store.set(f"rank/{self.rank}", text)

    def read_all(self) -> None:
        """Read all heartbeats."""
        keys = [f"rank/{rank}" for rank in range(self.size)]
        for rank, text in enumerate(self.store.multi_get(keys)):
            heartbeat = Heartbeat(*json.loads(text))
            if rank not in self.heartbeats or heartbeat.beat != self.heartbeats[rank].beat:
                self.seen[rank] = monotonic()
            self.heartbeats[rank] = heartbeat

    def publish_heartbeats(self) -> None:
        """The thread that talks to the store; it may hang as long as the network does."""
        beat = 1
        while not self.over.is_set() or self.left:
            beat += 1
            try:
                self.publish(beat)
                self.read_all()
            except (RuntimeError, ValueError) as error:
                self.lost = str(error).splitlines()[0]
                return
            self.reached = monotonic()
            sleep(self.interval_s)

    def end_when_stuck(self) -> None:
        """The thread that ends this process when nothing has moved for too long.

        It counts its own rounds, so that time in which this process was frozen does not count, and
        only rounds in which the main thread waits for others: its own work may take any time.
        """
        turn, stuck_s = -1, 0.0
        limit_s = self.timeout_s - 2 * self.interval_s  # torch's own timeout names no rank
        while not self.over.wait(self.interval_s):
            now, waits = self.turn()[0], place_of(self.main)[1]
            stuck_s = stuck_s + self.interval_s if now == turn and waits else 0.0
            turn = now
            leaving = any(s.left for r, s in list(self.heartbeats.items()) if r != self.rank)
            if stuck_s >= limit_s or (leaving and stuck_s >= PATIENCE * self.interval_s):
                self.end(f"nothing has moved for {stuck_s:.0f} s", stacks=True)

    def verdict(self) -> list[str]:
        """What is wrong with the other ranks, by name."""
        heartbeats, reached = dict(self.heartbeats), self.reached
        silent_s = monotonic() - reached
        problems, mine = [], self.heartbeat(0)
        furthest = max((heartbeat.turn for heartbeat in heartbeats.values()), default=0)
        for rank, heartbeat in heartbeats.items():
            name = f"rank {rank} (host {heartbeat.host}, pid {heartbeat.pid})"
            was = f"at step {heartbeat.step}, in {heartbeat.place}"
            quiet_s = reached - self.seen[rank]
            if rank == self.rank:
                continue
            if heartbeat.left:
                problems.append(f"{name} ended {was}: {heartbeat.left}")
            elif quiet_s >= 2.5 * self.interval_s:
                problems.append(f"{name} gives no sign of life for {quiet_s:.0f} s; it was {was}")
            elif heartbeat.turn < furthest or (mine.waits and not heartbeat.waits):
                problems.append(f"{name} is alive but did not arrive: it is {was}")
        if self.rank and not problems and (self.lost or silent_s >= 2.5 * self.interval_s):
            first = heartbeats.get(0)
            name = f"rank 0 (host {first.host}, pid {first.pid})" if first else "rank 0"
            why = f"closed the connection ({self.lost})" if self.lost else "does not answer"
            problems.append(
                f"{name} {why}, since {silent_s:.0f} s: its process or machine is gone, or this "
                f"machine is cut off"
            )
        return problems or ["all other ranks give signs of life"]

    def find_out(self) -> None:
        """Wait until it is clear which rank is gone."""
        for _ in range(4 * PATIENCE):
            if self.lost or any(s.left for r, s in list(self.heartbeats.items()) if r != self.rank):
                break
            sleep(self.interval_s / 4)
        sleep(self.interval_s / 2)

    def end(self, why: str, stacks: bool) -> None:
        """End this process, logging what is known about the others."""
        with self.ending:  # only the first thread gets past here
            here = place_of(self.main)[0]
            problems = "; ".join(self.verdict())
            log.critical("rank %d stops in %s: %s; %s", self.rank, here, why, problems)
            with suppress(OSError, ValueError):
                if stacks:
                    faulthandler.dump_traceback(sys.stderr)
                sys.stdout.flush()
                sys.stderr.flush()
            if self.rank == 0:
                sleep(2 * self.interval_s)  # the others still read heartbeats here
            os._exit(FAILED)

    def leave(self, error: BaseException) -> None:
        """Tell the others why this rank is about to end."""
        self.left = f"{type(error).__name__}: {error}"[:500]
        self.over.set()
        sleep(2 * self.interval_s * (2 if self.rank == 0 else 1))


def open_store(rank: int, timeout_s: float) -> Any:
    """A store on rank 0 for the watchdog alone; the launcher's serves one caller at a time."""
    host, limit = os.environ["MASTER_ADDR"], timedelta(seconds=timeout_s)
    store, port = None, [0]
    if rank == 0:
        store = torch.distributed.TCPStore(host, 0, None, True, limit, wait_for_workers=False)
        port = [store.port]
    torch.distributed.broadcast_object_list(port)
    if store is None:
        store = torch.distributed.TCPStore(host, port[0], None, False, limit)
    return store


@contextmanager
def watched(timeout_s: float, turn: Callable[[], tuple[int, int]]) -> Iterator[None]:
    """A context in which no rank waits for another that is gone; does nothing with one rank.

    `turn` returns a count that increases with training, and the step.
    """
    size, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
    if size == 1:
        yield
        return
    interval_s = min(INTERVAL_S, timeout_s / 10)
    watch = RankWatch(rank, size, timeout_s, open_store(rank, timeout_s), turn, interval_s)
    watch.start()
    try:
        yield
    except Exception as error:
        if broke_with_others(error):
            watch.find_out()
            watch.end(str(error).splitlines()[0], stacks=False)
        if not isinstance(error, SavedAndStoppedError):  # which all ranks agreed on
            watch.leave(error)
        raise
    finally:
        watch.over.set()
