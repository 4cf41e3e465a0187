"""The two consoles: one for results, one for messages, which log lines and progress share."""

import logging
import os
import warnings

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text


class Deaf(Console):
    """A console that goes quiet where nobody listens any more; rich would end the process."""

    def on_broken_pipe(self) -> None:
        """A run that was told to end still has to save itself."""
        self.quiet = True


def new_table(title: str | Text = "", caption: str = "") -> Table:
    """An empty table as all commands show it: without a frame, so that 80 columns hold more."""
    return Table(
        title=title or None, caption=caption or None, title_justify="left", caption_justify="left",
        box=SIMPLE_HEAD, padding=(0, 1, 0, 0),
    )  # fmt: skip


console = Deaf()
messages = Deaf(stderr=True)


def set_up_logging() -> None:
    """Rank 0 logs INFO, the rest WARNING; libraries keep to themselves."""
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    if messages.is_terminal:
        handler = RichHandler(
            console=messages, show_path=False, show_level=False, log_time_format="%H:%M:%S"
        )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    first = os.environ.get("RANK", "0") == "0"
    logging.getLogger("alignmlm").setLevel(logging.INFO if first else logging.WARNING)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="torch.*")
