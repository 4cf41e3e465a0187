"""`alignmlm data build`, alone or under an MPI launcher."""

import logging
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from alignmlm.commands.options import as_json
from alignmlm.config import Command, recipe_options
from alignmlm.console.terminal import messages
from alignmlm.corpus.mpi import Ranks, launched_rank, launched_ranks, launched_size, share_threads
from alignmlm.errors import AlignMLMError, ConfigError, listed, nearest
from alignmlm.pretraining.recipe import LanguagesConfig, Recipe
from alignmlm.storage.system_errors import storage_error

if TYPE_CHECKING:
    from alignmlm.corpus.build import BuildProgress, Report

log = logging.getLogger(__name__)

LOG_S = 30.0  # between two lines of a build without a terminal


class BuildCommand(Command):
    """A command whose errors only rank 0 reports, under an MPI launcher too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of the command, after its rank is known."""
        if launched_size() > 1:
            os.environ["RANK"] = str(launched_rank())
            share_threads()
        return super().parse_args(ctx, args)


@click.command("build", cls=BuildCommand, params=recipe_options("data."))
@click.option("--restart", is_flag=True, help="Remove what an unfinished build of other data left.")
@as_json
def data_build(recipe: Recipe, restart: bool, as_json: bool) -> None:
    """Make token shards and a tokenizer from text; resumes where it stopped; also under mpirun."""
    check_languages(recipe)
    from alignmlm.commands.data import show_statistics
    from alignmlm.corpus.build import build_store
    from alignmlm.data.store import Store

    ranks = launched_ranks()
    if not ranks.first:
        logging.getLogger("alignmlm").setLevel(logging.WARNING)
    with ended_together(ranks), progress_shown(ranks) as report:
        folder = build_store(recipe.data, report, ranks, restart)
    if ranks.first:
        show_statistics(Store(folder), as_json)


def check_languages(recipe: Recipe) -> None:
    """Raise unless each of the recipe's languages has its base among those of its sources.

    A recipe that names no languages is for building only.

    Raises:
        ConfigError: a language has no source.
    """
    bases = [source.language for source in recipe.data.sources]
    if recipe.languages == LanguagesConfig():
        return
    from alignmlm.languages.language import parse_language

    for name in recipe.languages.ids:
        base = parse_language(name).base
        if base not in bases:
            hint = nearest(base, bases)
            requirement = f"be made from a language of data.sources, {listed(bases)}{hint}"
            raise ConfigError("languages.ids", name, requirement)


def say_stopped(number: int, frame: FrameType | None) -> None:
    """Report that the launcher ends this rank because another was killed, and exit."""
    messages.print(
        Text("alignmlm: the build was stopped; the same command goes on from there", "bold red"),
        soft_wrap=True,
    )
    os._exit(128 + number)


@contextmanager
def ended_together(ranks: Ranks) -> Iterator[None]:
    """Report an error of one rank once and end all ranks, which may be waiting for it."""
    if ranks.size == 1:
        yield
        return
    if ranks.rank in (0, ranks.size - 1):  # one of them may be the one that was killed, or busy
        signal.signal(signal.SIGTERM, say_stopped)
    try:
        yield
    except KeyboardInterrupt:
        say_stopped(signal.SIGINT, None)
    except BaseException as error:
        fault = storage_error(error) or error
        if isinstance(fault, AlignMLMError):
            text, code = f"error on rank {ranks.rank} of {ranks.size}: {fault}", 2
        else:
            text = f"rank {ranks.rank} of {ranks.size} failed, all ranks end\n"
            text, code = text + traceback.format_exc(), 1
        messages.print(Text(f"alignmlm: {text}", "bold red"), soft_wrap=True)
        ranks.stop(code)


@contextmanager
def progress_shown(ranks: Ranks) -> "Iterator[Report]":
    """The progress of a build: a bar on a terminal, else a line now and then; on rank 0 alone."""
    if not ranks.first:
        yield lambda progress: None
    elif not messages.is_terminal:
        yield Lines()
    else:
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[tokens]}"),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=messages, transient=True) as bars:
            yield Bar(bars)


def counted(tokens: int, seconds: float) -> str:
    """Tokens so far and tokens per second, as text."""
    return f"{tokens:,} tokens, {tokens / seconds:,.0f}/s" if tokens and seconds > 0 else ""


class Bar:
    """One bar per step, on a terminal."""

    def __init__(self, bars: Bars) -> None:
        self.bars, self.step, self.started = bars, "", 0.0
        self.task: TaskID | None = None

    def __call__(self, progress: "BuildProgress") -> None:
        """Show how far the build is."""
        if self.task is None or progress.step != self.step:
            if self.task is not None:
                self.bars.remove_task(self.task)
            self.step, self.started = progress.step, monotonic()
            self.task = self.bars.add_task(progress.step, total=1.0, tokens="")
        tokens = counted(progress.tokens, monotonic() - self.started)
        self.bars.update(self.task, completed=progress.share, tokens=tokens)


class Lines:
    """A log line at the start of each step, and now and then."""

    def __init__(self) -> None:
        self.step, self.started, self.told = "", 0.0, 0.0

    def __call__(self, progress: "BuildProgress") -> None:
        """Log how far the build is, if it is time to."""
        now = monotonic()
        if progress.step != self.step:
            self.step, self.started, self.told = progress.step, now, now
            log.info("%s", progress.step)
        elif now - self.told >= LOG_S:
            self.told = now
            spent = now - self.started
            left = spent * (1 - progress.share) / progress.share if progress.share > 0 else 0.0
            tokens = counted(progress.tokens, spent)
            parts = [f"{progress.step}: {100 * progress.share:.0f} %", tokens, f"{left:.0f} s left"]
            log.info("%s", ", ".join(part for part in parts if part))
