"""Examples that one run gets right and another one wrong, from the runs' samples, for the page.

For each task, language and arm: how much of each example every run gets right (as two letters),
and, for the examples in which runs differ most, the texts, the right labels and every run's
answers. Of several seeds of fine-tuning, the lowest is used.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from alignmlm.errors import AlignMLMError
from alignmlm.evaluation.scores.results import SAMPLES
from alignmlm.evaluation.scores.scoring import Arm, Sample, recorded_samples
from alignmlm.reporting.example_texts import Document, example_texts
from alignmlm.reporting.run_facts import RunFacts
from alignmlm.reporting.transfer_names import language_name, task_name

ARMS: dict[Arm, str] = {"bz": "zero-shot", "bs": "supervised"}
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
STEPS = len(DIGITS) ** 2 - 1
MOST_EXAMPLES, MOST_SHOWN = 1000, 60
ALL_SHARES, ALL_ANSWERS = 1_500_000, 1_000_000  # of all runs and tasks together
Plain = dict[str, Any]
Answers = dict[Document, Sample]


class TaskLanguage(NamedTuple):
    """One task in one language."""

    task: str
    language: str


def tested(runs: Iterable[RunFacts]) -> dict[TaskLanguage, list[int]]:
    """The tasks and languages that two or more runs have samples of, and the places of these runs.

    Retrieval is left out.
    """
    places_of: dict[TaskLanguage, list[int]] = defaultdict(list)
    for place, run in enumerate(runs):
        results = run.results or {}
        for task, languages in results.get(SAMPLES, {}).items():
            for language in languages:
                if task in results.get("per_seed", {}):
                    places_of[TaskLanguage(task, language)].append(place)
    return {one: places for one, places in places_of.items() if len(places) > 1}


def share(sample: Sample) -> float:
    """How much of an example is right, in [0, 1]; 1 where there was nothing to find."""
    return sample.gained / sample.possible if sample.possible else 1.0


def share_letters(value: float) -> str:
    """A share as two letters: "00" is 0 and "zz" is 1, and no other share is rounded to them."""
    steps = (
        round(value * STEPS) if value in (0, 1) else min(max(round(value * STEPS), 1), STEPS - 1)
    )
    return "".join(DIGITS[digit] for digit in divmod(steps, len(DIGITS)))


def answers_of(run: RunFacts, one: TaskLanguage, arm: Arm) -> Answers:
    """A run's answers of one arm, those of the lowest seed.

    Raises:
        DataError: the samples are damaged.
    """
    recorded = (run.results or {})[SAMPLES]
    samples = recorded_samples(run.folder / "evaluation", recorded, *one)
    seeds = [sample.seed for sample in samples if sample.arm == arm]
    return {
        (sample.doc_id, sample.doc_hash): sample
        for sample in samples
        if sample.arm == arm and sample.seed == min(seeds)
    }


def with_same_examples(
    runs: list[RunFacts], places: list[int], one: TaskLanguage, arm: Arm
) -> list[dict[int, Answers]]:
    """The answers of runs that share examples and right labels, in groups of at least two.

    For questions, only examples are compared: samples hold the right answer nearest to the run's
    own.
    """
    alike: list[tuple[dict[Document, list[str]], dict[int, Answers]]] = []
    for place in places:
        answers, config = answers_of(runs[place], one, arm), (runs[place].results or {})["configs"]
        several = config[one.task]["task"].get("kind") == "question_answering"
        own = {d: [] if several else sample.target for d, sample in answers.items()}
        group = next((group for right, group in alike if right == own), None)
        if group is None:
            alike.append((own, {place: answers}))
        else:
            group[place] = answers
    return [group for right, group in alike if right and len(group) > 1]


def most_different(shares: Float[np.ndarray, "run example"], count: int) -> list[int]:
    """Places of the examples in which runs differ most, in their order."""
    spread = shares.max(axis=0) - shares.min(axis=0)
    return sorted(np.argsort(-spread, kind="stable")[:count].tolist())


def evenly(documents: list[Document], count: int) -> list[Document]:
    """At most `count` of the documents, evenly spread."""
    places = np.linspace(0, len(documents) - 1, min(len(documents), count)).round().astype(int)
    return [documents[place] for place in np.unique(places)]


def shown_texts(
    run: RunFacts, one: TaskLanguage, documents: list[Document], folder: Path
) -> tuple[list[Plain | None], str]:
    """Original and derived texts of some examples, or Nones and the reason why there are none."""
    try:
        texts = example_texts(run, *one, wanted=set(documents), folder=folder)
    except (AlignMLMError, OSError, KeyError, TypeError) as error:
        return [None] * len(documents), f"no texts: {error}"
    pairs = [texts.get(document) for document in documents]
    return [p and {"original": p[0], "derived": p[1]} for p in pairs], ""


def flip_unit(
    by_run: dict[int, Answers],
    one: TaskLanguage,
    arm: Arm,
    each: int,
    texts_of: Callable[[list[Document]], tuple[list[Plain | None], str]],
) -> Plain:
    """One task, language and arm; `each`: how many runs, over all units, share the size limits."""
    every = list(next(iter(by_run.values())))
    drawn = evenly(every, max(50, min(MOST_EXAMPLES, ALL_SHARES // each)))
    shares = np.array([[share(answers[d]) for d in drawn] for answers in by_run.values()])
    length = max(1, round(np.mean([len(s.target) for s in next(iter(by_run.values())).values()])))
    places = most_different(shares, max(5, min(MOST_SHOWN, ALL_ANSWERS // (each * length))))
    shown = [drawn[place] for place in places]
    same = Counter(name for name, _ in shown)
    number: dict[str, int] = {}

    def numbers(labels: list[str]) -> list[int]:
        return [number.setdefault(label, len(number)) for label in labels]

    def right(document: Document) -> list[int]:
        targets = zip(*(answers[document].target for answers in by_run.values()), strict=True)
        return numbers([" / ".join(dict.fromkeys(labels)) for labels in targets])

    texts, hole = texts_of(shown)
    seeds = sorted({sample.seed for answers in by_run.values() for sample in answers.values()})
    return {
        "title": f"{task_name(one.task)}, {language_name(one.language)}, {ARMS[arm]}",
        "examples": len(every),
        "seeds": seeds,
        "shares": {
            str(place): "".join(map(share_letters, line))
            for place, line in zip(by_run, shares.tolist(), strict=True)
        },
        "shown": places,
        "ids": [name if same[name] == 1 else f"{name} ({text})" for name, text in shown],
        "right": [right(document) for document in shown],
        "given": {
            str(place): [numbers(answers[document].filtered_resps) for document in shown]
            for place, answers in by_run.items()
        },
        "texts": texts,
        "hole": hole,
        "labels": list(number),
    }


def flip_data(runs: list[RunFacts]) -> list[Plain]:
    """Units of a task, language and arm, one per group of runs with the same examples.

    Raises:
        DataError: samples are damaged.
    """
    wanted = tested(runs)
    each = max(1, len(ARMS) * sum(map(len, wanted.values())))
    units = []
    with tempfile.TemporaryDirectory() as folder:
        for one, places in wanted.items():
            for arm in ARMS:
                alike = with_same_examples(runs, places, one, arm)
                for by_run in alike:
                    first = runs[next(iter(by_run))]
                    texts = partial(shown_texts, first, one, folder=Path(folder))
                    units.append(flip_unit(by_run, one, arm, each, texts))
                    if len(alike) > 1:
                        units[-1]["title"] += f", {units[-1]['examples']:,} examples"
    return units
