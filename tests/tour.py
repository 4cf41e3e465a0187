"""The stops of docs/tour.md, and the lines at which a debugger stops there.

`make format` runs this file, which brings the line numbers of the page up to date.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path("docs/tour.md")
STOP = re.compile(r"^\| `([\w/]+\.py):(\d+)` `([\w.]+)` \|", re.MULTILINE)


class Stop(NamedTuple):
    path: str
    line: int
    name: str  # of a function, with its class


def stops_of(page: str) -> list[Stop]:
    """The stops of a page, in order."""
    return [Stop(path, int(line), name) for path, line, name in STOP.findall(page)]


def first_line(path: str, name: str) -> int:
    """The line of a function's first statement after its docstring."""
    body: list[ast.stmt] = ast.parse(Path(path).read_text("utf-8")).body
    for part in name.split("."):
        (found,) = (node for node in body if getattr(node, "name", None) == part)
        body = found.body
    documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return body[documented].lineno


def with_lines(page: str) -> str:
    """The page with the line numbers of today's code."""
    return STOP.sub(lambda m: f"| `{m[1]}:{first_line(m[1], m[3])}` `{m[3]}` |", page)


if __name__ == "__main__":
    PAGE.write_text(with_lines(PAGE.read_text("utf-8")), "utf-8")
