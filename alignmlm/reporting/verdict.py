"""What a study found and how sure that is, in sentences written from its numbers by fixed rules.

1. Transfer is compared by Delta where every objective of a place has one, else by BZ.
2. No two objectives in one place: nothing to compare.
3. No p-value anywhere (one seed, or seeds that agree to the last bit): no claim.
4. Two objectives differ by more than noise where Holm's adjusted p is at most 0.05.
5. Pairs of objectives are reported by how often one is better; both directions, if both occur.
6. Where Delta is smaller but BZ not higher beyond noise, that is said.
7. No such pair: no difference beyond noise in that measure, how small a difference could have been
   noticed, and in how many places BZ differs nevertheless.
"""

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, median

from alignmlm.evaluation.scores.score_rows import Measure, ScoreRow
from alignmlm.reporting.contrasts import (
    Contrast,
    TransferPlace,
    by_place,
    contrasts,
    scores_by_seed,
)
from alignmlm.reporting.transfer_names import language_name, objective_name, task_name
from alignmlm.reporting.transfer_tables import p_text, shown, signless

MOST_PAIRS = 4  # that are reported
NAMES: dict[Measure, str] = {"delta": "Delta", "bz": "BZ", "bs": "BS", "source": "source"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sentence that says what was found, and others on how sure it is."""

    headline: str
    details: tuple[str, ...] = ()


def decisive(rows: list[ScoreRow]) -> list[Contrast]:
    """Every comparison by Delta, or by BZ in the places where an objective has no Delta."""
    places = by_place(rows)
    by_delta = {
        place
        for place, objectives in places.items()
        if all(scores_by_seed(group, "delta") for group in objectives.values())
    }
    delta = [c for c in contrasts(rows, "delta") if c.place in by_delta]
    return delta + [c for c in contrasts(rows, "bz") if c.place not in by_delta]


def place_text(place: TransferPlace) -> str:
    """A place in words: "EWT POS (eng → eng, inverted)"."""
    source, target = language_name(place.source_language), language_name(place.language)
    return f"{task_name(place.task)} ({source} → {target})"


def seeds_text(compared: list[Contrast]) -> str:
    """How many pre-training seeds were compared."""
    counts = sorted({c.seeds for c in compared})
    numbers = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return f"{numbers} seed{'s' if counts[-1] > 1 else ''}"


def numbers_text(compared: Contrast) -> str:
    """The means of both sides, the better (or first) one first, and their difference's interval."""
    order = (1, 0) if compared.better == compared.second else (0, 1)
    means = " against ".join(signless(f"{compared.means[side]:.1f}") for side in order)
    text = f"{NAMES[compared.measure]} {means}"
    interval = shown(compared.difference.interval)
    if not compared.difference.interval.known:
        return f"{text}, difference {interval}"
    names = f"{objective_name(compared.second)} - {objective_name(compared.first)}"
    p = p_text(compared.p_holm)
    equals = "" if p.startswith("<") else "= "
    noise = f"difference {interval} points ({names}, 95 % interval), p {equals}{p} (Holm)"
    return f"{text}; {noise}"


def pair_sentence(better: str, worse: str, won: list[Contrast], every: list[Contrast]) -> str:
    """Where one objective is better than another by more than noise."""
    both = [c for c in every if {c.first, c.second} == {better, worse}]
    start = f"{objective_name(better)} transfers better than {objective_name(worse)}"
    if len(won) == 1:
        return f"{start} on {place_text(won[0].place)}: {numbers_text(won[0])}, {seeds_text(won)}."
    gain = fmean(abs(c.difference.interval.estimate) for c in won)
    where = "; ".join(place_text(c.place) for c in won[:3]) + ("; …" if len(won) > 3 else "")
    measures = " or ".join(sorted({NAMES[c.measure] for c in won}, reverse=True))
    return (
        f"{start} beyond noise in {len(won)} of {len(both)} cells, by {gain:.1f} points of "
        f"{measures} on average there ({seeds_text(won)}): {where}."
    )


def by_lower_ceiling(rows: list[ScoreRow], won: list[Contrast]) -> list[str]:
    """A sentence on the places where Delta is smaller, but BZ not higher beyond noise."""
    by_bz = {(c.place, c.first, c.second): c.better for c in contrasts(rows, "bz")}
    own = [c for c in won if c.measure == "delta"]
    lone = [c for c in own if by_bz.get((c.place, c.first, c.second)) != c.better]
    if not lone:
        return []
    where = "; ".join(dict.fromkeys(place_text(c.place) for c in lone[:3]))
    more = "; …" if len(lone) > 3 else ""
    start = "There" if len(own) == 1 else f"In {len(lone)} of these {len(own)} cells"
    return [
        f"{start} the zero-shot score BZ itself is not higher beyond noise: a lower BS makes Delta "
        f"smaller, too ({where}{more})."
    ]


def no_claim(compared: list[Contrast]) -> Verdict:
    """What is said where no difference has a p-value."""
    largest = max(compared, key=lambda c: abs(c.difference.interval.estimate))
    names = f"{objective_name(largest.first)} and {objective_name(largest.second)}"
    detail = (
        f"Largest difference measured: {names} on {place_text(largest.place)}, "
        f"{numbers_text(largest)} points. It may be chance."
    )
    if max(c.seeds for c in compared) == 1:
        headline = "One seed: no claim about which objective transfers better."
        return Verdict(headline, (detail, "More pre-training seeds say how much of it is noise."))
    return Verdict("Seeds agree to the last digit: no claim, their noise is unknown.", (detail,))


def nothing_beyond_noise(rows: list[ScoreRow], known: list[Contrast]) -> Verdict:
    """What is said where no difference is larger than noise."""
    measures = " or ".join(sorted({NAMES[c.measure] for c in known}, reverse=True))
    by_bz = [c for c in contrasts(rows, "bz") if c.better is not None]
    widths = [(c.difference.interval.high - c.difference.interval.low) / 2 for c in known]
    closest = min(known, key=lambda c: c.p_holm)
    names = f"{objective_name(closest.first)} and {objective_name(closest.second)}"
    count = f"{len(known)} comparison{'s' if len(known) > 1 else ''}"
    return Verdict(
        f"No difference in {measures} beyond noise: {count} of objectives, {seeds_text(known)}.",
        (
            f"Half the width of their 95 % intervals is {median(widths):.1f} points (median): "
            "smaller differences could not have been noticed.",
            f"Nearest to one: {names} on {place_text(closest.place)}, {numbers_text(closest)}.",
            *(f"But {place_text(c.place)}: {numbers_text(c)}." for c in by_bz[:MOST_PAIRS]),
        ),
    )


def verdict(rows: list[ScoreRow]) -> Verdict:
    """What the scores of all seeds say.

    Raises:
        DataError: a cell has the same seed twice.
    """
    if not rows:
        return Verdict("Nothing about transfer was measured yet.")
    compared = decisive(rows)
    if not compared:
        objectives = {row.cell.objective for row in rows}
        if len(objectives) == 1:
            name = objective_name(*objectives)
            return Verdict(f"One objective only ({name}): nothing to compare.")
        return Verdict("No two objectives were measured on the same task, languages and seed.")
    known = [c for c in compared if not math.isnan(c.p_holm)]
    if not known:
        return no_claim(compared)
    won: dict[tuple[str, str], list[Contrast]] = defaultdict(list)
    for one in known:
        if one.better is not None:
            won[one.better, str(one.worse)].append(one)
    if not won:
        return nothing_beyond_noise(rows, known)
    pairs = sorted(won.items(), key=lambda item: -len(item[1]))
    sentences = [pair_sentence(*names, cells, known) for names, cells in pairs[:MOST_PAIRS]]
    if len(pairs) > MOST_PAIRS:
        sentences.append(f"{len(pairs) - MOST_PAIRS} more pairs differ; the matrix shows them.")
    sentences += by_lower_ceiling(rows, [c for c in known if c.better is not None])
    undecided = sum(c.better is None for c in compared)
    if undecided:
        comparisons = f"{undecided} of {len(compared)} comparisons"
        sentences.append(f"No difference beyond noise in {comparisons}.")
    return Verdict(sentences[0], tuple(sentences[1:]))
