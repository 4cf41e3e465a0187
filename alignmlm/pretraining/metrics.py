"""Logging: metrics.jsonl, trackers, a progress line with loss, tokens/s and time left."""

import json
import logging
import resource
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import torch
from rich.progress import BarColumn, Progress, TextColumn

from alignmlm.console.terminal import clock, messages
from alignmlm.data.masking import LossTerm
from alignmlm.objectives.objective import Losses
from alignmlm.pretraining.run_records import METRICS, metric_rows
from alignmlm.pretraining.trackers import Tracker
from alignmlm.storage.atomic import append_text, replace_text

log = logging.getLogger(__name__)

MOST_WAITING = 10_000  # lines kept in memory
QUIET_S = 30.0  # between two progress lines if messages do not go to a terminal
Metrics = dict[str, float | int]


def loss_metrics(losses: Losses, languages: list[str], prefix: str) -> Metrics:
    """Mean nats and accuracy over all masked positions, and nats by term and by language."""
    positions = losses.positions
    metrics: Metrics = {
        f"{prefix}/loss_nats": float(losses.nats.sum() / positions.sum()),
        f"{prefix}/accuracy_percent": float(100 * losses.correct.sum() / positions.sum()),
    }
    for term in LossTerm:
        if positions[term].sum() > 0 and (positions.sum(dim=1) > 0).sum() > 1:
            name = f"{prefix}/loss_nats/{term.name.lower()}"
            metrics[name] = float(losses.nats[term].sum() / positions[term].sum())
    for number, language in enumerate(languages):
        if positions[:, number].sum() > 0:
            mean = losses.nats[:, number].sum() / positions[:, number].sum()
            metrics[f"{prefix}/loss_nats/{language}"] = float(mean)
    return metrics


def peak_memory_mib() -> float:
    """Peak memory of this rank in MiB: of its GPU if it has one, else of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def progress_line(step: int, steps: int, metrics: Metrics, seconds_left: float) -> str:
    """The progress line of a run."""
    loss = metrics.get("train/loss_nats")
    parts = [f"step {step:,}/{steps:,}", "left out" if loss is None else f"loss {loss:.3f} nats"]
    if "train/alignment_loss" in metrics:
        parts.append(f"alignment term {metrics['train/alignment_loss']:.3f}")
    parts += [f"{metrics['train/tokens_per_s']:,.0f} tokens/s", f"{clock(seconds_left)} left"]
    return " · ".join(parts)


def validation_line(step: int, metrics: Metrics) -> str:
    """One line about a validation: the loss of each language, and the aligned words."""
    loss, ending = "validation/loss_nats/", "_percent"
    parts = [f"{k.removeprefix(loss)} {v:.3f}" for k, v in metrics.items() if k.startswith(loss)]
    aligned = [
        f"aligned, {name.removesuffix(ending).replace('_', ' ')}: {value:.1f} %"
        for key, value in metrics.items()
        if (name := key.removeprefix("alignment/")) != key and "/" not in name
    ]
    return " · ".join([f"validation after step {step:,}: {', '.join(parts)} nats", *aligned])


def keep_until(path: Path, step: int) -> None:
    """Drop the lines of a metrics file that a resumed run will write again."""
    if path.is_file():
        lines = (json.dumps(row) + "\n" for row in metric_rows(path) if row["step"] <= step)
        replace_text(path, "".join(lines))


@dataclass
class Recorder:
    """Writes metrics and progress lines; only rank 0 has a recorder."""

    folder: Path
    trackers: list[Tracker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.path = self.folder / METRICS
        self.path.touch()
        self.waiting: list[str] = []  # lines not yet written to disk
        columns = (BarColumn(20), TextColumn("{task.description}", markup=False))
        self.live = Progress(*columns, console=messages, transient=True, auto_refresh=False)
        self.task = self.live.add_task("")
        self.shown_at: float | None = None  # when the last line was printed
        if messages.is_terminal:
            self.live.start()

    def write(self, step: int, metrics: Metrics) -> None:
        """Append one object to metrics.jsonl, at once, and hand it to the trackers."""
        self.waiting.append(json.dumps({"step": step, **metrics}) + "\n")
        self.write_waiting()
        for tracker in list(self.trackers):
            try:
                tracker.log(step, metrics)
            except OSError as error:
                self.trackers.remove(tracker)
                name = type(tracker).__name__
                log.error("%s stops recording: %s; the run and %s go on", name, error, self.path)

    def go_back(self, step: int) -> None:
        """Drop everything written after a step."""
        keep_until(self.path, step)
        self.waiting = [line for line in self.waiting if json.loads(line)["step"] <= step]
        for tracker in self.trackers:
            tracker.go_back(step)

    def write_waiting(self) -> None:
        """Write waiting lines; a full disk or missing folder is reported, and the run continues."""
        try:
            append_text(self.path, "".join(self.waiting))
        except OSError as error:
            self.waiting = self.waiting[-MOST_WAITING:]
            text = "METRICS NOT WRITTEN: %s: %s; %d lines wait in memory for the disk"
            log.error(text, self.path, error, len(self.waiting))
        else:
            self.waiting = []

    def show(self, step: int, steps: int, line: str) -> None:
        """Update the live line on a terminal; elsewhere print one every QUIET_S, and the last."""
        if messages.is_terminal:
            live, task = self.live, self.task
            live.update(task, description=line, completed=step, total=steps, refresh=True)
            return
        now = perf_counter()
        if self.shown_at is None or now - self.shown_at >= QUIET_S or step == steps:
            self.shown_at = now
            log.info("%s", line)

    def close(self) -> None:
        """Stop the live line, write waiting lines and close the trackers."""
        self.live.stop()
        if self.waiting:
            self.write_waiting()
        for tracker in self.trackers:
            tracker.close()
