"""How many held-out pairs are induced from text alone, and how many of those are right.

For each word order, size of the dictionary and draw of its pairs: English Wikipedia and the same
language in another order and script; with --natural also English and French with MUSE's dictionary.
No model is trained. Needs the stores of the two recipes (alignmlm data build --config RECIPE).

    python benchmarks/induction.py --output benchmarks/results/induction.jsonl
"""

import argparse
import json
from pathlib import Path
from time import perf_counter

from machine import commit, processor

from alignmlm.config import load_recipe
from alignmlm.console.terminal import console, new_table
from alignmlm.pretraining.assembly import assemble
from alignmlm.pretraining.induced_pairs import induction_of, record_of

DERIVED, NATURAL = "recipes/wikipedia-laptop.yaml", "recipes/english-french-laptop.yaml"
COLUMNS = (
    "target", "fraction", "seed", "tokens", "given", "induced", "control_precision_percent",
    "precision_percent", "recall_percent", "rounds", "seconds",
)  # fmt: skip


def measured(recipe_path: str, overrides: list[str]) -> dict[str, object]:
    """One row: an induction compared with the held-out pairs."""
    recipe = load_recipe(Path(recipe_path), overrides)
    assembly = assemble(recipe)
    began = perf_counter()
    induction = induction_of(assembly.pairs[0], assembly, recipe.dictionary)
    seconds = perf_counter() - began
    record = record_of(assembly.pairs[0], assembly, induction)
    return record | {
        "fraction": recipe.dictionary.fraction,
        "seed": recipe.dictionary.seed,
        "tokens": recipe.dictionary.induction_tokens,
        "rounds": len(record["rounds"]) - 1,
        "seconds": round(seconds, 1),
    }


def cells(options: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """Recipe and overrides of every row."""
    rows = []
    for seed in options.seeds:
        for fraction in options.fractions:
            shared = [f"--dictionary.seed={seed}", f"--dictionary.fraction={fraction}",
                      f"--dictionary.induction_tokens={options.tokens}"]  # fmt: skip
            for order in options.orders:
                target = f"eng-Latn-x-{order}"
                rows.append((DERIVED, [*shared, f"--languages.ids=[eng-Latn,{target}]"]))
            if options.natural:
                rows.append((NATURAL, shared))
    return rows


def main() -> None:
    """Measure, print and record the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", nargs="*", default=["trans", "inv-trans", "perm-trans"])
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.5, 0.1, 0.01])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--tokens", type=int, default=3_000_000, help="of each language")
    parser.add_argument("--natural", action="store_true", help="English and French, too")
    parser.add_argument("--output", type=Path, help="JSON Lines, appended")
    options = parser.parse_args()
    table, where = new_table("pairs induced from text"), {"device": processor(), "commit": commit()}
    for name in COLUMNS:
        table.add_column(name.removesuffix("_percent"), justify="right")
    for recipe, overrides in cells(options):
        row = measured(recipe, overrides) | where
        values = [row[name] for name in COLUMNS]
        table.add_row(*(f"{v:.1f}" if isinstance(v, float) and v > 1 else str(v) for v in values))
        if options.output:
            with options.output.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    console.print(table)


if __name__ == "__main__":
    main()
