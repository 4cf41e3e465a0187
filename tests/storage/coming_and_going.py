"""Folders that appear and vanish while something looks through the ones above them."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path


@contextmanager
def folders_come_and_go(parent: Path) -> Iterator[None]:
    """Make and remove folders in a thread until the block ends."""
    ended = threading.Event()

    def make_and_remove() -> None:
        for number in count():
            if ended.is_set():
                return
            folder = parent / f"step-{number}"
            (folder / "a" / "b").mkdir(parents=True)
            (folder / "a" / "file").write_text("1", "utf-8")
            shutil.rmtree(folder)

    thread = threading.Thread(target=make_and_remove)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
