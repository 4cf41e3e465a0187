"""Every command of README and the pages can be typed as it stands there."""

import re

import click
import pytest

from alignmlm.cli import COMMANDS, GROUPS, load_command
from alignmlm.config import Several, spread
from tests.documented import LEFT_OUT, PAGES, ROOT, RUN, alignmlm_commands, commands_of, how_to

OF_NEWCOMERS = [ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md"]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")


def command_of(words: list[str]) -> tuple[str, list[str]]:
    """The name of a command and its arguments; a group alone is one of its commands' help."""
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    return name, words[len(name.split()) :]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_of_a_page_has_the_options_that_it_is_given(page):
    for words in alignmlm_commands(page):
        name, arguments = command_of(words)
        if name in GROUPS or name.startswith("-"):
            continue
        command = load_command(name)
        several = {opt for own in command.params if isinstance(own, Several) for opt in own.opts}
        options = {
            opt for own in command.params for opt in own.opts if isinstance(own, click.Option)
        }
        for word in spread(arguments, several):
            given = word.partition("=")[0]
            if word.startswith("--"):
                assert given in options, f"{page.name}: alignmlm {' '.join(words)}"


@pytest.mark.parametrize("page", [*PAGES, *OF_NEWCOMERS], ids=lambda page: page.name)
def test_each_link_of_a_page_leads_to_a_file_and_a_heading(page):
    for pair in LINK.findall(page.read_text("utf-8")):
        target = pair[0] or pair[1]
        if target.startswith(("http://", "https://")):
            continue
        path, _, heading = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in slugs, f"{page.name}: {target}"


PROGRAMS = ("alignmlm", "deepspeed", "torchrun", "mpirun", "python", "make")


def test_each_command_of_readme_and_how_to_pages_is_run_or_left_out_for_a_reason():
    told = {" ".join(w) for page in how_to() for w in commands_of(page) if w[0] in PROGRAMS}
    run = {" ".join(w) for name in RUN for w in commands_of(ROOT / "docs" / f"{name}.md")}
    assert told - (run - LEFT_OUT.keys()) == LEFT_OUT.keys()


def test_every_command_is_on_a_page():
    told = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert [name for name in COMMANDS if f"alignmlm {name}" not in told] == []


def test_every_key_of_a_task_file_is_on_its_page():
    from dataclasses import fields

    from alignmlm.tasks.examples import SplitFile
    from alignmlm.tasks.formats import FORMATS
    from alignmlm.tasks.kinds import KINDS
    from alignmlm.tasks.metrics import METRICS
    from alignmlm.tasks.task import Task

    page = (ROOT / "docs/howto-task.md").read_text("utf-8")
    keys = {field.name for kind in (Task, SplitFile) for field in fields(kind)}
    keys |= {*KINDS, *FORMATS, *METRICS}
    keys |= {role for each in FORMATS.values() for role in each.columns}
    assert sorted(key for key in keys if f"`{key}`" not in page) == []
