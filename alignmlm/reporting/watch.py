"""A server for the page of a running study, on loopback; rebuilt when runs write something."""

import logging
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import xxhash

from alignmlm.artifacts.names import RESULTS, STUDY, SUMMARY, WORDS
from alignmlm.errors import AlignMLMError
from alignmlm.pretraining.run_records import METRICS
from alignmlm.reporting.page import found_in, page_of
from alignmlm.storage.atomic import files_below

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
EVERY_S = 10.0  # between two checks of the files
WATCHED = (METRICS, SUMMARY, RESULTS, STUDY, WORDS)


def stamp_of(folders: Sequence[Path]) -> str:
    """A hash that changes when a run, an evaluation or a study writes something."""
    digest = xxhash.xxh3_64()
    for folder in folders:
        for path in sorted(path for path in files_below(folder) if path.name in WATCHED):
            try:
                state = path.stat()
            except FileNotFoundError:  # replaced at this moment
                continue
            digest.update(f"{path}\n{state.st_mtime_ns} {state.st_size}\n".encode())
    return digest.hexdigest()


@dataclass(slots=True)
class Watched:
    """Folders, their page as it was last made, and when that was."""

    folders: Sequence[Path]
    every_s: float = EVERY_S
    stamp: str = ""
    text: str = ""
    looked_at: float = -1e9
    lock: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self) -> None:
        """Rebuild the page if files have changed, checking at most once every `every_s` seconds.

        A page that cannot be built because files are being replaced is built at the next check.

        Raises:
            AlignMLMError: the first page cannot be built.
        """
        with self.lock:
            if time.monotonic() - self.looked_at < self.every_s:
                return
            now = stamp_of(self.folders)
            if now != self.stamp:
                try:
                    self.text = page_of(*found_in(self.folders), live=now)
                    self.stamp = now
                except AlignMLMError as error:
                    if not self.text:
                        raise
                    log.warning("the page stays as it is for now: %s", error)
            self.looked_at = time.monotonic()


class Server(ThreadingHTTPServer):
    """A server of one page that only this machine can reach."""

    daemon_threads = True

    def __init__(self, watched: Watched, port: int) -> None:
        self.watched = watched
        super().__init__((LOOPBACK, port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away before it had its answer is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    """Answers for the page and for its stamp."""

    server: Server

    def do_GET(self) -> None:
        """Serve the page at "/", and at "/stamp" the stamp of its version."""
        port = self.server.server_address[1]
        if self.headers.get("Host") not in (f"{LOOPBACK}:{port}", f"localhost:{port}"):
            self.answer(403, "this page is for this machine alone\n")
            return
        try:
            self.server.watched.refresh()
        except AlignMLMError as error:
            self.answer(503, f"{error}\n")
            return
        texts = {"/": self.server.watched.text, "/stamp": self.server.watched.stamp}
        if (text := texts.get(self.path)) is None:
            self.answer(404, "there is / and /stamp\n")
        else:
            self.answer(200, text, "text/html" if self.path == "/" else "text/plain")

    def answer(self, status: int, text: str, kind: str = "text/plain") -> None:
        """Send a text."""
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log a request at debug level."""
        log.debug(format, *arguments)
