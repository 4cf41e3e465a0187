"""Figures as PNG and SVG, with fonts for every script in them; the same bytes for the same data."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from alignmlm.reporting.fonts import Fonts, fonts_for
from alignmlm.storage.atomic import new_file

DOTS_PER_INCH = 150
FORMATS = ("png", "svg")
# grey levels far apart, and patterns, marks and lines: all differ in black and white too
COLOURS = ("#26355d", "#5573b0", "#dd9a5c", "#f1e3bf")
PATTERNS = ("", "///", "...", "xxx")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


def colour(place: int) -> str:
    """One of four colours, in turn."""
    return COLOURS[place % len(COLOURS)]


def pattern(place: int) -> str:
    """One of four patterns, in turn; denser on each round."""
    return PATTERNS[place % len(PATTERNS)] * (1 + place // len(PATTERNS))


def texts_of(figure: Figure) -> list[str]:
    """Every text in a figure."""
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def settings(fonts: Fonts) -> dict[str, object]:
    """What figures are drawn with: the fonts, and a fixed salt so that SVG ids are reproducible."""
    return {"font.family": fonts.families, "svg.hashsalt": "alignmlm", "svg.fonttype": "path"}


def set_fonts(figure: Figure) -> Fonts:
    """Set the fonts of all texts in a figure; returns the fonts."""
    fonts = fonts_for(texts_of(figure))
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_fontfamily(fonts.families)
            text.set_parse_math(False)  # a name may hold dollar signs
    return fonts


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write <name>.png and <name>.svg in the folder, each atomically; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with rc_context(settings(set_fonts(figure))):  # type: ignore[arg-type]
        for kind in FORMATS:
            metadata = {"Date": None} if kind == "svg" else None
            paths.append(folder / f"{name}.{kind}")
            with new_file(paths[-1]) as partial:
                figure.savefig(partial, format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return paths
