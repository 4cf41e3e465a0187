"""Script changes: maps on token ids, kept as one table a language.

A new script is one function here and one line in SCRIPTS. Source: Deshpande et al., 2022
(arXiv:2110.14782), section 3 (transliteration, vocabulary overlap).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from alignmlm.draws import key, keys, smallest_share
from alignmlm.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What a script change may look at: the base vocabulary."""

    size: int  # V, tokens of the base vocabulary
    special_ids: tuple[int, ...]  # stay the same in every script

    def ordinary(self) -> Int[np.ndarray, " ordinary"]:
        """Ids of the tokens that are not special."""
        return np.setdiff1d(np.arange(self.size), self.special_ids)


def transliteration(alphabet: Alphabet, share: float, seed: int) -> Bool[np.ndarray, " vocab"]:
    """Every ordinary token gets a new id."""
    return ~np.isin(np.arange(alphabet.size), alphabet.special_ids)


def overlap(alphabet: Alphabet, share: float, seed: int) -> Bool[np.ndarray, " vocab"]:
    """A drawn share of the ordinary tokens keeps its id; a larger share contains a smaller one."""
    ordinary = alphabet.ordinary()
    shifted = np.zeros(alphabet.size, bool)
    shifted[ordinary] = ~smallest_share(keys(key("overlap", seed), ordinary), share)
    return shifted


SCRIPTS: dict[str, Callable[[Alphabet, float, int], Bool[np.ndarray, " vocab"]]] = {
    "trans": transliteration,
    "ovl": overlap,  # ovl25: a quarter of the ids is shared
}


def split_name(name: str) -> tuple[str, float]:
    """The kind of a script and its share in [0, 1]: "ovl25" gives ("ovl", 0.25).

    Raises:
        ConfigError: no such script, a share outside [0, 100], or one missing or out of place.
    """
    found = re.fullmatch(r"([a-z]*)(\d*)", name)
    kind, percent = found.groups() if found else (name, "")
    if kind not in SCRIPTS:
        raise ConfigError("script", name, f"be one of {sorted(SCRIPTS)}{nearest(kind, SCRIPTS)}")
    if bool(percent) != (kind == "ovl") or int(percent or 0) > 100:
        raise ConfigError("script", name, "be 'trans', or 'ovl' with a percentage, as in 'ovl25'")
    return kind, int(percent or 0) / 100


def script_table(name: str, block: int, alphabet: Alphabet, seed: int) -> Int[np.ndarray, " vocab"]:
    """Id of each base token in a script whose own tokens start at block * V."""
    table = np.arange(alphabet.size)
    if name:
        kind, share = split_name(name)
        table = table + block * alphabet.size * SCRIPTS[kind](alphabet, share, seed)
    return table
