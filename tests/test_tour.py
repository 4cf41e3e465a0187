"""docs/tour.md names functions in the order in which a real run first calls them."""

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import SMALL
from tests.limits import HANG_S

STOP = re.compile(r"^\| `([\w/]+\.py)` `([\w.]+)` \|", re.MULTILINE)
TRACED_RUN = """
import sys
from alignmlm import cli

called = {}

def note(frame, event, _):
    file = frame.f_code.co_filename
    if event == "call" and "/alignmlm" in file:
        called.setdefault((file, frame.f_code.co_qualname), None)

def print_calls(code):
    sys.setprofile(None)
    for file, name in called:
        print(f"{file} {name}")

cli.leave = print_calls
sys.setprofile(note)
cli.train()
"""


def test_the_stops_of_the_tour_are_called_in_its_order(tmp_path):
    stops = STOP.findall(Path("docs/tour.md").read_text("utf-8"))
    assert len(stops) > 25
    overrides = [f"--data.store={tmp_path / 'store'}", f"--run.dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-c", TRACED_RUN, *SMALL, *overrides, "--train.workers=0"],
        check=True,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    calls = [line.split(" ") for line in done.stdout.splitlines() if line.startswith("/")]
    places = []
    for file, name in stops:
        here = [i for i, (f, n) in enumerate(calls) if f.endswith(f"/{file}") and n == name]
        assert here, f"docs/tour.md: {file} {name} was not called"
        places.append(here[0])
    assert places == sorted(places)
