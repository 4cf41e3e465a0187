"""What ordering models do: four tables, and the same numbers as JSON lines.

toy         how likely the orders are that the original program drew for its toy input
direction   share of dependents after their head: English, English in French order, French
likelihood  how well models of French explain French sentences that they were not estimated from
speed       sentences reordered in a second, on one core

Data is read below $ALIGNMLM_DATA, by default ../shared/data. --smoke takes little of it, and
writes nothing unless --out says where.
"""

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from machine import commit, processor

from alignmlm.console.terminal import WholeTable, console, new_table
from alignmlm.corpus.sources import expand_path
from alignmlm.syntax.direction import RELATIONS, HeadDirection, directions
from alignmlm.syntax.features import NOUN_HEADS, VERB_HEADS
from alignmlm.syntax.fitting import (
    L2,
    TRAINED_NODES,
    Sample,
    fit_sample,
    log_likelihood,
    sample_orders,
)
from alignmlm.syntax.ordering import (
    Counts,
    OrderingModel,
    blend,
    head_orders,
    read_orm,
    reorder_tree,
)
from alignmlm.syntax.trees import Tree, permuted, read_conllu, version_1

RESULTS = Path(__file__).parent / "results" / "syntax.jsonl"
SMOKE_TREES = 100
HEADS = {"N": NOUN_HEADS, "V": VERB_HEADS}
TOYS = (("fr", "hi"), ("en", "en"))  # languages of the noun and of the verb model
SEED = 0
NATS = ("log_probability_nats", "uniform_nats")

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Data:
    """Where the data lies and how much of it is used."""

    folder: Path
    trees: int | None  # of each file; None for all

    def treebank(self, name: str) -> list[Tree]:
        """Trees of a file below ud/, as they are."""
        return list(islice(read_conllu(self.folder / "ud" / f"{name}.conllu.gz"), self.trees))

    def model(self, language: str, part: str) -> OrderingModel:
        """A published model."""
        return read_orm(self.folder / "galactic_dependencies/models" / f"{language}@{part}.orm.gz")

    def blended(self, language: str, part: str) -> OrderingModel:
        """A published model with its share of the English one, as the original program has it."""
        return blend(self.model(language, part), self.model("en", part))


def titled(heading: str, *columns: str) -> WholeTable:
    """An empty table with these columns."""
    table = new_table(heading)
    for name in columns:
        table.add_column(name)
    return table


def toy_rows(data: Data) -> list[Row]:
    """Every head of the toy outputs with the probability of its order."""
    rows: list[Row] = []
    for noun, verb in TOYS:
        name = f"sample-en~{noun}@N~{verb}@V"
        models = data.blended(noun, "N"), data.blended(verb, "V")
        trees = read_conllu(data.folder / "galactic_dependencies/toy" / f"{name}.conllu")
        for number, tree in enumerate(trees, start=1):
            for head in head_orders(tree, *models):
                rows.append(
                    {
                        "output": name,
                        "sentence": number,
                        "head": tree.words[head.head],
                        "order": " ".join(tree.words[word] for word in head.words),
                        "log_probability_nats": head.log_probability_nats,
                        "uniform_nats": -math.lgamma(len(head.words) + 1),
                    }
                )
    return rows


def show_toy(rows: Sequence[Row]) -> WholeTable:
    """The probability of each head's order, and of all of them."""
    table = titled("Orders of the toy outputs", "output", "head", "order", "p", "p if uniform")
    for output in dict.fromkeys(str(row["output"]) for row in rows):
        of_it = [row for row in rows if row["output"] == output]
        for row in of_it:
            chances = [_probability(row, key) for key in NATS]
            table.add_row(output, str(row["head"]), str(row["order"]), *chances)
        totals = [sum(float(str(row[key])) for row in of_it) for key in NATS]
        table.add_row(
            output, "all", "", f"exp({totals[0]:.2f})", f"exp({totals[1]:.2f})", end_section=True
        )
    return table


def _probability(row: Row, key: str) -> str:
    """A log-probability as a probability."""
    return f"{math.exp(float(str(row[key]))):.4f}"


def in_order_of(
    trees: Sequence[Tree], noun: OrderingModel, verb: OrderingModel
) -> tuple[list[Tree], Counts]:
    """Trees of UD version 2 in the order that two models draw."""
    moved, counts = [], Counts()
    for tree in trees:
        found = reorder_tree(version_1(tree), noun, verb, SEED)
        moved.append(permuted(tree, found.order.tolist()))
        counts += found.counts
    return moved, counts


def direction_rows(data: Data) -> list[Row]:
    """Share of dependents after their head: before, after, target."""
    english = data.treebank("UD_English-EWT/en_ewt-ud-dev")
    moved, _ = in_order_of(english, data.blended("fr", "N"), data.blended("fr", "V"))
    target = data.treebank("UD_French-GSD/fr_gsd-ud-dev")
    found = {
        "before": directions(english),
        "after": directions(moved),
        "target": directions(target),
    }
    return [_direction_row(relation, found) for relation in RELATIONS]


def _direction_row(relation: str, found: Mapping[str, Mapping[str, HeadDirection]]) -> Row:
    """One relation in all three treebanks."""
    row: Row = {"relation": relation}
    for name, of in found.items():
        one = of.get(relation, HeadDirection(0, 0))
        row |= {f"{name}_share": one.share, f"{name}_dependents": one.total}
    return row


def show_directions(rows: Sequence[Row]) -> WholeTable:
    """Percentages, with the number of dependents."""
    names = {"before": "EWT dev", "after": "in French order", "target": "French-GSD dev"}
    table = titled("Dependents after their head, %", "relation", *names.values())
    for row in rows:
        cells = [
            f"{100 * float(str(row[f'{name}_share'])):.1f} of {row[f'{name}_dependents']}"
            for name in names
        ]
        table.add_row(str(row["relation"]), *cells)
    return table


def held_out(data: Data) -> dict[str, list[Tree]]:
    """French treebanks that our models were not estimated from, with labels of UD version 1."""
    folder = "UD_French-Sequoia/fr_sequoia-ud-"
    dev, test = (data.treebank(folder + part) for part in ("dev", "test"))
    gsd = data.treebank("UD_French-GSD/fr_gsd-ud-dev")
    found = {"Sequoia dev": dev, "Sequoia test": test, "Sequoia dev+test": [*dev, *test]}
    return {name: list(map(version_1, trees)) for name, trees in (found | {"GSD dev": gsd}).items()}


def likelihood_rows(data: Data) -> list[Row]:
    """Log-likelihood of held-out French under each model of French."""
    train = list(map(version_1, data.treebank("UD_French-Sequoia/fr_sequoia-ud-train")))
    treebanks, rows = held_out(data), []
    for part, heads in HEADS.items():
        start = time.perf_counter()
        ours = fit_sample(sample_orders(train, heads, TRAINED_NODES))
        fit_s = time.perf_counter() - start
        published = data.model("fr", part)
        halved = OrderingModel({name: w / 2 for name, w in published.weights.items()})
        models = {"published": published, "published, weights halved": halved, "ours": ours}
        for name, trees in treebanks.items():
            sample = sample_orders(trees, heads)
            for model, weights in models.items():
                rows.append(
                    {"part": part, "treebank": name, "model": model, "l2": L2, "fit_s": fit_s}
                    | _likelihood(weights, sample)
                )
    return rows


def _likelihood(model: OrderingModel, sample: Sample) -> Row:
    """Log-likelihood of a sample, in total and for each head."""
    found = log_likelihood(model, sample)
    return {
        "heads": found.heads,
        "total_nats": found.total_nats,
        "per_head_nats": found.per_head_nats,
        "uniform_nats": found.uniform_nats,
    }


def show_likelihoods(rows: Sequence[Row]) -> WholeTable:
    """Nats in total and for each head."""
    columns = ("part", "treebank", "model", "heads", "total nats", "nats a head")
    title = "Log-likelihood of held-out French orders"
    table = titled(title, *columns, "total if uniform")
    for row in rows:
        numbers = [f"{float(str(row[key])):.0f}" for key in ("total_nats", "uniform_nats")]
        table.add_row(
            str(row["part"]),
            str(row["treebank"]),
            str(row["model"]),
            str(row["heads"]),
            numbers[0],
            f"{float(str(row['per_head_nats'])):.3f}",
            numbers[1],
        )
    return table


def speed_rows(data: Data) -> list[Row]:
    """Sentences in a second: first half of EWT train, second half, and that once more."""
    trees = list(map(version_1, data.treebank("UD_English-EWT/en_ewt-ud-train")))
    models = data.blended("fr", "N"), data.blended("fr", "V")
    half = len(trees) // 2
    rows: list[Row] = []
    for name, part in (
        ("first half, nothing cached", trees[:half]),
        ("second half, new sentences", trees[half:]),
        ("second half again", trees[half:]),
    ):
        start = time.perf_counter()
        for tree in part:
            reorder_tree(tree, *models, SEED)
        seconds = time.perf_counter() - start
        rows.append({"pass": name, "sentences": len(part), "sentences_per_s": len(part) / seconds})
    return rows


def show_speed(rows: Sequence[Row]) -> WholeTable:
    """Sentences in a second."""
    table = titled("Speed of reordering, one core", "EWT train", "sentences", "sentences/s")
    for row in rows:
        rate = f"{float(str(row['sentences_per_s'])):,.0f}"
        table.add_row(str(row["pass"]), str(row["sentences"]), rate)
    return table


TABLES = {
    "toy": (toy_rows, show_toy),
    "direction": (direction_rows, show_directions),
    "likelihood": (likelihood_rows, show_likelihoods),
    "speed": (speed_rows, show_speed),
}


def append(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to a file of JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main() -> None:
    """Make the tables that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help=f"{SMOKE_TREES} trees of each file")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--out", type=Path, help=f"default: {RESULTS.name} in benchmarks/results")
    args = parser.parse_args()
    data = Data(expand_path("$ALIGNMLM_DATA"), SMOKE_TREES if args.smoke else None)
    out = args.out or (None if args.smoke else RESULTS)
    origin = {"smoke": args.smoke, "commit": commit(), "device": processor()}
    for name in args.tables:
        make, show = TABLES[name]
        rows = make(data)
        console.print(show(rows))
        if out:
            append(out, [{"table": name} | row | origin for row in rows])


if __name__ == "__main__":
    main()
