"""The commands of README and the pages, as a reader would type them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands_of(page: Path) -> list[list[str]]:
    """The words of each command of a page, comments left out: blocks of bash, or of no language."""
    found = []
    for language, block in BLOCK.findall(page.read_text("utf-8")):
        if language in ("", "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                try:
                    words = shlex.split(line, comments=True)
                except ValueError:  # no command
                    continue
                found += [words] if words else []
    return found


def first_yaml(page: Path) -> str:
    """The first block of YAML of a page."""
    return next(text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == "yaml")


def alignmlm_commands(page: Path) -> list[list[str]]:
    """The words after `alignmlm` of each command of a page."""
    return [words[1:] for words in commands_of(page) if words[0] == "alignmlm" and words[1:]]
