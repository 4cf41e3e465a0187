"""SIGTERM and SIGUSR1 ask a run to save itself and end; the loop does so between two steps."""

import signal
import threading
from types import FrameType

REQUEUE_EXIT_CODE = 85  # saved because of a signal; start the same command again
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

_asked = threading.Event()


class SavedAndStoppedError(Exception):
    """The run ended between two steps because a signal asked for it; nothing is lost."""


def _ask(number: int, frame: FrameType | None) -> None:
    """Remember the signal, and nothing else: standard output may be gone, a save under way."""
    _asked.set()


def listen() -> None:
    """From now on both signals ask instead of killing; outside the main thread nothing happens."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _ask)


def forget() -> None:
    """What was asked so far has been dealt with."""
    _asked.clear()


def asked() -> bool:
    """Whether a signal has come to this process."""
    return _asked.is_set()
