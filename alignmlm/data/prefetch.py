"""Batches prepared ahead by threads, so that the model does not wait for them.

A batch is a pure function of its step, so it does not matter which thread makes it, or when. The
compiled code releases the GIL, hence threads: no batch is copied between processes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Made = TypeVar("Made")
AHEAD = 2  # batches being made or ready, for each worker


def in_order(
    make: Callable[[int], Made], first: int, last: int, workers: int
) -> Iterator[Callable[[], Made]]:
    """Yield getters of make(first), ..., make(last - 1), computed ahead by `workers` threads.

    A getter returns the result or raises what make raised. Without workers it calls make itself.
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
