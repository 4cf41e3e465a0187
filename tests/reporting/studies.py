"""Studies in the schema of real ones, with invented scores, written to a folder in no time."""

import json
from itertools import product
from pathlib import Path

from tests.reporting.conftest import LANGUAGES

TARGETS = [LANGUAGES[1], "qaa-Latn-x-perm-trans"]
TASKS = ["sample_pos", "sample_nli"]
GAIN = {"mlm": 0.0, "align_mlm": 30.0, "dict_mlm": 2.0, "tlm": 15.0}


def score(objective: str, seed: int, cell: int) -> float:
    """An invented BZ, apart by objective, with some noise by seed and cell."""
    noise = ((seed * 7 + cell * 3 + len(objective)) % 5 - 2) * 0.6
    return 40.0 + GAIN.get(objective, len(objective) % 7) + 2 * cell + noise


def study_rows(objectives: list[str], seeds: list[int]) -> list[dict]:
    """The rows of study.json."""
    rows = []
    for seed, objective in product(seeds, objectives):
        aligned = min(100.0, 20.0 + GAIN.get(objective, 5) * 2)
        for cell, (task, target) in enumerate(product(TASKS, TARGETS)):
            bz, bs = score(objective, seed, cell), 90.0 + seed / 10
            rows.append(
                {
                    "objective": objective, "task": task, "source_language": LANGUAGES[0],
                    "language": target, "source": 95.0, "bs": bs, "bz": bz, "delta": bs - bz,
                    "source_ci95": None, "bs_ci95": None, "bz_ci95": None, "delta_ci95": None,
                    "n_seeds": 1, "seed": seed, "steps": 1000,
                    "validation_loss_nats": {LANGUAGES[0]: 3.0, LANGUAGES[1]: 3.5},
                    "alignment_in_dictionary_percent": aligned,
                    "alignment_held_out_percent": 3.0 + seed + cell,
                }
            )  # fmt: skip
    return rows


def write_run(folder: Path, objective: str, seed: int, points: int) -> None:
    """The files of a finished run."""
    folder.mkdir(parents=True)
    lines = []
    for number in range(1, points + 1):
        loss = 6.0 - GAIN.get(objective, 1) / 60 - 2 * number / points + seed / 50
        line = {"step": 10 * number, "train/tokens_per_s": 2e4 + seed}
        line |= {f"train/loss_nats/{name}": loss for name in LANGUAGES}
        if number % 10 == 0:
            line |= {f"validation/loss_nats/{name}": loss + 0.1 for name in LANGUAGES}
            line |= {"alignment/in_dictionary_percent": 100 * number / points}
        lines.append(json.dumps(line) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines), "utf-8")
    (folder / "recipe.yaml").write_text(
        f"objective:\n  name: {objective}\n  alpha: 10.0\ntrain:\n  steps: {10 * points}\n"
        f"  seed: {seed}\nrun:\n  dir: {folder}\n",
        "utf-8",
    )
    summary = {
        "objective": objective, "steps": 10 * points, "tokens": 1000 * points, "seconds": 60.5,
        "tokens_per_s": 2e4, "export": "export", "validation_loss_nats": {},
        "alignment_percent": {"in_dictionary": 50.0, "held_out": None},
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary), "utf-8")


def write_words(folder: Path, words: int = 40, steps: int = 4, neighbours: int = 10) -> None:
    """words.json of a run: word n is "w<n>", it means "t<n>", which comes first from step 3 on."""
    entries = []
    for number in range(words):
        near = [(number + 1 + place) % words for place in range(neighbours - 1)]
        orders = [[*near, number] if step < 2 else [number, *near] for step in range(steps)]
        flat = [[v for at, p in enumerate(o) for v in (p, 0.9 - at / 20)] for o in orders]
        entries.append(
            {
                "word": f"w{number}", "part": "given" if number % 2 else "held out",
                "band": "rank_1_1000" if number < 30 else "unseen", "count": 1000 - number,
                "answers": [number], "cosine": flat, "csls": flat,
                "points": [[number / words, step / steps, -0.5, 0.1] for step in range(steps)],
                "ranks": [[neighbours] * 2 if step < 2 else [1, 1] for step in range(steps)],
            }
        )  # fmt: skip
    pair = {"source": LANGUAGES[0], "target": LANGUAGES[1], "words": entries}
    pair |= {"texts": [f"t{number}" for number in range(words)], "shown_percent": [40.0, 20.5]}
    told = [{"step": 100 * (n + 1), "tokens": 10_000 * (n + 1)} for n in range(steps)]
    document = {"schema_version": 2, "steps": told, "pairs": [pair]}
    (folder / "words.json").write_text(json.dumps(document), "utf-8")


def write_study(
    folder: Path, objectives: list[str], seeds: list[int], points: int = 100, name: str = "toy"
) -> Path:
    """A study with its runs."""
    for objective, seed in product(objectives, seeds):
        write_run(folder / f"{objective}-seed{seed}", objective, seed, points)
    document = {"schema_version": 1, "name": name, "rows": study_rows(objectives, seeds)}
    (folder / "study.json").write_text(json.dumps(document), "utf-8")
    return folder


def runs_of(study: Path) -> list[Path]:
    """The folders of its runs."""
    return sorted(path.parent for path in study.glob("*/metrics.jsonl"))
