"""How often `alignmlm eval compare` calls two equal sides different, and what its intervals cover.

Both sides answer test examples with the same chance of being right, so that the true difference is
0. A comparison is a false positive where its p-value is at most 0.05; the share is that of the
comparisons that have a p-value. Compared with answers (samples on both sides) and without.

The share of 20,000 comparisons has a sampling error of 0.16 points. So a cell above the limit is
measured again, by ten times as many other comparisons, and both rows are kept.

    python benchmarks/null_comparisons.py

Rows are appended to results/null_comparisons.jsonl.
"""

import argparse
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from jaxtyping import Float
from machine import commit
from scipy.stats import norm

from alignmlm.console.terminal import console, new_table, print_line
from alignmlm.evaluation.scores.compare import cell_difference
from alignmlm.evaluation.scores.scoring import Answered
from alignmlm.evaluation.scores.statistics import Difference
from alignmlm.numerics.counter_rng import key

RESULTS = Path(__file__).parent / "results" / "null_comparisons.jsonl"
SEEDS, EXAMPLES = (1, 2, 3, 5), (1, 5, 20, 200)
LEVEL, MOST_PERCENT = 0.05, 5.5
AT_ONCE = 500  # comparisons


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Where the noise of a comparison comes from: standard deviations on the probit scale."""

    name: str
    accuracy: float
    difficulty: float = 0.0  # of examples, for both sides alike
    seeds: float = 0.0  # of each side's seeds; one seed's is part of the model that is compared
    taste: float = 0.0  # of each side's examples, for all seeds: only answers show it


WORLDS = (
    World(name="answers alone", accuracy=0.5),
    World(name="easy and hard examples", accuracy=0.9, difficulty=1.5),
    World(name="strong seeds", accuracy=0.7, difficulty=0.5, seeds=1.0),
    World(name="seeds and tastes", accuracy=0.5, seeds=0.3, taste=1.0),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """What was measured of one world, number of seeds and number of examples."""

    world: str
    answers: bool  # whether the samples of both sides were there
    seeds: int
    examples: int
    comparisons: int
    given_percent: float | None  # that had a p-value and an interval
    false_positive_percent: float | None  # of those; None: no p-value was ever given
    covered_percent: float | None  # of their 95 % intervals
    reason: str  # why the others had none: the most frequent text


def right_answers(
    world: World, batch: int, seeds: int, examples: int
) -> Float[np.ndarray, "comparison side seed example"]:
    """1 where an answer is right, else 0."""
    rng = np.random.default_rng(key(world.name, seeds, examples, batch))
    of_seeds = world.seeds if seeds > 1 else 0.0
    spread = np.sqrt(1 + world.difficulty**2 + of_seeds**2 + world.taste**2)
    ability = np.full((AT_ONCE, 2, seeds, examples), norm.ppf(world.accuracy) * spread)
    ability += world.difficulty * rng.standard_normal((AT_ONCE, 1, 1, examples))
    ability += of_seeds * rng.standard_normal((AT_ONCE, 2, seeds, 1))
    ability += world.taste * rng.standard_normal((AT_ONCE, 2, 1, examples))
    return (rng.standard_normal(ability.shape) < ability).astype(np.float64)


DOCUMENTS = {examples: (("", ""),) * examples for examples in EXAMPLES}


def compared(right: Float[np.ndarray, "side seed example"], answers: bool) -> Difference:
    """One comparison, as `alignmlm eval compare` makes it."""
    scores = 100 * right.mean(axis=2)
    documents = DOCUMENTS[right.shape[2]]
    sides = [Answered(documents, side.T, np.ones_like(side.T)) for side in right]
    parts = [(-1, sides[0]), (1, sides[1])] if answers else None
    return cell_difference(scores[1] - scores[0], parts)


def measured(
    world: World, answers: bool, seeds: int, examples: int, comparisons: int, start: int = 0
) -> Cell:
    """One cell of the table, from its comparison `start` on."""
    found = [
        compared(right, answers)
        for batch in range(start // AT_ONCE, (start + comparisons) // AT_ONCE)
        for right in right_answers(world, batch, seeds, examples)
    ]
    known = [one for one in found if not np.isnan(one.p)]
    reasons = Counter(one.method for one in found if np.isnan(one.p))
    return Cell(
        world=world.name,
        answers=answers,
        seeds=seeds,
        examples=examples,
        comparisons=len(found),
        given_percent=percent([not np.isnan(one.p) for one in found]),
        false_positive_percent=percent([one.p <= LEVEL for one in known]),
        covered_percent=percent([not one.interval.excludes(0.0) for one in known]),
        reason=", ".join(reason for reason, _ in reasons.most_common(1)),
    )


def percent(hits: list[bool]) -> float | None:
    """The share of hits; None where there was nothing to hit."""
    return round(100 * sum(hits) / len(hits), 2) if hits else None


def cells(comparisons: int) -> list[Cell]:
    """All cells, on all cores. What only answers show is left out where there are none."""
    asked = [
        (world, answers, seeds, examples, comparisons)
        for world in WORLDS
        for answers in (True, False)
        if answers or not world.taste
        for seeds in SEEDS
        for examples in EXAMPLES
    ]
    with Pool(len(os.sched_getaffinity(0))) as pool:
        return pool.starmap(measured, asked, chunksize=1)


def above_limit(cell: Cell) -> bool:
    """Whether it has more false positives than it may."""
    return (cell.false_positive_percent or 0.0) > MOST_PERCENT


def measured_again(cell: Cell) -> Cell:
    """A cell by ten times as many other comparisons."""
    world = next(world for world in WORLDS if world.name == cell.world)
    return measured(world, cell.answers, cell.seeds, cell.examples,
                    10 * cell.comparisons, cell.comparisons)  # fmt: skip


def show(found: list[Cell]) -> None:
    """Print the table, and whether every cell keeps what is promised."""
    titles = ("world", "answers", "seeds", "examples", "p given %", "false positives %",
              "interval covers %", "where no p is given")  # fmt: skip
    table = new_table()
    for title in titles:
        table.add_column(title)
    for cell in found:
        numbers = (cell.given_percent, cell.false_positive_percent, cell.covered_percent)
        texts = ["-" if number is None else f"{number:.2f}" for number in numbers]
        answers = "yes" if cell.answers else "no"
        table.add_row(cell.world, answers, str(cell.seeds), str(cell.examples), *texts, cell.reason)
    console.print(table)
    rates = [rate for cell in found if (rate := cell.false_positive_percent) is not None]
    over = sum(map(above_limit, found))
    print_line(
        f"{len(found)} rows: {len(found) - len(rates)} without a p-value, {over} with more than "
        f"{MOST_PERCENT} % false positives (the most: {max(rates)} %)"
    )


def main() -> None:
    """Simulate, print the table, keep the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--comparisons", type=int, default=20_000, help="of each cell")
    parser.add_argument("--smoke", action="store_true", help="500 of each cell; not kept")
    asked = parser.parse_args()
    found = cells(AT_ONCE if asked.smoke else asked.comparisons)
    if not asked.smoke:
        found += [measured_again(cell) for cell in found if above_limit(cell)]
    if not asked.smoke:
        rows = (json.dumps(asdict(cell) | {"commit": commit()}) + "\n" for cell in found)
        with RESULTS.open("a", encoding="utf-8") as file:
            file.writelines(rows)
    show(found)


if __name__ == "__main__":
    main()
