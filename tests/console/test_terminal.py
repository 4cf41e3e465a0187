"""What is printed loses no digit and no word, at any width and in a pipe."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignmlm.commands.evaluation import eval_ls, eval_validate
from alignmlm.console.terminal import ResultConsole, console, new_table, print_json, print_line
from alignmlm.reporting.tables import tables_of, terminal_table
from tests.limits import HANG_S

Printed = Callable[[int, object], str]


class Terminal:
    """A pseudo-terminal of some columns, and all that was written to it."""

    def __init__(self, columns: int) -> None:
        self.main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self.file, self.chunks = os.fdopen(side, "w"), list[bytes]()
        self.reader = Thread(target=self.read)
        self.reader.start()

    def read(self) -> None:
        try:
            while chunk := os.read(self.main, 4096):
                self.chunks.append(chunk)
        except OSError:  # the other side is closed
            pass

    def text(self) -> str:
        self.file.close()
        self.reader.join()
        os.close(self.main)
        return b"".join(self.chunks).decode()


@pytest.fixture
def printed(monkeypatch) -> Iterator[Printed]:
    """What a terminal of some columns shows of something."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")

    def on(columns: int, *shown: object) -> str:
        terminal = Terminal(columns)
        monkeypatch.setenv("COLUMNS", str(columns))  # stdin and stderr may be another terminal
        narrow = ResultConsole()
        narrow.file = terminal.file
        for one in shown:
            narrow.print(one)
        return terminal.text()

    return on


def wide_table():
    table = new_table("tasks in /a/folder/with/a/long/name/that/no/table/is/as/wide/as", "a note")
    for name in ("language", "documents", "sentences", "words", "tokens"):
        table.add_column(name, justify="left" if name == "language" else "right")
    table.add_row("eng-Latn-x-syn-fra-trans", "1,548,434", "120,548,434", "9,120,548,434", "[1:0]")
    return table


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120])
def test_a_terminal_of_any_width_shows_every_number_and_name_whole(printed, columns):
    words = printed(columns, wide_table()).split()
    cells = {"1,548,434", "120,548,434", "9,120,548,434", "[1:0]", "documents", "tokens", "note"}
    assert cells <= set(words)
    assert ("eng-Latn-x-syn-fra-trans" in words) == (columns > 24)  # no line is as long as it


def test_a_row_that_does_not_fit_is_a_record(printed):
    lines = printed(40, wide_table()).splitlines()
    assert "language eng-Latn-x-syn-fra-trans" in lines
    assert "  sentences  120,548,434" in lines


def test_a_pipe_has_room_for_any_table(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    console.print(wide_table())
    lines = capsys.readouterr().out.splitlines()
    heading = "tasks in /a/folder/with/a/long/name/that/no/table/is/as/wide/as"
    assert lines[0] == heading
    assert [line.split()[0] for line in lines if "434" in line] == ["eng-Latn-x-syn-fra-trans"]


@given(st.lists(st.lists(st.text("ab1,.", min_size=1, max_size=30), min_size=3, max_size=3)))
def test_no_word_is_lost_whatever_a_table_holds(rows):
    table = new_table()
    for name in "xyz":
        table.add_column(name)
    for row in rows:
        table.add_row(*row)
    with console.capture() as shown:
        console.print(table)
    assert {cell for row in rows for cell in row} <= set(shown.get().split())


def test_running_text_in_a_pipe_is_broken_between_words_alone(capsys):
    table = new_table()
    table.add_column("text", overflow="fold")
    words = [f"word{number}" for number in range(100)] + ["l" * 200]
    table.add_row(" ".join(words))
    console.print(table)
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(" ".join(lines).split()).endswith(" ".join(words))
    assert max(map(len, lines)) < 210


def test_data_is_printed_as_it_is(capsys):
    table = new_table()
    table.add_column("name")
    table.add_row("[red]a[/red] :smile:")
    console.print(table)
    print_line("[bold]runs[/] :smile:")
    out = capsys.readouterr().out
    assert "[red]a[/red] :smile:" in out
    assert "[bold]runs[/] :smile:" in out


def test_json_has_null_for_what_is_no_number_and_shows_invisible_characters(capsys):
    print_json({"p": float("nan"), "words": ("a\u00a0b", 1)})
    out = capsys.readouterr().out
    assert json.loads(out) == {"p": None, "words": ["a\u00a0b", 1]}
    assert "\\u00a0" in out


def test_the_table_of_a_study_fits_80_columns(printed):
    rows = [
        {
            "objective": name, "seed": seed, "task": "sample_pos", "source": 90.0, "delta": 12.5,
            "language": "qaa-Latn-x-inv-trans", "bs": 40.0 + 10 * seed, "bz": 3.6,
            "validation_loss_nats": {"qaa-Latn": 3.6, "qaa-Latn-x-inv-trans": 4.125},
        }
        for name in ("mlm", "align_mlm") for seed in (0, 1)
    ]  # fmt: skip
    text = printed(80, *map(terminal_table, tables_of(rows)))
    whole = {"align_mlm", "sample_pos", "qaa-Latn-x-inv-trans", "4.125", "(40.0", "50.0)"}
    assert whole <= set(text.split())


def test_tasks_are_listed_whole_and_for_programs(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    folder = f"--sample-folder={tmp_path}"
    assert eval_ls(["sample_pos", "muse_eng_fra", folder]) == 0
    assert {"token_classification", "precision_at_1", "fra-Latn"} <= set(
        capsys.readouterr().out.split()
    )
    assert eval_ls(["sample_pos", "--counts", "--json", folder]) == 0
    assert json.loads(capsys.readouterr().out)[0]["splits"]["test"]["examples"] == 500
    assert eval_validate(["sample_pos", "--json", folder]) == 0
    report = json.loads(capsys.readouterr().out)[0]
    assert report["splits"]["test"]["labels"]["DET"] > 0
    assert report["error"] is None


def test_a_command_in_a_pipe_ignores_the_width_of_the_terminal_around_it(tmp_path):
    terminal = Terminal(20)
    line = [sys.executable, "-m", "alignmlm.cli", "eval", "ls", "sample_pos"]
    done = subprocess.run(
        line, stdin=terminal.file, stderr=terminal.file, stdout=subprocess.PIPE, check=True,
        text=True, env=os.environ | {"FORCE_COLOR": "1", "COLUMNS": "20"}, timeout=HANG_S,
    )  # fmt: skip
    terminal.text()
    assert "token_classification" in done.stdout
    assert "train dev test" in done.stdout
