"""docs/tour.md names functions in the order in which real commands first call them."""

import subprocess
import sys

import pytest

from tests.conftest import SMALL
from tests.limits import HANG_S
from tests.tour import PAGE, stops_of, with_lines
from tests.toys import write_toy_task

SECOND = "## One labelled sentence"
TRACED = """
import os
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
        print(f"CALLED {os.path.relpath(file)} {name}")

cli.leave = print_calls
sys.setprofile(note)
getattr(cli, sys.argv.pop(1))()
"""


def calls(*words: str) -> list[tuple[str, str]]:
    """The functions of ours that an entry point calls, by file and name, as first called."""
    done = subprocess.run(
        [sys.executable, "-c", TRACED, *words], check=True, capture_output=True, text=True,
        timeout=HANG_S,
    )  # fmt: skip
    lines = [line.split(" ") for line in done.stdout.splitlines()]
    return [(line[1], line[2]) for line in lines if line[0] == "CALLED"]


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> list[list[tuple[str, str]]]:
    """The calls of the two commands of the page."""
    folder = tmp_path_factory.mktemp("tour")
    run, toy = f"--run.dir={folder / 'run'}", write_toy_task(folder).path
    train = ["train", *SMALL, f"--data.store={folder / 'store'}", run, "--train.workers=0"]
    quick = ["--evaluation.finetune.epochs=1", "--evaluation.seeds=[0]"]
    measure = ["main", "eval", "run", "--model", str(folder / "run"), "--tasks", str(toy), *quick]
    return [calls(*train), calls(*measure)]


@pytest.mark.parametrize("part", [0, 1])
def test_the_stops_of_the_tour_are_called_in_its_order(commands, part):
    pages = PAGE.read_text("utf-8").partition(SECOND)
    stops = stops_of(pages[0] if part == 0 else pages[2])
    assert len(stops) > 25
    places = []
    for path, _, name in stops:
        here = [i for i, call in enumerate(commands[part]) if call == (path, name)]
        assert here, f"docs/tour.md: {path} {name} was not called"
        places.append(here[0])
    assert places == sorted(places)


def test_the_lines_of_the_tour_are_those_of_the_code():
    page = PAGE.read_text("utf-8")
    assert page == with_lines(page), "run make format"
