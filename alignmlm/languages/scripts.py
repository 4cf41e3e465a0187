"""Script changes: maps on token ids, kept as one table per language.

A new script is one function and one record: here, or in another package (storage/registry.py).
Source: Deshpande et al., 2022 (arXiv:2110.14782), section 3 (transliteration, vocabulary overlap),
and its code (permuted vocabulary).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from alignmlm.errors import ConfigError, nearest
from alignmlm.numerics.counter_rng import key, keys, smallest_share
from alignmlm.storage.registry import Registry


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The input of a script change: the base vocabulary."""

    size: int  # V, tokens of the base vocabulary
    special_ids: tuple[int, ...]  # stay the same in every script

    def ordinary(self) -> Int[np.ndarray, " ordinary"]:
        """Ids of the tokens that are not special."""
        return np.setdiff1d(np.arange(self.size), self.special_ids)


@dataclass(frozen=True, slots=True)
class Change:
    """The parameters of a script change."""

    alphabet: Alphabet
    share: float  # the percentage in its name, as a share in [0, 1]
    seed: int
    first_id: int  # start of its own block of V ids


def transliteration(change: Change) -> Int[np.ndarray, " vocab"]:
    """Every ordinary token gets a new id."""
    table = np.arange(change.alphabet.size)
    table[change.alphabet.ordinary()] += change.first_id
    return table


def overlap(change: Change) -> Int[np.ndarray, " vocab"]:
    """A drawn share of the ordinary tokens keeps its id; a larger share contains a smaller one."""
    ordinary = change.alphabet.ordinary()
    shared = smallest_share(keys(key("overlap", change.seed), ordinary), change.share)
    table = np.arange(change.alphabet.size)
    table[ordinary[~shared]] += change.first_id
    return table


def permuted_vocabulary(change: Change) -> Int[np.ndarray, " vocab"]:
    """The ordinary tokens exchange their ids: the same ids mean other words."""
    ordinary = change.alphabet.ordinary()
    drawn = keys(key("permuted vocabulary", change.seed), ordinary)
    table = np.arange(change.alphabet.size)
    table[ordinary] = ordinary[np.argsort(drawn, kind="stable")]
    return table


@dataclass(frozen=True, slots=True)
class Script:
    """One script change, whose name is a tag of at most eight letters."""

    table: Callable[[Change], Int[np.ndarray, " vocab"]]
    takes_percent: bool = False  # as in "ovl25"
    own_ids: bool = True  # whether it needs a block of V ids
    shown: str = ""  # its name in tables and figures; empty: its tag


SCRIPTS: Registry[Script] = Registry(
    "scripts",
    (Script,),
    {
        "trans": Script(transliteration, shown="transliterated"),
        "ovl": Script(overlap, takes_percent=True),  # ovl25: a quarter of the ids is shared
        "vperm": Script(permuted_vocabulary, own_ids=False, shown="ids permuted"),
    },
)


def split_name(name: str) -> tuple[str, float]:
    """The kind of a script and its share in [0, 1]: "ovl25" gives ("ovl", 0.25).

    Raises:
        ConfigError: no such script, a share outside [0, 100], or one missing or out of place.
    """
    match = re.fullmatch(r"([a-z]*)([0-9]{0,3})", name)
    kind, percent = match.groups() if match else (name, "")
    if kind not in SCRIPTS:
        raise ConfigError("script", name, f"be one of {sorted(SCRIPTS)}{nearest(kind, SCRIPTS)}")
    takes = SCRIPTS[kind].takes_percent
    padded = percent.startswith("0") and percent != "0"
    if bool(percent) != takes or padded or int(percent or 0) > 100:
        requirement = (
            f"be {kind!r}{' with a percentage, as in ' + repr(kind + '25') if takes else ''}"
        )
        raise ConfigError("script", name, requirement)
    return kind, int(percent or 0) / 100


def has_own_ids(name: str) -> bool:
    """Whether a script needs a block of V ids."""
    return bool(name) and SCRIPTS[split_name(name)[0]].own_ids


def script_table(name: str, block: int, alphabet: Alphabet, seed: int) -> Int[np.ndarray, " vocab"]:
    """Id of each base token in a script whose own tokens start at block * V."""
    if not name:
        return np.arange(alphabet.size)
    kind, share = split_name(name)
    return SCRIPTS[kind].table(Change(alphabet, share, seed, block * alphabet.size))
