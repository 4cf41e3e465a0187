import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from functools import partial
from http.client import HTTPConnection

import pytest

from alignmlm.errors import DataError
from alignmlm.reporting.page import found_in
from alignmlm.reporting.watch import LOOPBACK, Server, Watched, stamp_of
from tests.limits import HANG_S
from tests.reporting.studies import write_study
from tests.storage.coming_and_going import folders_come_and_go


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path / "study", ["mlm", "align_mlm"], [0, 1], points=20)


@pytest.fixture
def server(study):
    found = Server(Watched([study], every_s=0.0), 0)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join(HANG_S)


def asked(server, path: str, host: str | None = None) -> tuple[int, str]:
    port = server.server_address[1]
    connection = HTTPConnection(LOOPBACK, port, timeout=HANG_S)
    connection.request("GET", path, headers={"Host": host or f"{LOOPBACK}:{port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def go_on(study) -> None:
    """A run logs one more step."""
    with (study / "mlm-seed0" / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": 5000, "train/tokens_per_s": 3e4}) + "\n")


def test_the_page_may_ask_its_own_server_and_nobody_else(server):
    status, page = asked(server, "/")
    assert status == 200
    assert "connect-src &#39;self&#39;" in page or "connect-src 'self'" in page
    assert asked(server, "/stamp") == (200, re.search(r'data-live="(\w+)"', page)[1])


def test_other_hosts_and_paths_get_nothing(server):
    assert server.server_address[0] == LOOPBACK
    assert asked(server, "/", "evil.example")[0] == 403
    assert asked(server, "/../study.json")[0] == 404


def test_the_stamp_changes_when_a_run_goes_on_and_only_then(server, study):
    first = asked(server, "/stamp")
    assert asked(server, "/stamp") == first
    go_on(study)
    assert asked(server, "/stamp") != first


def test_a_page_that_cannot_be_made_for_now_stays_as_it_is(server, study):
    page = asked(server, "/")
    (study / "study.json").write_text("{", "utf-8")
    assert asked(server, "/") == page
    (study / "study.json").unlink()
    assert asked(server, "/") != page


def test_the_first_page_of_damaged_files_is_an_error(study):
    (study / "study.json").write_text("{", "utf-8")
    with pytest.raises(DataError, match=r"study\.json"):
        Watched([study]).refresh()


def test_a_folder_without_runs_says_so(tmp_path):
    watched = Watched([tmp_path])
    watched.refresh()
    assert "There is no run yet." in watched.text


def test_the_browser_shows_the_newer_page_and_keeps_what_was_chosen(browser, server, study):
    browser.open(server.address)
    browser.choose("curves-metric", "speed (tokens/s)")
    browser.run("document.activeElement.blur()")
    dots = "document.querySelectorAll('#curves-chart > svg .dot').length"
    before = browser.run(dots)
    go_on(study)
    browser.wait(f"{dots} === {before + 1}")
    assert browser.run("document.getElementById('curves-metric').value") == "speed (tokens/s)"
    assert browser.complaints() == []


def test_the_command_serves_until_it_is_interrupted(study):
    line = [sys.executable, "-m", "alignmlm.cli", "report", str(study), "--watch"]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background has not
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        try:
            told = process.stdout.readline()
            port = int(re.search(r"http://127\.0\.0\.1:(\d+)/ \(Ctrl-C ends it\)", told)[1])
            connection = HTTPConnection(LOOPBACK, port, timeout=HANG_S)
            connection.request("GET", "/")
            assert "Study toy" in connection.getresponse().read().decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(HANG_S) == 0
        finally:
            process.kill()


def test_folders_that_a_run_removes_meanwhile_stop_nothing(study):
    with folders_come_and_go(study / "mlm-seed0" / "checkpoints"):
        for _ in range(1000):
            stamp_of([study])
            found_in([study])


def test_a_browser_that_goes_away_is_no_error(server, capfd):
    asked(server, "/")
    for _ in range(3):
        with socket.create_connection(server.server_address) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            host = f"{LOOPBACK}:{server.server_address[1]}"
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert asked(server, "/")[0] == 200
    assert "Traceback" not in capfd.readouterr().err
