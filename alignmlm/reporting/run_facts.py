"""What a page shows of a run: its name, its settings, what it cost, its scores."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignmlm.artifacts.names import RECIPE
from alignmlm.artifacts.provenance import CODE
from alignmlm.errors import AlignMLMError
from alignmlm.evaluation.scores.results import read_results, result_rows, retrieval_rows
from alignmlm.pretraining.run_folder import DATA
from alignmlm.reporting.records import Row, read_metrics, summary_of
from alignmlm.storage.plain_data import read_json, read_yaml

SEEDED = re.compile(r"(?P<label>.+)-seed(?P<seed>-?\d+)")  # how a study names its runs' folders
PLACES = ("run.dir", "run.name", "data.store")  # where a run is kept, not what it is
SEEDS = ("model.seed", "train.seed")
SHORT = 12  # letters of a hash that are shown


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run, as far as it got."""

    folder: Path
    label: str  # shared with runs that differ only in the seed
    seed: int
    settings: dict[str, str]  # dotted names, values as JSON
    metrics: dict[int, Row]  # by step
    summary: dict[str, Any]  # empty for an unfinished run
    results: dict[str, Any] | None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def planned_steps(self) -> str:
        """How many steps its recipe plans, as text."""
        return self.settings.get("train.steps", "?")

    @property
    def state(self) -> str:
        """How far it got."""
        if self.summary:
            return "finished"
        return f"not finished: step {max(self.metrics, default=0)} of {self.planned_steps}"

    def rows(self) -> list[Row]:
        """Its rows as a study has them: means over seeds of fine-tuning."""
        if self.results is None:
            return []
        alignment = self.summary.get("alignment_percent", {})
        own = {
            "objective": self.label,
            "seed": self.seed,
            "validation_loss_nats": self.summary.get("validation_loss_nats", {}),
            "alignment_in_dictionary_percent": alignment.get("in_dictionary"),
            "alignment_held_out_percent": alignment.get("held_out"),
        }
        measured = [*result_rows(self.results), *retrieval_rows(self.results)]
        return [{**row, **own} for row in measured]

    def skipped(self) -> dict[str, str]:
        """The tasks that could not be measured, and why."""
        return (self.results or {}).get("skipped", {})


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings by their dotted names, values as JSON."""
    by_name: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            by_name |= flat(value, f"{name}.")
        else:
            text = isinstance(value, str)
            by_name[name] = value if text else json.dumps(value, ensure_ascii=False)
    return by_name


def run_facts(run: Path) -> RunFacts:
    """What is known of the run in a folder.

    Raises:
        DataError: it is not a run, or one of its files is damaged.
    """
    path = run / RECIPE
    settings = flat(read_yaml(path)) if path.is_file() else {}
    named = SEEDED.fullmatch(run.name)
    label = named["label"] if named else run.name
    seed = named["seed"] if named else settings.get("train.seed", "0")
    return RunFacts(
        run,
        label,
        int(seed) if seed.lstrip("-").isdecimal() else 0,
        settings,
        read_metrics(run),
        summary_of(run),
        read_results(run / "evaluation"),
    )


def same_and_different(runs: Iterable[RunFacts]) -> list[dict[str, Any]]:
    """Every setting with its values, each with the places of the runs that have it."""
    runs = list(runs)
    keys = dict.fromkeys(key for run in runs for key in run.settings if key not in PLACES)
    settings = []
    for key in keys:
        values: dict[str, list[int]] = {}
        for place, run in enumerate(runs):
            values.setdefault(run.settings.get(key, "(not set)"), []).append(place)
        settings.append({"key": key, "values": list(map(list, values.items()))})
    return settings


def read_part(path: Path) -> dict[str, Any]:
    """A JSON file beside a run, nothing where it is missing or cannot be read."""
    try:
        return read_json(path, nan=True) if path.is_file() else {}
    except AlignMLMError:
        return {}


def provenance(run: RunFacts) -> dict[str, str]:
    """Where a run's numbers come from and what they cost; what was not recorded is left out."""
    starts = read_part(run.folder / CODE).get("starts") or [{}]
    start, results, summary = starts[-1], run.results or {}, run.summary
    code = start.get("git", {})
    commit = (code.get("commit") or "")[:SHORT]
    dirty = " + changes" if code.get("diff_sha256") or code.get("untracked") else ""
    libraries = start.get("libraries", {})
    facts = {
        "state": run.state,
        "steps": f"{summary['steps']:,}" if summary else "",
        "tokens": f"{summary['tokens']:,}" if "tokens" in summary else "",
        "training hours": f"{summary['seconds'] / 3600:.3f}" if summary else "",
        "tokens/s": f"{summary['tokens_per_s']:,.0f}" if summary else "",
        "evaluation hours": f"{results['seconds'] / 3600:.3f}" if results else "",
        "starts": str(len(starts)) if starts[-1] else "",
        "started": start.get("date", ""),
        "machine": start.get("host", ""),
        "ranks": str(summary.get("world_size", "")),
        "data": read_part(run.folder / DATA).get("data_id", ""),
        "model": results.get("model", {}).get("model_xxh3", ""),
        "commit": f"{commit}{dirty}" if commit else "",
        "alignmlm": start.get("alignmlm", ""),
        "torch": libraries.get("torch", ""),
        **{key: run.settings.get(key, "") for key in SEEDS},
    }
    return {key: str(value) for key, value in facts.items() if value}


def total_cost(runs: Iterable[RunFacts]) -> dict[str, str]:
    """What all runs took together."""
    runs = list(runs)
    done = [run.summary for run in runs if run.summary]
    training = sum(summary["seconds"] for summary in done)
    measuring = sum((run.results or {}).get("seconds", 0.0) for run in runs)
    return {
        "runs": f"{len(runs)} ({len(done)} finished)",
        "steps": f"{sum(summary['steps'] for summary in done):,}",
        "tokens": f"{sum(summary.get('tokens', 0) for summary in done):,}",
        "training": f"{training / 3600:.2f} hours",
        "evaluation": f"{measuring / 3600:.2f} hours",
    }
