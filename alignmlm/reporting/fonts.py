"""Fonts for figures in any script: which families a text needs, and what no font can draw.

matplotlib 3.11 and later shape text themselves (joined Arabic letters, Devanagari conjuncts) and
put right-to-left text in its order. Their own font, DejaVu Sans, has Latin, Greek, Cyrillic and
Arabic, but no Devanagari; other fonts are those of the machine and of installed font packages
(entry points "fontpkg.family", as of fontpkg-noto-sans-devanagari).
"""

import logging
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

log = logging.getLogger(__name__)

FIRST = "DejaVu Sans"  # comes with matplotlib
PACKAGES = "fontpkg.family"
NORMAL = ("400", "normal", "regular", "book")
PLACEHOLDERS = "Last Resort"  # comes with matplotlib; a box for every character
HINT = "install a font that has them, as in: pip install fontpkg-noto-sans-devanagari"


@dataclass(frozen=True, slots=True)
class Fonts:
    """Families to draw some texts with, in order, and the characters that none of them has."""

    families: list[str]
    missing: frozenset[str]

    def draws(self, text: str) -> bool:
        """Whether every character of a text can be drawn."""
        return not self.missing & frozenset(text)


@cache
def package_fonts() -> tuple[Path, ...]:
    """Font files of installed font packages; one that cannot be read is left out with a warning."""
    files: list[Path] = []
    for entry in sorted(entry_points(group=PACKAGES), key=lambda entry: entry.name):
        try:
            folder = Path(entry.load().ROOT)
        except (ImportError, AttributeError) as error:
            log.warning("fonts of %s are left out: %r", entry.value, error)
            continue
        files += sorted(path for path in folder.rglob("*") if path.suffix in (".ttf", ".otf"))
    return tuple(files)


@cache
def characters_of(file: str) -> frozenset[int]:
    """Code points that a font file has a glyph for."""
    return frozenset(FT2Font(file).get_charmap())


@cache
def font_files() -> dict[str, str]:
    """One upright file of normal weight for each family, those of packages first."""
    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    packaged = [str(path) for path in package_fonts()]
    for path in packaged:
        if path not in known:
            manager.addfont(path)
    upright = [
        entry
        for entry in manager.ttflist
        if entry.style == "normal"
        and str(entry.weight) in NORMAL
        and not entry.name.startswith(PLACEHOLDERS)
    ]
    upright.sort(key=lambda entry: (entry.fname not in packaged, entry.name, entry.fname))
    files: dict[str, str] = {}
    for entry in upright:
        files.setdefault(entry.name, entry.fname)
    return files


def scripts_of(characters: Iterable[str]) -> list[str]:
    """The first words of the characters' Unicode names: "DEVANAGARI", "ARABIC"."""
    return sorted({unicodedata.name(character, "UNNAMED").split()[0] for character in characters})


def needed(texts: Iterable[str]) -> set[str]:
    """The characters of some texts that need a glyph: no spaces, controls or format characters."""
    every = set().union(*texts)
    return {c for c in every if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")}


def fonts_for(texts: Iterable[str]) -> Fonts:
    """Families that draw the texts; what none has is logged as a warning."""
    files = font_files()
    families, missing = [FIRST], needed(texts)
    missing -= {c for c in missing if ord(c) in characters_of(files[FIRST])}
    for family, file in files.items():
        covered = {c for c in missing if ord(c) in characters_of(file)}
        if covered:
            families.append(family)
            missing -= covered
    if missing:
        log.warning("NO FONT for %s characters: %s", " and ".join(scripts_of(missing)), HINT)
    return Fonts(families, frozenset(missing))
