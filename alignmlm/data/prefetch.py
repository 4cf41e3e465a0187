"""Batches made ahead by threads, so that the model does not wait for them.

A batch is a pure function of its step, so who makes it, and when, changes nothing. The compiled
code runs without Python's lock, hence threads: no batch is copied between processes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Made = TypeVar("Made")
AHEAD = 2  # batches in the making or ready, for each worker


def in_order(
    make: Callable[[int], Made], first: int, last: int, workers: int
) -> Iterator[Callable[[], Made]]:
    """What gives make(first), ..., make(last - 1), in this order, made ahead by `workers` threads.

    What making it raised is raised where it is asked for. Without workers each is made when it is
    asked for.
    """
    if not workers:
        for step in range(first, last):
            yield partial(make, step)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as threads:
        waiting: deque[Future[Made]] = deque()
        try:
            for step in range(first, last):
                waiting.append(threads.submit(make, step))
                if len(waiting) == AHEAD * workers:
                    yield waiting.popleft().result
            while waiting:
                yield waiting.popleft().result
        finally:
            for future in waiting:
                future.cancel()
