"""The tables of docs/science.md, from committed results; a test compares them with the page.

python benchmarks/science_tables.py                  # prints them
python benchmarks/science_tables.py --collect runs/study-half-dictionary   # records a study
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import processor

from alignmlm.artifacts.names import STUDY
from alignmlm.artifacts.provenance import CODE
from alignmlm.evaluation.scores.statistics import mean_interval
from alignmlm.storage.plain_data import read_json

RESULTS = Path(__file__).parent / "results"
INDUCTION, STUDY_ROWS = RESULTS / "induction.jsonl", RESULTS / "half_dictionary.jsonl"
ORDERS = {
    "eng-Latn-x-trans": "as it is", "eng-Latn-x-inv-trans": "reversed",
    "eng-Latn-x-perm-trans": "permuted", "fra-Latn": "French",
}  # fmt: skip
ARMS = {
    "mlm": "MLM", "half": "ALIGN-MLM, half", "half-induced": "half, and induced pairs",
    "tenth-induced": "a tenth, and induced pairs", "whole": "ALIGN-MLM, all pairs",
}  # fmt: skip
Row = dict[str, Any]


def rows_of(path: Path) -> list[Row]:
    """The rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def spread(values: list[float | None], digits: int = 1) -> str:
    """The median of some values and their range; a dash where a value is missing."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return "-"
    low, middle, high = (f"{v:.{digits}f}" for v in (min(known), np.median(known), max(known)))
    return f"{middle} ({low} to {high})"


def over_seeds(values: list[float | None]) -> str:
    """The mean over seeds with its 95 % interval; a dash where nothing could be measured."""
    if None in values:
        return "-"
    interval = mean_interval(np.array(values))
    return f"{interval.estimate:.1f} [{interval.low:.1f}, {interval.high:.1f}]"


def induction_lines(rows: list[Row]) -> Iterator[str]:
    """One line for each language and share of given pairs: medians over draws of the pairs.

    Of a draw that was measured more than once, the last row counts.
    """
    draws = {(row["target"], row["fraction"], row["tokens"], row["seed"]): row for row in rows}
    groups: dict[tuple[str, float, int], list[Row]] = defaultdict(list)
    for row in draws.values():
        groups[row["target"], row["fraction"], row["tokens"]].append(row)
    for (target, fraction, tokens), group in groups.items():
        measures = [
            spread([row[f"{name}_percent"] for row in group])
            for name in ("control_precision", "precision", "recall")
        ]
        given, induced = (spread([row[name] for row in group], 0) for name in ("given", "induced"))
        millions = f"{tokens / 1e6:g}"
        cells = [ORDERS[target], millions, f"{100 * fraction:g}", str(len(group)), given, induced]
        yield f"| {' | '.join([*cells, *measures])} |"


def study_lines(rows: list[Row]) -> Iterator[str]:
    """One line for each arm of the study: means over seeds of pre-training."""
    by_arm = {arm: [row for row in rows if row["objective"] == arm] for arm in ARMS}
    for arm, group in by_arm.items():
        means = [
            over_seeds([row[name] for row in group])
            for name in ("alignment_held_out_percent", "source", "bz", "delta")
        ]
        yield f"| {' | '.join([ARMS[arm], str(len(group)), *means])} |"


def gain_lines(rows: list[Row]) -> Iterator[str]:
    """Differences in BZ between arms, seed by seed."""
    bz = {(row["objective"], row["seed"]): row["bz"] for row in rows}
    seeds = sorted({seed for _, seed in bz})
    for one, other in (("half-induced", "half"), ("tenth-induced", "half"),
                       ("whole", "half-induced"), ("half", "mlm")):  # fmt: skip
        gains = [bz[one, seed] - bz[other, seed] for seed in seeds]
        each = ", ".join(f"{gain:+.1f}" for gain in gains)
        yield f"| {ARMS[one]} - {ARMS[other]} | {each} | {over_seeds(gains)} |"


def collect(study: Path) -> None:
    """Record the rows of a finished study with the commit of each run and this machine.

    Rows of seeds that this study lacks stay.
    """
    rows = read_json(study / STUDY)["rows"]
    new = {(row["objective"], row["seed"]) for row in rows}
    lines = [row for row in rows_of(STUDY_ROWS) if (row["objective"], row["seed"]) not in new]
    for row in rows:
        code = read_json(study / f"{row['objective']}-seed{row['seed']}" / CODE)
        commit = code["starts"][0]["git"]["commit"][:9]
        lines.append(row | {"device": processor(), "commit": commit})
    STUDY_ROWS.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def lines_of_page() -> list[str]:
    """All lines of the page's tables that hold results."""
    study = rows_of(STUDY_ROWS)
    return [*induction_lines(rows_of(INDUCTION)), *study_lines(study), *gain_lines(study)]


def main() -> None:
    """Record a study, or print the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collect", type=Path, metavar="STUDY", help="folder of a finished study")
    options = parser.parse_args()
    if options.collect:
        collect(options.collect)
    print("\n".join(lines_of_page()))  # noqa: T201


if __name__ == "__main__":
    main()
