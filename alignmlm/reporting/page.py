"""Runs and studies as one HTML page that needs nothing but a browser: no network, no server."""

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alignmlm import __version__
from alignmlm.artifacts.names import STUDY
from alignmlm.evaluation.scores.score_rows import ScoreRow, study_score_rows
from alignmlm.pretraining.run_records import METRICS
from alignmlm.reporting.flips import flip_data
from alignmlm.reporting.matrix import Hole, MatrixTable, matrices, reasons
from alignmlm.reporting.page_data import group_data, run_data
from alignmlm.reporting.records import Row, read_study
from alignmlm.reporting.run_facts import (
    RunFacts,
    provenance,
    run_facts,
    same_and_different,
    total_cost,
)
from alignmlm.reporting.tables import Cells, page_tables
from alignmlm.reporting.verdict import Verdict, verdict
from alignmlm.reporting.word_data import word_data
from alignmlm.storage.atomic import files_below, replace_text

TEMPLATE, STYLE, SCRIPT = "page.html.j2", "page.css", "page.js"
SECTIONS = (
    ("found", "Findings"),
    ("matrix", "Matrix"),
    ("table", "Table"),
    ("curves", "Curves"),
    ("alignment", "Alignment"),
    ("words", "Words"),
    ("flips", "Flips"),
    ("settings", "Settings"),
    ("holes", "Missing"),
    ("runs", "Runs and cost"),
)
LOOSE = "Runs"  # the title of runs that belong to no study
# what a script element, or a JSON parser in one, might take for something else
ESCAPED = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@dataclass(frozen=True, slots=True)
class PageGroup:
    """A study, or the runs that belong to none, as the template shows it."""

    title: str
    verdict: Verdict
    matrices: list[MatrixTable]
    holes: list[Hole]
    tables: list[Cells]
    rows: list[ScoreRow]
    runs: list[RunFacts]


def embedded(value: Any) -> Markup:
    """A value as JSON that cannot close a script element, whatever its texts hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(ESCAPED))


def source_hash(text: str) -> str:
    """The source expression that allows an inline script or style in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def group(
    title: str, rows: list[Row], runs: list[RunFacts], missing: Sequence[Row] = ()
) -> PageGroup:
    """The scores of one study, and what is missing in them.

    Raises:
        DataError: a cell has the same seed twice.
    """
    scores = study_score_rows(row for row in rows if row.get("bz") is not None)
    holes, why = reasons(scores, runs, missing)
    return PageGroup(
        title, verdict(scores), matrices(scores, why), holes, page_tables(rows), scores, runs
    )


def groups(studies: list[Path], runs: list[RunFacts]) -> list[PageGroup]:
    """Each study with its runs, and the runs that belong to none.

    Raises:
        DataError: a study cannot be read.
    """
    shown, found = [], [read_study(folder) for folder in studies]
    same = Counter(name for name, _, _ in found)
    for folder, own_name, (name, rows, missing) in zip(
        studies, unique_names(studies), found, strict=True
    ):
        own = [run for run in runs if run.folder.parent.resolve() == folder.resolve()]
        title = f"Study {name} ({own_name})" if same[name] > 1 else f"Study {name}"
        shown.append(group(title, rows, own, missing))
    folders = {folder.resolve() for folder in studies}
    loose = told_apart([run for run in runs if run.folder.parent.resolve() not in folders])
    if loose:
        rows = [row for run in loose for row in run.rows()]
        shown.append(group(LOOSE, rows, loose))
    return shown


def unique_names(folders: Sequence[Path]) -> list[str]:
    """The names of folders, each with as many of its parents as it takes to make it unique."""
    every = [folder.absolute().parts for folder in folders]

    def parts(own: tuple[str, ...]) -> int:
        alone = (n for n in range(1, len(own)) if sum(o[-n:] == own[-n:] for o in every) == 1)
        return next(alone, 1)

    return ["/".join(own[-parts(own) :]) for own in every]


def told_apart(runs: list[RunFacts]) -> list[RunFacts]:
    """The runs; where several share label and seed, their unique names become their labels."""
    count = Counter((run.label, run.seed) for run in runs)
    names = unique_names([run.folder for run in runs])
    return [
        replace(run, label=name) if count[run.label, run.seed] > 1 else run
        for run, name in zip(runs, names, strict=True)
    ]


def in_order(runs: list[RunFacts], shown: list[PageGroup]) -> list[RunFacts]:
    """The runs in the order in which their studies name the objectives."""
    names = [row.cell.objective for one in shown for row in one.rows]
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return sorted(runs, key=lambda run: (place.get(run.label, len(place)), run.label, run.seed))


def page_text(runs: list[RunFacts], shown: list[PageGroup], live: str = "") -> str:
    """The page; `live` is the stamp of this version if a server serves it."""
    names = unique_names([run.folder for run in runs])
    titles = {run.folder: one.title for one in shown for run in one.runs if len(shown) > 1}
    environment = Environment(
        loader=PackageLoader("alignmlm.reporting", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style, script = (
        environment.loader.get_source(environment, name)[0]  # type: ignore[union-attr]
        for name in (STYLE, SCRIPT)
    )
    data = {
        "groups": [group_data(one.title, one.rows) for one in shown],
        "runs": run_data(runs, names, titles),
        "words": word_data(runs),
        "flips": flip_data(runs),
        "settings": same_and_different(runs),
        "provenance": [
            {"run": name, **provenance(run)} for name, run in zip(names, runs, strict=True)
        ],
    }
    return environment.get_template(TEMPLATE).render(
        groups=shown,
        runs=runs,
        cost=total_cost(runs),
        data=embedded(data),
        style=Markup(style),
        script=Markup(script),
        style_hash=source_hash(style),
        script_hash=source_hash(script),
        version=__version__,
        live=live,
        sections=SECTIONS,
    )


def found_in(folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The runs and the studies in some folders."""
    found: dict[str, set[Path]] = {METRICS: set(), STUDY: set()}
    for folder in folders:
        for path in files_below(folder):
            if path.name in found:
                found[path.name].add(path.parent)
    return sorted(found[METRICS]), sorted(found[STUDY])


def page_of(runs: Sequence[Path], studies: Sequence[Path], live: str = "") -> str:
    """The page with the findings, tables and charts of runs and studies.

    `live` is the stamp of this version on a server, which the page polls for a newer one.

    Raises:
        DataError: a run or a study cannot be read.
    """
    shown = groups(list(studies), [run_facts(run) for run in runs])
    return page_text(in_order([run for one in shown for run in one.runs], shown), shown, live)


def write_page(runs: Sequence[Path], studies: Sequence[Path], output: Path) -> Path:
    """Write the page of some runs and studies; returns its path.

    Raises:
        DataError: a run or a study cannot be read.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    replace_text(output, page_of(runs, studies))
    return output
