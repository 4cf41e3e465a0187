"""Transformers without its reports and bars, and alignmlm without its log lines."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """While this is open, transformers reports no heads that a checkpoint lacks, and draws no bars.

    What the caller had set comes back at the end.
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
    """While this is open, alignmlm logs nothing but errors."""
    log = logging.getLogger("alignmlm")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
