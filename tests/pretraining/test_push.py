"""`alignmlm export --push` against a hub on loopback that keeps what it is sent."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.limits import HANG_S
from tests.runs import pretrain

NAME = "some-lab/encoder"
UPLOADED = {"uploadMode": "regular", "shouldIgnore": False}
PUSH = "import sys; from alignmlm.cli import main; sys.argv[0] = 'alignmlm'; main()"


class Hub(ThreadingHTTPServer):
    """The three requests of a small upload; `refuses`: the status of all of them instead."""

    def __init__(self, refuses: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.refuses = refuses
        self.created: dict[str, object] = {}
        self.files: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, body: bytes) -> dict[str, object]:
        """What the hub says to a request."""
        if path == "/api/repos/create":
            self.created = json.loads(body)
            return {"url": f"{self.address}/{NAME}", "id": NAME}
        if path.endswith("/preupload/main"):
            paths = [file["path"] for file in json.loads(body)["files"]]
            return {"files": [UPLOADED | {"path": path} for path in paths]}
        if path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return {"commitUrl": f"{self.address}/{NAME}/commit/1", "commitOid": "1"}
        return {"errors": [], "warnings": []}  # of the card


class Requests(BaseHTTPRequestHandler):
    """Hands requests to the hub."""

    server: Hub

    def do_POST(self) -> None:
        """Answer a request in JSON."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = json.dumps(self.server.answer(self.path, body)).encode()
        self.send_response(self.server.refuses or 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(request) -> Iterator[Hub]:
    with Hub(getattr(request, "param", 0)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def push(run: Path, output: Path, hub: Hub, *options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", PUSH, "export", str(run), str(output), f"--push={NAME}", *options]
    env = os.environ | {"HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0"}
    return subprocess.run(line, capture_output=True, text=True, timeout=HANG_S, env=env)


@pytest.fixture(scope="module")
def trained(small_store, tmp_path_factory) -> Path:
    from alignmlm.config import load_recipe
    from tests.conftest import SMALL

    folder = tmp_path_factory.mktemp("trained") / "run"
    fixed = [f"--data.store={small_store}", f"--run.dir={folder}"]
    return pretrain(load_recipe(None, [*SMALL, *fixed]), None)[0]


def test_a_pushed_model_is_on_the_hub_to_the_last_byte_and_private(trained, hub, tmp_path):
    done = push(trained, tmp_path / "model", hub)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"pushed: {hub.address}/{NAME}"
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert {name: hub.files[name] for name in files} == files
    assert hub.created["name"] == "encoder"
    assert hub.created["organization"] == "some-lab"
    assert hub.created.get("visibility") == "private" or hub.created["private"] is True


@pytest.mark.parametrize("hub", [403], indirect=True)
def test_a_hub_that_refuses_is_an_error_and_the_export_stays(trained, hub, tmp_path):
    done = push(trained, tmp_path / "model", hub)
    assert done.returncode == 2
    assert f"is not pushed to {NAME}" in " ".join(done.stderr.split())
    assert (tmp_path / "model" / "model.safetensors").is_file()
