"""What `alignmlm probe` shows: a table of the newest checkpoint, and curves over checkpoints."""

from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from alignmlm.reporting.curves import DOTS_PER_INCH, MARKS, STYLES
from alignmlm.storage.atomic import new_file

PNG = "probes.png"
SPACES = {"as_is": "as they are", "centred": "centred", "rotated": "rotated"}
NEAREST, CSLS = "forward/cosine_p1_percent", "forward/csls_p1_percent"


class WordRow(NamedTuple):
    """P@1, reciprocity and hub mass (percent) of some vectors in a space; None: not measured."""

    vectors: str  # "embeddings", "layer 2"
    space: str
    given: float | None
    held_out: float | None
    held_out_csls: float | None
    reciprocity: float | None
    hub_mass: float | None


def vector_kinds(metrics: dict[str, float | int]) -> dict[str, str]:
    """Prefix of the keys of each kind of vectors, and its name; layers in ascending order."""
    layers = {key.split("/")[1] for key in metrics if key.startswith("contexts/layer_")}
    numbers = sorted(int(layer.removeprefix("layer_")) for layer in layers)
    names = {f"contexts/layer_{number}": f"layer {number}" for number in numbers}
    return {"rows": "embeddings", **names}


def word_rows(metrics: dict[str, float | int]) -> list[WordRow]:
    """The table of one language pair at one checkpoint."""
    return [
        WordRow(
            name,
            shown,
            metrics.get(f"{prefix}/{space}/given/{NEAREST}"),
            metrics.get(f"{prefix}/{space}/held_out/{NEAREST}"),
            metrics.get(f"{prefix}/{space}/held_out/{CSLS}"),
            metrics.get(f"{prefix}/{space}/reciprocity_percent"),
            metrics.get(f"{prefix}/{space}/forward/hub_mass_percent"),
        )
        for prefix, name in vector_kinds(metrics).items()
        for space, shown in SPACES.items()
        if f"{prefix}/{space}/reciprocity_percent" in metrics
    ]


class LayerRow(NamedTuple):
    """Parallel sentences at one layer."""

    layer: int
    alignment_error_percent: float
    linear_cka: float | None  # None: not defined


def layer_rows(metrics: dict[str, float | int]) -> list[LayerRow]:
    """Word alignment and CKA of parallel sentences, by layer; empty where there are none."""
    rows, layer = [], 0
    while (error := metrics.get(f"sentences/layer_{layer}/alignment_error_percent")) is not None:
        rows.append(LayerRow(layer, error, metrics.get(f"sentences/layer_{layer}/linear_cka")))
        layer += 1
    return rows


class GradientRow(NamedTuple):
    """Cosines of gradients in one part of the model; None: one of the two losses has none there."""

    part: str  # "embeddings", "layer 1", "head"
    languages: float | None  # of the two languages' prediction loss
    alignment: float | None  # of the prediction loss and the alignment term


def gradient_rows(metrics: dict[str, float | int]) -> list[GradientRow]:
    """Cosines of gradients by part of the model, from the embeddings up."""
    first, last = "gradients/languages/", "/gradient_cosine"
    parts = [key.removeprefix(first).removesuffix(last) for key in metrics if key.startswith(first)]
    return [
        GradientRow(
            part.replace("_", " "),
            metrics[f"{first}{part}{last}"],
            metrics.get(f"gradients/alignment/{part}{last}"),
        )
        for part in parts
    ]


def curves_figure(document: dict[str, Any]) -> Figure:
    """P@1 of held-out words by checkpoint: a panel per language pair, a line per kind and space."""
    steps = document["steps"]
    names = list(steps[-1]["pairs"])
    figure = Figure(figsize=(8, 0.6 + 3.4 * len(names)), layout="constrained")
    figure.suptitle("Held-out words whose nearest word is their translation", fontweight="bold")
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(len(names), 1, place)
        tokens = [step["tokens"] / 1e6 for step in steps]
        kinds = vector_kinds(steps[-1]["pairs"][name])
        last = list(kinds)[-1]
        lines = [(p, s) for p in dict.fromkeys(("rows", last)) for s in SPACES]
        for number, (prefix, space) in enumerate(lines):
            key = f"{prefix}/{space}/held_out/{NEAREST}"
            values = [step["pairs"][name].get(key, float("nan")) for step in steps]
            (line,) = axes.plot(tokens, values, label=f"{kinds[prefix]}, {SPACES[space]}")
            line.set(linestyle=STYLES[number % 3], marker=MARKS[number // 3])
        axes.set(title=name, xlabel="tokens seen (millions)", ylabel="P@1 (%)")
        axes.set_ylim(-3, 103)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", frameon=False)
    return figure


def write_curves(document: dict[str, Any], path: Path) -> Path:
    """Write the figure as PNG; returns its path."""
    with new_file(path) as partial:
        curves_figure(document).savefig(partial, format="png", dpi=DOTS_PER_INCH)
    return path
