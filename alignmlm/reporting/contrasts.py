"""Which objectives of a study differ by more than noise in a cell: task, source and target.

Each pair of objectives in a cell is compared on the pre-training seeds that both have, with the
test examples taken as given. Holm's adjustment counts all comparisons of one measure. An
objective's rank in a cell is 1 plus the number of objectives that are better by more than noise:
equal ranks are ties.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from alignmlm.evaluation.scores.score_rows import MEASURES, Cell, Measure, ScoreRow, by_cell
from alignmlm.evaluation.scores.statistics import Difference, difference, holm, seed_noise
from alignmlm.reporting.transfer_tables import SMALLER_IS_BETTER

LEVEL = 0.05


class TransferPlace(NamedTuple):
    """The task, source and target language in which objectives are compared."""

    task: str
    source_language: str
    language: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrast:
    """How one measure of two objectives differs in one place, in percentage points."""

    place: TransferPlace
    measure: Measure
    first: str
    second: str
    means: tuple[float, float]  # over the shared seeds
    seeds: int  # that both have
    difference: Difference  # second - first
    p_holm: float = math.nan

    @property
    def better(self) -> str | None:
        """The objective that is better by more than noise; None: neither, or no p-value."""
        if not self.p_holm <= LEVEL:
            return None
        rises = self.difference.interval.estimate > 0
        return self.second if rises != (self.measure in SMALLER_IS_BETTER) else self.first

    @property
    def worse(self) -> str | None:
        """The objective that is worse by more than noise; None where `better` is None."""
        better = self.better
        return None if better is None else self.first if better == self.second else self.second


def place_of(cell: Cell) -> TransferPlace:
    """The place of a cell."""
    return TransferPlace(cell.task, cell.source_language, cell.language)


def by_place(rows: Iterable[ScoreRow]) -> dict[TransferPlace, dict[str, list[ScoreRow]]]:
    """The rows by place and objective, seeds in ascending order.

    Raises:
        DataError: a cell has the same seed twice.
    """
    places: dict[TransferPlace, dict[str, list[ScoreRow]]] = {}
    for cell, group in by_cell(rows).items():
        places.setdefault(place_of(cell), {})[cell.objective] = group
    return places


def scores_by_seed(rows: list[ScoreRow], measure: Measure) -> dict[int, float]:
    """One measure by seed, where it was measured."""
    scores = {row.seed: float(getattr(row, measure)) for row in rows}
    return {seed: value for seed, value in scores.items() if not math.isnan(value)}


def contrast(
    place: TransferPlace, measure: Measure, sides: tuple[tuple[str, list[ScoreRow]], ...]
) -> Contrast | None:
    """The contrast of two objectives, its p-value not yet adjusted; None without a shared seed."""
    (first, rows), (second, others) = sides
    one, two = scores_by_seed(rows, measure), scores_by_seed(others, measure)
    seeds = sorted(one.keys() & two.keys())
    if not seeds:
        return None
    a, b = (np.array([side[seed] for seed in seeds]) for side in (one, two))
    gain = difference(float((b - a).mean()), seed_noise(b - a))
    means = float(a.mean()), float(b.mean())
    return Contrast(
        place=place, measure=measure, first=first, second=second, means=means, seeds=len(seeds),
        difference=gain,
    )  # fmt: skip


def contrasts(rows: Iterable[ScoreRow], measure: Measure) -> list[Contrast]:
    """The contrasts of every two objectives in every place, with Holm-adjusted p-values.

    Raises:
        DataError: a cell has the same seed twice.
    """
    unadjusted = [
        one
        for place, objectives in by_place(rows).items()
        for sides in combinations(objectives.items(), 2)
        if (one := contrast(place, measure, sides)) is not None
    ]
    adjusted = holm([one.difference.p for one in unadjusted])
    return [replace(one, p_holm=p) for one, p in zip(unadjusted, adjusted, strict=True)]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an objective stands in one place by one measure."""

    beats: tuple[str, ...]  # by more than noise
    beaten_by: tuple[str, ...]
    compared: bool  # with at least one other, and with a p-value

    @property
    def rank(self) -> int:
        """1 plus the number of objectives that are better by more than noise."""
        return 1 + len(self.beaten_by)


def standing(every: Iterable[Contrast], place: TransferPlace, objective: str) -> Standing:
    """Where an objective stands among the contrasts of one measure."""
    own = [c for c in every if c.place == place and objective in (c.first, c.second)]
    decided = [c for c in own if c.better is not None]
    return Standing(
        tuple(str(c.worse) for c in decided if c.better == objective),
        tuple(str(c.better) for c in decided if c.worse == objective),
        any(not math.isnan(c.p_holm) for c in own),
    )


def standings(rows: list[ScoreRow]) -> dict[tuple[TransferPlace, Measure, str], Standing]:
    """Where each objective stands in each place by each measure.

    Raises:
        DataError: a cell has the same seed twice.
    """
    places = by_place(rows)
    by_objective: dict[tuple[TransferPlace, Measure, str], Standing] = {}
    for measure in MEASURES:
        every = contrasts(rows, measure)
        for place, objectives in places.items():
            own = [c for c in every if c.place == place]
            for objective in objectives:
                by_objective[place, measure, objective] = standing(own, place, objective)
    return by_objective
