"""Which words a tagger transfers: those of the used dictionary, those held out, and the others.

Takes a run whose task was measured (`alignmlm eval run`), loads its fine-tuned models, and tests
them once more: zero-shot accuracy in the target language by whether a word is one token of the
used part of the dictionary, of the held-out part, or several tokens. Beside it, the accuracy of a
tagger that gives each word its most frequent label in the training split and knows no order.
"""

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from machine import commit, processor

from alignmlm.config import load_recipe
from alignmlm.console.terminal import console, new_table
from alignmlm.evaluation.evaluated_model import open_model
from alignmlm.evaluation.examples.rendering import IGNORED, Example
from alignmlm.evaluation.fine_tuning.training import Tuning, fine_tuned, predictions, task_data
from alignmlm.evaluation.selection import direction_of
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig
from alignmlm.pretraining.assembly import assemble
from alignmlm.tasks.task import load_task, read_examples

RESULTS = Path(__file__).parent / "results" / "transfer_by_words.jsonl"
GROUPS = ("in dictionary", "held out", "several tokens")


def word_groups(example: Example, used: set[int], held_out: set[int]) -> list[tuple[int, str]]:
    """The place of each scored word of a row, and its group."""
    labels = np.array(example.labels)
    places = np.flatnonzero(labels != IGNORED).tolist()
    found = []
    for place, after in zip(places, [*places[1:], len(labels) - 1], strict=True):
        token = example.input_ids[place]
        single = after == place + 1
        known = GROUPS[0] if token in used else GROUPS[1] if token in held_out else GROUPS[2]
        found.append((place, known if single else GROUPS[2]))
    return found


def most_frequent(train: list[Example]) -> dict[int, int]:
    """The most frequent label of each first token."""
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    for example in train:
        for token, label in zip(example.input_ids, example.labels, strict=True):
            if label != IGNORED:
                counts[token][label] += 1
    return {token: found.most_common(1)[0][0] for token, found in counts.items()}


def measured(run: Path, task_name: str, epochs: int, seeds: list[int]) -> list[dict[str, object]]:
    """One row a group of words."""
    assembly = assemble(load_recipe(run / "recipe.yaml", []))
    used, held_out = (
        {target[0] for _, target in dictionary.words() if len(target) == 1}
        for dictionary in (assembly.used, assembly.held_out)
    )
    export, task = open_model(run), load_task(task_name)
    direction = direction_of(export, task, None, [])
    config = EvaluationConfig(finetune=FineTuneConfig(epochs=epochs))
    source, tested = (
        read_examples(t, Path(config.sample_folder)) for t in (direction.source_task, task)
    )
    data = task_data(export, source, tested, config)
    models = run / "evaluation" / "models"
    tuning = Tuning(config=config.finetune, models=models)
    ours, target = data[task.name], direction.targets[0]
    usual = most_frequent(ours.rendered(target, "train").examples)
    right: Counter[str] = Counter()
    right_usual: Counter[str] = Counter()
    words: Counter[str] = Counter()
    test = ours.rendered(target, "test").examples
    for seed in seeds:
        model = fine_tuned(ours, direction.source, seed, tuning)
        for example, outputs in predictions(export, model, test, 64):
            for place, group in word_groups(example, used, held_out):
                label = example.labels[place]
                words[group] += 1
                right[group] += int(outputs["logits"][place].argmax() == label)
                right_usual[group] += int(usual.get(example.input_ids[place]) == label)
    return [
        {
            "objective": export.objective,
            "task": task.name,
            "language": target,
            "words": group,
            "share_percent": round(100 * words[group] / words.total(), 2),
            "bz_percent": round(100 * right[group] / words[group], 2),
            "most_frequent_label_percent": round(100 * right_usual[group] / words[group], 2),
            "seeds": seeds,
        }
        for group in GROUPS
        if words[group]
    ]


def main() -> None:
    """Measure, print the table, keep the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", help="finished runs with dictionaries")
    parser.add_argument("--task", default="ewt_pos")
    parser.add_argument("--epochs", type=int, default=2, help="as they were fine-tuned")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    settings = asked.task, asked.epochs, asked.seeds
    rows = [row for run in asked.runs for row in measured(run, *settings)]
    origin = {"device": processor(), "commit": commit()}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with asked.out.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row | origin) + "\n" for row in rows)
    table = new_table()
    for name in ("objective", "words", "share %", "BZ %", "most frequent label %"):
        table.add_column(name)
    for row in rows:
        keys = ("objective", "words", "share_percent", "bz_percent", "most_frequent_label_percent")
        table.add_row(*(str(row[key]) for key in keys))
    console.print(table)


if __name__ == "__main__":
    main()
