"""Silencing transformers' reports and progress bars, and alignmlm's log lines."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """A context in which transformers neither reports missing heads nor draws progress bars.

    The caller's settings are restored at the end.
    """
    from transformers.utils import logging as reports

    verbosity, bars = reports.get_verbosity(), reports.is_progress_bar_enabled()
    reports.set_verbosity_error()
    reports.disable_progress_bar()
    try:
        yield
    finally:
        reports.set_verbosity(verbosity)
        if bars:
            reports.enable_progress_bar()


@contextmanager
def quiet_logs() -> Iterator[None]:
    """A context in which alignmlm logs nothing but errors."""
    log = logging.getLogger("alignmlm")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
