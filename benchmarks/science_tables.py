"""The tables of docs/science.md, from committed results; a test compares them with the page.

python benchmarks/science_tables.py                  # prints them
python benchmarks/science_tables.py --collect runs/study-half-dictionary   # records a study
python benchmarks/science_tables.py --probes runs/study-probe              # its probes
python benchmarks/science_tables.py --figures        # draws the figures in docs/figures
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
from alignmlm.studies.run_probes import PROBES

RESULTS = Path(__file__).parent / "results"
INDUCTION, SCIENCE = RESULTS / "induction.jsonl", RESULTS / "science"
PROBED = SCIENCE / "probe.jsonl"
FIGURES = Path(__file__).parents[1] / "docs" / "figures"
ORDERS = {
    "eng-Latn-x-trans": "as it is", "eng-Latn-x-inv-trans": "reversed",
    "eng-Latn-x-perm-trans": "permuted", "fra-Latn": "French",
}  # fmt: skip
HALF, TRANS, CONTROLS = "half-dictionary", "half-dictionary-trans", "controls"
FROZEN, TABLE = "half-dictionary-frozen", "paper-table-laptop"
Arm = tuple[str, str]  # a study and one of its objectives or variants


def arms_of(study: str) -> dict[str, Arm]:
    """The arms of half-dictionary.yaml and of its sibling."""
    return {
        "MLM": (study, "mlm"),
        "ALIGN-MLM, half": (study, "half"),
        "half, and induced pairs": (study, "half-induced"),
        "a tenth, and induced pairs": (study, "tenth-induced"),
        "ALIGN-MLM, all pairs": (study, "whole"),
    }


def rivals_of(study: str, order: str) -> dict[str, Arm]:
    """The paper's objectives with all pairs, for one derived language."""
    return {
        "MLM": (study, "mlm"),
        "TLM": (TABLE, f"tlm-{order}"),
        "DICT-MLM": (TABLE, f"dict_mlm-{order}"),
        "ALIGN-MLM": (study, "whole"),
        "ALIGN-MLM, half, and induced pairs": (study, "half-induced"),
    }


COMPARISONS: dict[str, dict[str, Arm]] = {  # one table each, under this heading of the page
    "inverted": arms_of(HALF),
    "same order": arms_of(TRANS),
    "frozen": {
        "MLM": (FROZEN, "mlm"),
        "ALIGN-MLM, half": (FROZEN, "half"),
        "half, and induced pairs": (FROZEN, "half-induced"),
        "ALIGN-MLM, all pairs": (FROZEN, "whole"),
        "ALIGN-MLM, half, not frozen": (HALF, "half"),
        "half, and induced pairs, not frozen": (HALF, "half-induced"),
    },
    "rivals, same order": rivals_of(TRANS, "trans"),
    "rivals, inverted": rivals_of(HALF, "inv-trans"),
    "dictionary": {
        "no pairs": (HALF, "mlm"),
        "1 %": (CONTROLS, "dictionary-1"),
        "5 %": (CONTROLS, "dictionary-5"),
        "25 %": (CONTROLS, "dictionary-25"),
        "50 %": (HALF, "half"),
        "100 %": (HALF, "whole"),
    },
    "alpha": {
        "0 (MLM)": (HALF, "mlm"),
        "0.1": (CONTROLS, "alpha-0.1"),
        "1": (CONTROLS, "alpha-1"),
        "10": (HALF, "whole"),
        "100": (CONTROLS, "alpha-100"),
    },
    "when": {
        "never (MLM)": (HALF, "mlm"),
        "first 100 steps of 500": (CONTROLS, "early"),
        "last 100 steps": (CONTROLS, "late"),
        "all steps": (HALF, "whole"),
    },
    "mixture": {
        "50 / 50": (HALF, "whole"),
        "75 / 25": (CONTROLS, "mixture-75"),
        "90 / 10": (CONTROLS, "mixture-90"),
    },
    "positions": {
        "rotary, MLM": (HALF, "mlm"),
        "rotary, ALIGN-MLM": (HALF, "whole"),
        "learned, MLM": (CONTROLS, "learned-mlm"),
        "learned, ALIGN-MLM": (CONTROLS, "learned-whole"),
    },
    "shared words": {
        "0 %": (HALF, "mlm"),
        "25 %": (CONTROLS, "shared-25"),
        "50 %": (CONTROLS, "shared-50"),
        "75 %": (CONTROLS, "shared-75"),
    },
    "ways to use half a dictionary": {
        "MLM": (HALF, "mlm"),
        "MLM, code-switching 20 %": (CONTROLS, "code-switch-20"),
        "MLM, code-switching 50 %": (CONTROLS, "code-switch-50"),
        "MLM, unified output": (CONTROLS, "unified-mlm"),
        "ALIGN-MLM": (HALF, "half"),
        "ALIGN-MLM, unified output": (CONTROLS, "unified-half"),
        "ALIGN-MLM, induced pairs": (HALF, "half-induced"),
    },
}
HELD_OUT = {  # of probes.json: P@1 of held-out words from the embeddings, by space
    "as they are": "rows/as_is/held_out/forward/cosine_p1_percent",
    "rotated": "rows/rotated/held_out/forward/cosine_p1_percent",
    "rotated, CSLS": "rows/rotated/held_out/forward/csls_p1_percent",
}
GAINS: list[tuple[str, str, str]] = [  # a comparison, an arm, the arm to subtract
    ("inverted", "half, and induced pairs", "ALIGN-MLM, half"),
    ("inverted", "a tenth, and induced pairs", "ALIGN-MLM, half"),
    ("inverted", "ALIGN-MLM, all pairs", "half, and induced pairs"),
    ("inverted", "ALIGN-MLM, half", "MLM"),
    ("frozen", "half, and induced pairs", "ALIGN-MLM, half"),
    ("frozen", "half, and induced pairs", "half, and induced pairs, not frozen"),
    ("frozen", "half, and induced pairs", "ALIGN-MLM, half, not frozen"),
    ("same order", "half, and induced pairs", "ALIGN-MLM, half"),
    ("same order", "ALIGN-MLM, half", "MLM"),
]
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


def study_rows(study: str) -> dict[tuple[str, int], Row]:
    """The committed rows of a study by arm and seed of pre-training; none before it was run."""
    path = SCIENCE / f"{study}.jsonl"
    rows = rows_of(path) if path.exists() else []
    return {(row["objective"], row["seed"]): row for row in rows}


def arm_rows(arm: Arm) -> dict[int, Row]:
    """The rows of an arm by seed of pre-training."""
    study, name = arm
    return {seed: row for (own, seed), row in study_rows(study).items() if own == name}


def comparison_lines(arms: dict[str, Arm]) -> Iterator[str]:
    """One line for each arm: means over seeds of pre-training."""
    for label, arm in arms.items():
        group = arm_rows(arm).values()
        means = [
            over_seeds([row[name] for row in group])
            for name in ("alignment_held_out_percent", "source", "bz", "delta")
        ]
        yield f"| {' | '.join([label, str(len(group)), *means])} |"


def measured_comparisons() -> dict[str, dict[str, Arm]]:
    """The comparisons all of whose arms were run."""
    return {
        name: arms
        for name, arms in COMPARISONS.items()
        if all(arm_rows(arm) for arm in arms.values())
    }


def gain_lines() -> Iterator[str]:
    """Differences in BZ between arms, seed by seed."""
    measured = measured_comparisons()
    for comparison, one, other in (gain for gain in GAINS if gain[0] in measured):
        arms = measured[comparison]
        ones, others = arm_rows(arms[one]), arm_rows(arms[other])
        gains = [ones[seed]["bz"] - others[seed]["bz"] for seed in sorted(ones) if seed in others]
        each = ", ".join(f"{gain:+.1f}" for gain in gains)
        yield f"| {comparison} | {one} - {other} | {each} | {over_seeds(gains)} |"


def draw(comparison: str, path: Path) -> None:
    """The BZ of each arm of a comparison, each seed a point, with the mean's interval."""
    import matplotlib.pyplot as plt

    arms = COMPARISONS[comparison]
    figure, axes = plt.subplots(figsize=(6, 0.45 * len(arms) + 1), layout="constrained")
    for place, arm in enumerate(arms.values()):
        found = np.array([row["bz"] for row in arm_rows(arm).values()])
        interval = mean_interval(found)
        axes.plot(found, np.full(len(found), place), "o", color="0.65", markersize=4)
        half = interval.high - interval.estimate
        axes.errorbar(interval.estimate, place, xerr=half, fmt="D", color="tab:blue", capsize=3)
    axes.set_yticks(range(len(arms)), list(arms))
    axes.invert_yaxis()
    axes.set_xlabel("zero-shot tagging accuracy, BZ (%)")
    axes.grid(axis="x", color="0.9")
    figure.savefig(path, dpi=120, metadata={"Software": ""})
    plt.close(figure)


def collect(study: Path) -> None:
    """Record the rows of a finished study with the commit of each run and this machine.

    Rows of arms and seeds that this study lacks stay.
    """
    found = read_json(study / STUDY)
    rows = study_rows(found["name"])
    for row in found["rows"]:
        code = read_json(study / f"{row['objective']}-seed{row['seed']}" / CODE)
        origin = {"device": processor(), "commit": code["starts"][0]["git"]["commit"][:9]}
        rows[row["objective"], row["seed"]] = row | origin
    SCIENCE.mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows.values())
    (SCIENCE / f"{found['name']}.jsonl").write_text(text, encoding="utf-8")


def collect_probes(study: Path) -> None:
    """Record the held-out words of each checkpoint of a study, from `alignmlm probe RUN --all`."""
    rows = []
    for path in sorted(study.glob(f"*/{PROBES}")):
        code = read_json(path.parent / CODE)["starts"][0]
        for step in read_json(path)["steps"]:
            (metrics,) = step["pairs"].values()
            origin = {"device": processor(), "commit": code["git"]["commit"][:9]}
            found = {name: metrics[key] for name, key in HELD_OUT.items()}
            rows.append({"run": path.parent.name, "tokens": step["tokens"], **found, **origin})
    PROBED.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def probe_lines(rows: list[Row]) -> Iterator[str]:
    """One line for each number of tokens: means over seeds of pre-training."""
    by_tokens: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_tokens[row["tokens"]].append(row)
    for tokens, group in sorted(by_tokens.items()):
        means = [over_seeds([row[name] for row in group]) for name in HELD_OUT]
        yield f"| {' | '.join([f'{tokens / 1e6:.1f}', str(len(group)), *means])} |"


def lines_of_page() -> list[str]:
    """All lines of the page's tables that hold results."""
    measured = measured_comparisons().values()
    compared = [line for arms in measured for line in comparison_lines(arms)]
    probed = probe_lines(rows_of(PROBED)) if PROBED.exists() else []
    return [*induction_lines(rows_of(INDUCTION)), *compared, *gain_lines(), *probed]


def main() -> None:
    """Record a study, draw the figures, or print the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--collect", type=Path, nargs="+", default=[], metavar="STUDY", help="finished studies"
    )
    parser.add_argument(
        "--probes", type=Path, metavar="STUDY", help="a study whose runs were probed with --all"
    )
    parser.add_argument("--figures", action="store_true", help="draw those of the page")
    options = parser.parse_args()
    for study in options.collect:
        collect(study)
    if options.probes:
        collect_probes(options.probes)
    if options.figures:
        for comparison in measured_comparisons():
            name = comparison.replace(",", "").replace(" ", "-")
            draw(comparison, FIGURES / f"science-{name}.png")
    print("\n".join(lines_of_page()))  # noqa: T201


if __name__ == "__main__":
    main()
