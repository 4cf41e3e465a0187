"""Fine-tuning here beside a plain one in the manner of transformers' run_ner.py, seed by seed.

alignmlm  a word has the tokens that it has in running text
words     the checkpoint's own tokenizer is given words, and writes each as if after a space
offsets   (--offsets) it is given the text; the first character of a token says whose it is

All of them start from one checkpoint, see the same sentences with the same settings, and take
turns. alignmlm has batches of similar length and the precision that is fastest, which are its
defaults; the others have Trainer's random batches, and fp32. A row for each, with the score of
every seed, is appended to results/.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from datasets import Dataset, disable_progress_bars
from machine import commit, processor
from plain_token_classification import (
    UNSCORED,
    Settings,
    Tokens,
    prepared,
    trained_score_percent,
)
from rows import keep_rows
from scipy.stats import ttest_ind
from torch import zeros_like

from alignmlm.config import load_recipe
from alignmlm.console.quiet import quiet_transformers
from alignmlm.console.terminal import WholeTable, console, new_table
from alignmlm.corpus.build import build_store
from alignmlm.evaluation.evaluated_model import open_export
from alignmlm.evaluation.fine_tuning.training import (
    fine_tune,
    in_precision,
    scored_split,
    task_data,
)
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig
from alignmlm.pretraining.assembly import assemble, make_model
from alignmlm.pretraining.checkpoints import Progress
from alignmlm.pretraining.export import PREFIX, export
from alignmlm.tasks.examples import LabelledSentence
from alignmlm.tasks.task import Task, load_task, read_examples

RESULTS = Path(__file__).parent / "results" / "token_classification.jsonl"
SPLITS = ("train", "test")
COLUMNS = ("words", "labels", "joined")
LEVEL = 0.95
PLAIN: dict[str, Any] = {"group_by_length": False, "precision": "fp32"}  # as the plain sides train
SMOKE_RECIPE = [
    '--data.sources=[{"language": "qaa-Latn", "files": ["sample:600"]}]',
    "--data.vocabulary_size=400",
    "--data.validation=0.1",
    "--train.seq_len=64",
]
SMOKE_ASKED = ("sample_pos", 96, 2, 1)  # task, sentences, seeds, epochs


@dataclass(frozen=True, slots=True)
class Work:
    """What every side is given."""

    model: Path  # a run or an export
    task: Task
    sample_folder: Path  # where the sample world's tasks are made
    settings: FineTuneConfig

    @property
    def evaluation(self) -> EvaluationConfig:
        """The same as alignmlm takes it."""
        return EvaluationConfig(finetune=self.settings, sample_folder=str(self.sample_folder))


@dataclass(frozen=True, slots=True)
class Side:
    """One way to fine-tune."""

    name: str
    score_percent: Callable[[int], float]  # on the test split, after training with a seed
    tokens: list[Tokens]  # of each test sentence, however long
    scored_words: int  # of the test split


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores and times of one side, in the order of the seeds."""

    side: Side
    scores_percent: list[float] = field(default_factory=list)
    seconds_s: list[float] = field(default_factory=list)

    @property
    def deviation_points(self) -> float:
        """Standard deviation over seeds; nan where there is one."""
        return stdev(self.scores_percent) if len(self.scores_percent) > 1 else math.nan


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of two means, and its interval."""

    points: float
    low: float
    high: float


def limited(task: Task, sentences: int | None, sample_folder: Path) -> Task:
    """The task with the first sentences of its training split alone; None for all.

    It keeps the labels of the whole split.
    """
    if sentences is None:
        return task
    labels = read_examples(task, sample_folder).labels
    found = task.files["train"]
    own = dict(found) if isinstance(found, dict) else {"path": found}
    start, stop = own.get("rows") or (0, sentences)
    rows = [start, min(stop, start + sentences)]
    files = {**task.files, "train": {**own, "rows": rows}}
    return replace(task, files=files, labels=task.labels or labels)


def our_side(work: Work) -> Side:
    """The fine-tuning that is measured."""
    export, task, language = open_export(work.model), work.task, work.task.language
    read = read_examples(task, Path(work.evaluation.sample_folder))
    ours = task_data(export, read, read, work.evaluation)[task.name]

    def score_percent(seed: int) -> float:
        model = fine_tune(ours, language, work.settings, seed)
        return scored_split(model, ours, language, "test", work.settings.batch_rows).percent

    test = ours.rendered(language, "test").examples
    scored = sum(label != UNSCORED for example in test for label in example.labels)
    tokens = [dict(enumerate(words)) for words in ours.splits["test"].words]
    return Side("alignmlm", score_percent, tokens, scored)


def columns_of(sentences: Sequence[LabelledSentence]) -> Dataset:
    """Words, labels and spaces of some sentences."""
    return Dataset.from_dict(
        {name: [list(getattr(sentence, name)) for sentence in sentences] for name in COLUMNS}
    )


def plain_side(form: str, work: Work) -> Side:
    """The plain fine-tuning of the same checkpoint on the same sentences."""
    found = read_examples(work.task, Path(work.evaluation.sample_folder))
    train, test = (columns_of(found.splits[split].examples) for split in SPLITS)
    plain = prepared(open_export(work.model).path, train, test, found.labels, form)
    keys = [setting.name for setting in fields(Settings)]
    settings = Settings(**{key: getattr(work.settings, key) for key in keys})

    def score_percent(seed: int) -> float:
        return trained_score_percent(plain, settings, work.task.metric, seed)

    return Side(form, score_percent, plain.test_tokens, plain.scored_words)


def unlike_percent(side: Side, other: Side) -> float:
    """Share of the other side's test words that have other tokens on this side, in [0, 100]."""
    pairs = list(zip(side.tokens, other.tokens, strict=True))
    unlike = sum(mine.get(word) != its[word] for mine, its in pairs for word in its)
    return 100 * unlike / sum(len(its) for _, its in pairs)


def difference(a: Measured, b: Measured) -> Difference:
    """Mean of a minus mean of b with its 95 % interval; nan where nothing bounds it.

    Source: Welch, 1947 (Biometrika 34), means of two samples of unequal variances.
    """
    points = fmean(a.scores_percent) - fmean(b.scores_percent)
    if not a.deviation_points + b.deviation_points > 0:
        return Difference(points, math.nan, math.nan)
    found = ttest_ind(a.scores_percent, b.scores_percent, equal_var=False)
    low, high = found.confidence_interval(LEVEL)
    return Difference(points, float(low), float(high))


def measure(sides: Sequence[Side], seeds: int) -> list[Measured]:
    """Every side with every seed, in turns; which one goes first changes from seed to seed."""
    found = [Measured(side) for side in sides]
    for seed in range(seeds):
        for one in found if seed % 2 == 0 else reversed(found):
            began = time.perf_counter()
            one.scores_percent.append(one.side.score_percent(seed))
            one.seconds_s.append(time.perf_counter() - began)
    return found


def known(value: float, digits: int) -> float | None:
    """A number with some digits; None for nan, which JSON lacks."""
    return None if math.isnan(value) else round(value, digits)


def row_of(one: Measured, ours: Measured) -> dict[str, Any]:
    """One side as it is kept."""
    apart = difference(ours, one)
    row = {
        "side": one.side.name,
        "scores_percent": [round(score, 4) for score in one.scores_percent],
        "mean_percent": round(fmean(one.scores_percent), 4),
        "deviation_points": known(one.deviation_points, 4),
        "scored_words": one.side.scored_words,
        "seconds_s": [round(seconds, 2) for seconds in one.seconds_s],
    }
    if one is ours:
        return row
    row |= PLAIN
    bounds = {f"{k}_points": known(getattr(apart, k), 4) for k in ("low", "high")}
    unlike = round(unlike_percent(one.side, ours.side), 2)
    return {
        **row,
        "unlike_percent": unlike,
        "ours_minus_it_points": known(apart.points, 4),
    } | bounds


def shown(value: float | None, form: str = ".2f") -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def score_table(title: str, rows: Sequence[dict[str, Any]]) -> WholeTable:
    """All sides, and how far alignmlm's lies above each of the others."""
    columns = ("side", "mean %", "sd", "alignmlm - it", "95 % interval (Welch)")
    table = new_table(title)
    for name in (*columns, "words scored", "other tokens %", "s a seed"):
        table.add_column(name)
    for row in rows:
        low, high = (shown(row.get(f"{bound}_points"), "+.2f") for bound in ("low", "high"))
        table.add_row(
            row["side"],
            shown(row["mean_percent"]),
            shown(row["deviation_points"]),
            shown(row.get("ours_minus_it_points"), "+.2f"),
            f"{low} to {high}" if "low_points" in row else "-",
            f"{row['scored_words']:,}",
            shown(row.get("unlike_percent"), ".1f"),
            f"{fmean(row['seconds_s']):.1f}",
        )
    return table


def smoke_model(folder: Path) -> Path:
    """An export of a small model of the sample world, as it is before its first step."""
    places = [f"--data.store={folder / 'store'}", f"--run.dir={folder / 'run'}"]
    recipe = load_recipe(None, [*SMOKE_RECIPE, *places])
    build_store(recipe.data)
    assembly = assemble(recipe)
    model = make_model(recipe, assembly)
    state = {
        f"{part}/{PREFIX}{name}": each.data if part == "parameter" else zeros_like(each.data)
        for name, each in model.named_parameters()
        for part in ("parameter", "exp_avg", "exp_avg_sq")
    }
    start = Progress(step=0, tokens=0, seconds=0.0, data_id="sample", first_step=0, numbers={})
    return export(recipe, assembly, state, start, {}, folder / "export")


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a run or an export; --smoke makes its own")
    parser.add_argument("--task", default="ewt_pos", help="name or YAML; entities: panx_eng")
    parser.add_argument("--seeds", type=int, default=5, help="of fine-tuning, from 0")
    parser.add_argument("--limit", type=int, help="sentences to train on, from the first")
    parser.add_argument("--offsets", action="store_true", help="a third side: running text")
    for name, value in asdict(FineTuneConfig()).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            flag = f"--{name.replace('_', '-')}"
            parser.add_argument(flag, type=type(value), default=value)
    parser.add_argument(
        "--alike", action="store_true", help="random batches and fp32 for alignmlm too"
    )
    parser.add_argument("--commit", help="name of what is measured; default: what git says")
    parser.add_argument("--out", type=Path, help=f"default: {RESULTS.name} in benchmarks/results")
    parser.add_argument("--smoke", action="store_true", help="sample world; kept with --out alone")
    asked = parser.parse_args()
    if not asked.model and not asked.smoke:
        parser.error("--model is needed: a run or an export")
    return asked


def work_of(asked: argparse.Namespace, folder: Path) -> Work:
    """What the command line asks for, as every side is given it."""
    model = asked.model or smoke_model(folder)
    names = [setting.name for setting in fields(FineTuneConfig) if setting.name in asked]
    asked_for = {name: getattr(asked, name) for name in names}
    settings = in_precision(FineTuneConfig(**asked_for, **(PLAIN if asked.alike else {})))
    tasks = folder / "tasks"
    return Work(model, limited(load_task(asked.task), asked.limit, tasks), tasks, settings)


def origin_of(work: Work, asked: argparse.Namespace) -> dict[str, Any]:
    """What the numbers of a row depend on, and where they were measured."""
    return {
        "task": work.task.name,
        "metric": work.task.metric,
        "limit_sentences": asked.limit,
        **asdict(work.settings),
        "model": open_export(work.model).identity(),
        "device": processor(),
        "commit": asked.commit or commit(),
    }


def compare(asked: argparse.Namespace, folder: Path) -> tuple[Work, list[dict[str, Any]]]:
    """All sides, measured, as rows."""
    work = work_of(asked, folder)
    forms = ["words", "offsets"] if asked.offsets else ["words"]
    sides = [our_side(work), *(plain_side(form, work) for form in forms)]
    found = measure(sides, asked.seeds)
    return work, [row_of(one, found[0]) for one in found]


def main() -> None:
    """Measure, print the table, keep the rows."""
    asked = arguments()
    if asked.smoke:
        asked.task, asked.limit, asked.seeds, asked.epochs = SMOKE_ASKED
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        work, rows = compare(asked, Path(folder))
        origin = origin_of(work, asked)
    keep_rows([origin | row for row in rows], asked, RESULTS)
    trained = f"{asked.limit:,} sentences" if asked.limit else "all sentences"
    title = f"{work.task.name}, {work.task.metric}: {asked.seeds} seeds, {trained}"
    console.print(score_table(title, rows))


if __name__ == "__main__":
    main()
