"""Signals that ask a run to save itself and end; the loop does so between two steps."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

from alignmlm.errors import ExitCode

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
ONE_PRESS_S = 0.5  # a terminal and a launcher may both send the SIGINT of one Ctrl-C

_asked = threading.Event()


class SavedAndStoppedError(Exception):
    """The run ended between two steps because a signal asked for it; nothing is lost."""


def _ask(number: int, frame: FrameType | None) -> None:
    """Only record the signal: standard output may be closed, or a save running."""
    _asked.set()


@contextmanager
def listening() -> Iterator[None]:
    """A context in which signals ask to stop instead of killing; a second Ctrl-C exits at once.

    Outside the main thread it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _ask) for number in SIGNALS}
    received, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    other = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    threading.Thread(target=_watch_interrupts, args=(received,), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(other)
        os.close(wakeup)  # which ends the thread
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_interrupts(received: int) -> None:
    """Wait for SIGINT in a thread, which runs even while the main one waits for other ranks."""
    first = None
    with open(received, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            if number[0] != signal.SIGINT:
                continue
            if first is None:
                first = monotonic()
                if os.environ.get("RANK", "0") == "0":
                    log.warning(
                        "Ctrl-C: saving a checkpoint and stopping after this step; "
                        "press again to exit at once"
                    )
            elif monotonic() - first > ONE_PRESS_S:
                os._exit(ExitCode.INTERRUPTED)


def forget() -> None:
    """Clear the request, once it has been handled."""
    _asked.clear()


def asked() -> bool:
    """Whether this process has received a signal."""
    return _asked.is_set()
