"""A map of two languages' word embeddings in two dimensions, translations joined by lines."""

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox, BboxBase

from alignmlm.errors import DataError
from alignmlm.probes.principal_plane import principal_plane, unit_length
from alignmlm.reporting.escaping import csv_text
from alignmlm.reporting.figure_files import colour, save_figure
from alignmlm.reporting.fonts import fonts_for
from alignmlm.reporting.transfer_names import language_name
from alignmlm.storage.atomic import replace_text

log = logging.getLogger(__name__)

LABELLED = 30  # pairs whose words are written out, at most
TRIED = 150  # pairs that are considered for labelling, at most
PLACES = ((5, 4), (-5, 4), (5, -4), (-5, -4))  # offsets of a label, in typographic points
COLUMNS = ("number", "source", "target", "source_x", "source_y", "target_x", "target_y")


@dataclass(frozen=True, slots=True)
class PairedWords:
    """Translations with the embeddings of both words; pair i is words[i] of both sides."""

    languages: tuple[str, str]
    sources: list[str]
    targets: list[str]
    source_vectors: Float[np.ndarray, "pair hidden"]
    target_vectors: Float[np.ndarray, "pair hidden"]

    def __post_init__(self) -> None:
        sizes = {
            len(part)
            for part in (self.sources, self.targets, self.source_vectors, self.target_vectors)
        }
        if len(sizes) > 1 or min(sizes) < 2:
            raise DataError(f"a map needs at least 2 pairs, each with 2 vectors; found {sizes}")


@dataclass(frozen=True, slots=True)
class Map:
    """Points of both sides in the plane, and the share of the variance that the plane shows."""

    sources: Float[np.ndarray, "pair 2"]
    targets: Float[np.ndarray, "pair 2"]
    shown_percent: tuple[float, float]  # by axis


def word_map(words: PairedWords) -> Map:
    """Both sides, scaled to length 1, in the plane of their first two principal components."""
    both = unit_length(np.concatenate([words.source_vectors, words.target_vectors]))
    plane = principal_plane(both)
    points = plane.points(both)
    return Map(points[: len(words.sources)], points[len(words.sources) :], plane.shown_percent)


def shown_words(words: PairedWords) -> tuple[list[str], list[str]]:
    """The words; one that no font can draw is replaced by its number in the table of points.

    A target word that is written like its source is not written again.
    """
    fonts = fonts_for([*words.sources, *words.targets])
    sides = [
        [word if fonts.draws(word) else f"({number})" for number, word in enumerate(side, start=1)]
        for side in (words.sources, words.targets)
    ]
    hidden = sum(word not in (*words.sources, *words.targets) for side in sides for word in side)
    if hidden:
        log.warning("%d words are shown by their number in the table of points", hidden)
    pairs = zip(*sides, strict=True)
    return sides[0], ["" if target == source else target for source, target in pairs]


def draw_points(axes: Axes, plane: Map, languages: tuple[str, str]) -> None:
    """Filled circles for the source, open squares for the target, a line for each pair."""
    for source, target in zip(plane.sources, plane.targets, strict=True):
        axes.plot(*zip(source, target, strict=True), color="grey", linewidth=0.6, zorder=1)
    looks = (("o", colour(0), colour(0), 16), ("s", "none", colour(2), 42))
    sides = (plane.sources, plane.targets)
    for points, name, (mark, face, edge, size) in zip(sides, languages, looks, strict=True):
        axes.scatter(
            points[:, 0], points[:, 1], size, marker=mark, facecolors=face, edgecolors=edge,
            linewidths=1.1, zorder=2, label=language_name(name),
        )  # fmt: skip


def label_texts(
    axes: Axes, words: Sequence[str], points: Float[np.ndarray, "word 2"], families: list[str]
) -> list[Annotation]:
    """The words at their points, in white-edged letters, not yet placed."""
    return [
        axes.annotate(
            word, (float(point[0]), float(point[1])), xytext=(0, 0), textcoords="offset points",
            fontsize=8, fontfamily=families, zorder=3, in_layout=False,
            parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
        for word, point in zip(words, points, strict=True)
    ]  # fmt: skip


def free_box(
    text: Annotation, room: BboxBase, taken: list[BboxBase], renderer: RendererAgg
) -> BboxBase | None:
    """The box of a label at the first of four places where it hides nothing; None without one."""
    for x, y in PLACES:
        text.set(position=(x, y), ha="left" if x > 0 else "right", va="bottom" if y > 0 else "top")
        box = text.get_window_extent(renderer).padded(1)
        inside = room.x0 <= box.x0 and box.x1 <= room.x1 and room.y0 <= box.y0 and box.y1 <= room.y1
        if inside and not any(box.overlaps(other) for other in taken):
            return box
    return None


def lay_labels(
    figure: Figure, pairs: list[tuple[Annotation, Annotation]], plane: Map, most: int
) -> int:
    """Label the first pairs whose words hide neither words nor points; returns how many."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    axes = figure.axes[0]
    room = axes.get_window_extent(renderer)
    points = axes.transData.transform(np.concatenate([plane.sources, plane.targets]))
    taken: list[BboxBase] = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in points.tolist()]
    labelled = 0
    for first, second in pairs:
        one = free_box(first, room, taken, renderer) if labelled < most else None
        two = one
        if one is not None and second.get_text():
            two = free_box(second, room, [*taken, one], renderer)
        if one is not None and two is not None:
            taken += [one, two]
            labelled += 1
        else:
            first.set_visible(False)
            second.set_visible(False)
    return labelled


def map_figure(words: PairedWords, plane: Map, labelled: int = LABELLED) -> Figure:
    """The map; words of at most `labelled` pairs are written out, the first ones first."""
    figure = Figure(figsize=(7.5, 6.6), layout="constrained")
    axes = figure.subplots()
    draw_points(axes, plane, words.languages)
    percents = [f"{share:.0f} % of the variance" for share in plane.shown_percent]
    axes.set(xlabel=f"component 1 ({percents[0]})", ylabel=f"component 2 ({percents[1]})")
    axes.margins(0.12)
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[["top", "right"]].set_visible(False)
    title = f"Word embeddings: {len(words.sources):,} pairs, lines join translations"
    axes.set_title(title, fontsize="medium")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    families = fonts_for([*words.sources, *words.targets]).families
    sides = [
        label_texts(axes, side[:TRIED], points[:TRIED], families)
        for side, points in zip(shown_words(words), (plane.sources, plane.targets), strict=True)
    ]
    lay_labels(figure, list(zip(*sides, strict=True)), plane, labelled)
    return figure


def points_csv(words: PairedWords, plane: Map) -> str:
    """Every pair with its number, its words and its points, as CSV."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    pairs = zip(words.sources, words.targets, plane.sources, plane.targets, strict=True)
    for number, (source, target, one, two) in enumerate(pairs, start=1):
        words_of_pair = map(csv_text, (source, target))
        writer.writerow([number, *words_of_pair, *(f"{x:.6f}" for x in (*one, *two))])
    return file.getvalue()


def write_map(words: PairedWords, folder: Path, name: str = "embedding_map") -> list[Path]:
    """Write the map as PNG and SVG, and its points as CSV; returns the paths."""
    plane = word_map(words)
    paths = save_figure(map_figure(words, plane), folder, name)
    table = folder / f"{name}.csv"
    replace_text(table, points_csv(words, plane))
    return [*paths, table]
