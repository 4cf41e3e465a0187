"""Run commands in this process; write down what each imported, started, compiled and printed.

Standard input: a JSON list of argument lists. Standard output: a JSON list of records.
"""

import contextlib
import io
import json
import sys
from collections.abc import Iterator

events: list[str] = []
WATCHED = (
    "import", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
    "os.startfile", "pty.spawn", "ctypes.dlopen", "pickle.find_class", "marshal.loads",
    "webbrowser.open", "socket.connect",
)  # fmt: skip


def audit(event: str, arguments: tuple) -> None:
    """Keep the events that show that code is loaded or a process started."""
    if event in WATCHED:
        events.append(f"{event} {str(arguments[0])[:200]}")


@contextlib.contextmanager
def output() -> Iterator[io.StringIO]:
    """What is printed meanwhile, also by consoles that were made before."""
    from alignmlm.console.terminal import console, messages

    text = io.StringIO()
    before = console.file, messages.file
    console.file = messages.file = text
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            yield text
    finally:
        console.file, messages.file = before


def record(arguments: list[str]) -> dict:
    """What one command did."""
    from alignmlm.cli import dispatch
    from alignmlm.commands.guard import guarded

    modules = set(sys.modules)
    events.clear()
    with output() as text:
        try:
            code = guarded(dispatch, arguments)
        except SystemExit as stop:
            code = stop.code
        except Exception as error:  # a traceback, which no text may lead to
            code = repr(error)
    done = list(events)
    return {
        "code": code,
        "events": done,
        "modules": sorted(set(sys.modules) - modules),
        "text": text.getvalue(),
    }


if __name__ == "__main__":
    commands = json.load(sys.stdin)
    sys.addaudithook(audit)
    records = [record(arguments) for arguments in commands]
    json.dump(records, sys.stdout)
