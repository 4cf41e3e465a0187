"""A run's metrics for TensorBoard and Weights & Biases, beside metrics.jsonl."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alignmlm.errors import ConfigError, DataError, quoted
from alignmlm.pretraining.recipe import RunConfig
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.plain_data import read_text

TENSORBOARD = "tensorboard"  # folder in the run's folder
WANDB_ID = "wandb/run_id"  # file in the run's folder
STEP = "step"  # x axis of all curves in wandb
VALIDATION_LOSS = "validation/loss_nats/"


class TensorBoard:
    """Event files in the run's folder; steps that a resumed or rewound run repeats are replaced."""

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder / TENSORBOARD
        self.open(step)

    def open(self, step: int) -> None:
        """Begin an event file that hides the events of later steps."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder), purge_step=step + 1)

    def log(self, step: int, metrics: dict[str, float | int]) -> None:
        """Record the metrics of a step, on disk at once."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def go_back(self, step: int) -> None:
        """Hide what was recorded after a step."""
        self.writer.close()
        self.open(step)

    def close(self) -> None:
        """Close the event file."""
        self.writer.close()


@contextmanager
def wandb_errors_named(key: str, value: object) -> Iterator[None]:
    """Turn wandb's own errors into one that names the setting which asked for it.

    Raises:
        ConfigError: wandb refuses its settings or the key, or cannot be reached.
    """
    import wandb

    try:
        yield
    except (wandb.Error, ValueError) as error:
        said = quoted(" ".join(str(error).split()))
        requirement = f"be left out where wandb cannot start: {said}; WANDB_MODE=offline needs no"
        raise ConfigError(key, value, f"{requirement} network and no key") from error


def has_wandb_key() -> bool:
    """Whether wandb could log in without asking."""
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    known = netrc.is_file() and "wandb" in netrc.read_text("utf-8")
    return bool(os.environ.get("WANDB_API_KEY")) or known


def wandb_mode() -> Any:
    """WANDB_MODE if set; else online where there is a key, or offline, to be synced later."""
    return os.environ.get("WANDB_MODE") or ("online" if has_wandb_key() else "offline")


def wandb_id(folder: Path) -> str:
    """The id of a run in wandb: drawn once, kept in the run's folder, the same at each resume."""
    path = folder / WANDB_ID
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        replace_text(path, secrets.token_hex(4))
    return read_text(path, 1, DataError).strip()


class Wandb:
    """A run of Weights & Biases; runs of a study are grouped under its name."""

    def __init__(self, folder: Path, project: str, settings: dict[str, object]) -> None:
        import wandb

        self.run = wandb.init(
            project=project,
            name=folder.name,
            id=wandb_id(folder),
            resume="allow",
            dir=str(folder),
            config=settings,
            job_type="pretrain",
            mode=wandb_mode(),
            settings=wandb.Settings(silent=True),
        )
        self.table = wandb.Table
        self.run.define_metric("*", step_metric=STEP)
        self.losses: dict[str, float | int] = {}  # of the last validation, by language

    def log(self, step: int, metrics: dict[str, float | int]) -> None:
        """Record the metrics of a step."""
        self.run.log({STEP: step, **metrics})
        self.losses |= {
            name.removeprefix(VALIDATION_LOSS): value
            for name, value in metrics.items()
            if name.startswith(VALIDATION_LOSS)
        }

    def go_back(self, step: int) -> None:
        """Do nothing: wandb keeps all points, and shows repeated steps as they came."""

    def close(self) -> None:
        """Add the table of languages, and end the run."""
        if self.losses:
            rows = [list(item) for item in self.losses.items()]
            table = self.table(columns=["language", "validation loss (nats)"], data=rows)
            self.run.log({"languages": table})
        self.run.finish()


Tracker = TensorBoard | Wandb


def check_trackers(config: RunConfig) -> None:
    """Raise unless the trackers that a recipe asks for are installed; wandb always is.

    Raises:
        ConfigError: TensorBoard is not.
    """
    if config.tensorboard and find_spec("tensorboard") is None:
        requirement = "be false, or `pip install tensorboard` first"
        raise ConfigError("run.tensorboard", config.tensorboard, requirement)


def start_trackers(
    folder: Path, config: RunConfig, settings: dict[str, object], step: int
) -> list[Tracker]:
    """The trackers that a recipe asks for, in a run that starts or resumes after `step`.

    Raises:
        ConfigError: wandb cannot start.
    """
    trackers: list[Tracker] = []
    if config.tensorboard:
        trackers.append(TensorBoard(folder, step))
    if config.wandb:
        with wandb_errors_named("run.wandb", True):
            trackers.append(Wandb(folder, config.wandb_project, settings))
    return trackers


def push_page(page: Path, project: str, group: str) -> None:
    """Keep a report as an artifact in wandb, in the group of its study.

    Raises:
        ConfigError: wandb cannot start.
    """
    import wandb

    settings = wandb.Settings(silent=True)
    with wandb_errors_named("--wandb", group), wandb.init(
        project=project, group=group, name=f"report {group}", job_type="report",
        dir=str(page.parent), mode=wandb_mode(), settings=settings,
    ) as run:  # fmt: skip
        artifact = wandb.Artifact(f"report-{group}", type="report")
        artifact.add_file(str(page), name="report.html")
        run.log_artifact(artifact)
