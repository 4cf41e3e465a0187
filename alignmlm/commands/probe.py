"""The command that looks into a run: `alignmlm probe`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from alignmlm.commands.options import PATH, WHOLE, NewFile, as_json, command, run_recipe
from alignmlm.console.terminal import console, messages, new_table, print_line
from alignmlm.errors import ConfigError


@command("probe")
@click.argument("run", type=PATH)
@click.option("--step", type=WHOLE, help="Step of a checkpoint; none: the newest.")
@click.option("--all", "every", is_flag=True, help="Every checkpoint; draws the curves too.")
@click.option(
    "--context-rows",
    type=WHOLE,
    default=1000,
    show_default=True,
    help="Validation rows of each language for the mean states of words.",
)
@click.option(
    "--sentences",
    type=WHOLE,
    default=500,
    show_default=True,
    help="Validation sentences for word alignment.",
)
@click.option("--output", type=NewFile(), help="JSON file; none: probes.json in the run.")
@as_json
def probe_command(
    run: Path,
    step: int | None,
    every: bool,
    context_rows: int,
    sentences: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure how well the languages of RUN are aligned: words, contexts, sentences, each layer."""
    if every and step is not None:
        raise ConfigError("--step", step, "be left out with --all")
    if every and output is not None and output.suffix == ".png":
        raise ConfigError("--output", str(output), "name the JSON file; the curves get that name")
    recipe = run_recipe(run)
    from alignmlm.ranks.devices import name_accelerator

    name_accelerator()
    from alignmlm.reporting.probe_tables import write_curves
    from alignmlm.storage.atomic import replace_text
    from alignmlm.studies.run_probes import PROBES, ProbeSizes, asked_steps, probe_run
    from alignmlm.studies.run_words import write_words

    sizes = ProbeSizes(context_rows=context_rows, sentences=sentences)
    steps = asked_steps(run, step, every)
    document = probe_run(recipe, run, steps, sizes, show_progress)
    path = output or run / PROBES
    text = json.dumps(document, indent=1) + "\n"
    replace_text(path, text)
    words = [write_words(recipe, run)] if output is None else []
    written = [path, *words]
    if len(steps) > 1:
        written.append(write_curves(document, path.with_suffix(".png")))
    if as_json:
        print_line(text.rstrip("\n"))
        return
    show(document["steps"][-1])
    for own in written:
        print_line(f"written: {own}")


def show_progress(done: int, total: int) -> None:
    """Print a message per checkpoint, where there are several."""
    if total > 1:
        messages.print(f"checkpoint {done + 1} of {total}")


def percent(value: float | None) -> str:
    """A percentage for a table; a dash where there is none."""
    return "-" if value is None else f"{value:.1f}"


def show(measured: dict[str, Any]) -> None:
    """Print tables of one checkpoint: words and sentences of each language pair."""
    from alignmlm.reporting.probe_tables import gradient_rows, layer_rows, word_rows

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
        if gradients := gradient_rows(metrics):
            console.print(gradient_table(gradients))


def sentence_table(layers: Sequence[Any]) -> Table:
    """Word alignment error and CKA of parallel sentences, by layer."""
    table = new_table("Parallel sentences")
    for title in ("layer", "alignment error (%)", "linear CKA"):
        table.add_column(title, justify="right")
    for row in layers:
        cka = "-" if row.linear_cka is None else f"{row.linear_cka:.3f}"
        table.add_row(str(row.layer), percent(row.alignment_error_percent), cka)
    return table


def gradient_table(gradients: Sequence[Any]) -> Table:
    """Cosines of gradients, by part of the model."""
    table = new_table(
        "Cosines of gradients",
        "Languages: of the prediction losses of both. Alignment: of the prediction loss and the "
        "alignment term. Below 0, a step for one undoes some of the other's.",
    )
    for title in ("part", "languages", "alignment"):
        table.add_column(title, justify="left" if title == "part" else "right")
    for part, *cosines in gradients:
        cells = ["-" if value is None else f"{value:.2f}" for value in cosines]
        table.add_row(part, *cells)
    return table
