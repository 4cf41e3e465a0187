"""The command that looks into a run: `alignmlm probe`."""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from alignmlm.config import load_recipe
from alignmlm.errors import ConfigError
from alignmlm.pretraining.run_folder import RECIPE
from alignmlm.terminal import console, messages, new_table, print_line


def probe_command(arguments: Sequence[str]) -> int:
    """Measure how a run's languages are aligned: words, contexts, sentences, every layer."""
    parser = ArgumentParser(prog="alignmlm probe", description=probe_command.__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--step", type=int, help="a checkpoint's step; default: the newest")
    which.add_argument("--all", action="store_true", help="every checkpoint; draws the curves too")
    parser.add_argument(
        "--context-rows", type=int, default=1000, metavar="N",
        help="validation rows of each language for the mean states of words (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--sentences", type=int, default=500, metavar="N",
        help="validation sentences for word alignment (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, help="JSON file; default: probes.json in the run")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of tables")
    values = parser.parse_args(arguments)
    from alignmlm.devices import name_accelerator

    name_accelerator()
    from alignmlm.reporting.probe_tables import write_curves
    from alignmlm.storage.atomic import replace_text
    from alignmlm.studies.run_probes import PROBES, ProbeSizes, asked_steps, probe_run
    from alignmlm.studies.run_words import write_words

    if not (values.run / RECIPE).is_file():
        raise ConfigError("run", str(values.run), f"be the folder of a run; it has no {RECIPE}")
    sizes = ProbeSizes(context_rows=values.context_rows, sentences=values.sentences)
    steps = asked_steps(values.run, values.step, values.all)
    recipe = load_recipe(values.run / RECIPE)
    document = probe_run(recipe, values.run, steps, sizes, show_progress)
    path = values.output or values.run / PROBES
    text = json.dumps(document, indent=1) + "\n"
    replace_text(path, text)
    words = [write_words(recipe, values.run)] if values.output is None else []
    if values.json:
        print_line(text.rstrip("\n"))
        return 0
    show(document["steps"][-1])
    written = [path, *words]
    if len(steps) > 1:
        written.append(write_curves(document, path.with_suffix(".png")))
    for own in written:
        print_line(f"written: {own}")
    return 0


def show_progress(done: int, total: int) -> None:
    """One message a checkpoint, where there are several."""
    if total > 1:
        messages.print(f"checkpoint {done + 1} of {total}")


def percent(value: float | None) -> str:
    """A share for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.1f}"


def show(measured: dict[str, Any]) -> None:
    """Tables of one checkpoint: words and sentences of each language pair."""
    from alignmlm.reporting.probe_tables import layer_rows, word_rows

    for name, metrics in measured["pairs"].items():
        table = new_table(
            f"{name.replace(' ', ' → ')} · step {measured['step']:,}",
            "P@1 and shares in %. Layers: words averaged over contexts (0: embedding layer's "
            "output). Rotated: by an orthogonal map fitted on the given pairs.",
        )
        for title in ("vectors", "space"):
            table.add_column(title)
        for title in ("given", "held out", "held out, CSLS", "mutual", "hub mass"):
            table.add_column(title, justify="right")
        for row in word_rows(metrics):
            table.add_row(row.vectors, row.space, *map(percent, row[2:]))
        console.print(table)
        if layers := layer_rows(metrics):
            console.print(sentence_table(layers))


def sentence_table(layers: Sequence[Any]) -> Table:
    """Word alignment error and CKA of parallel sentences, by layer."""
    table = new_table("Parallel sentences")
    for title in ("layer", "alignment error (%)", "linear CKA"):
        table.add_column(title, justify="right")
    for row in layers:
        error, cka = percent(row.alignment_error_percent), f"{row.linear_cka:.3f}"
        table.add_row(str(row.layer), error, cka)
    return table
