"""Which tokens to predict and what replaces them, both decided by hashes of row and position.

The specification in NumPy is alignmlm.data.reference; tests check that both agree bit for bit.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int32

from alignmlm.data.rendering import bounded, child, is_below
from alignmlm.data.settings import MaskConfig
from alignmlm.numerics.counter_rng import key, threshold
from alignmlm.numerics.numba_jit import bare, compiled


@dataclass(frozen=True, kw_only=True, slots=True)
class Corruption:
    """Corruption that an objective needs beyond masking."""

    translation_rows: float = 0.0  # share of rows that show sentences and their translation
    dictionary: float = 0.0  # share of masked dictionary tokens that cross languages
    predict: Literal["original", "translation"] = "original"  # label of those tokens
    code_switch: float = 0.0  # share of the other dictionary tokens that are shown translated

    @property
    def translates(self) -> bool:
        """Whether single tokens are translated."""
        return self.dictionary > 0 or self.code_switch > 0


class LossTerm(IntEnum):
    """Which part of the loss a masked position belongs to."""

    MLM = 0
    TLM = 1
    DICT = 2


@dataclass(frozen=True, slots=True)
class CorruptionTables:
    """Token tables that corruption looks up."""

    special: Bool[np.ndarray, " model_vocab"]
    mask_id: int
    ordinary: Int[np.ndarray, " ordinary"]  # base ids to draw replacements from
    tables: Int[np.ndarray, "language vocab"]  # base id -> id, by language
    translations: Int[np.ndarray, "language language model_vocab"]  # -1: not in the dictionary


class MaskingTables(NamedTuple):
    """What the compiled code needs to corrupt rows; shares are given as thresholds on hashes."""

    special: Bool[np.ndarray, " model_vocab"]
    ordinary: Int32[np.ndarray, " ordinary"]
    tables: Int32[np.ndarray, "language vocab"]
    translations: Int32[np.ndarray, "language language model_vocab"]
    mask_id: int
    chosen: np.uint64  # a position is chosen where its hash is below this
    random: np.uint64  # a chosen one becomes a random token where its fate is below this
    kept: np.uint64  # and stays as it is where its fate is not below this
    crossed: np.uint64  # and crosses languages below this, if the dictionary has its token
    to_translation: bool  # whether a crossed token's label is the translation
    switched: np.uint64  # a dictionary token that is not chosen is shown translated below this
    purposes: tuple[np.uint64, ...]


class MaskPhase(NamedTuple):
    """A phase of the run with one masking rate."""

    first: int  # number of its first sample
    rate: float
    masks: MaskingTables


def masks_of(
    lexicon: CorruptionTables, config: MaskConfig, corruption: Corruption, batch_rows: int
) -> list[MaskPhase]:
    """Settings and tables as the compiled code takes them, for each phase of the run."""
    shares = (config.rate, config.random, 1 - config.keep, corruption.dictionary)
    names = ("mask", "fate", "replace", "partner", "cross", "switch")
    chosen, random, unchanged, crossed = (np.uint64(threshold(share)) for share in shares)
    masks = MaskingTables(
        lexicon.special,
        lexicon.ordinary.astype(np.int32),
        lexicon.tables.astype(np.int32),
        lexicon.translations.astype(np.int32),
        lexicon.mask_id,
        chosen,
        random,
        unchanged,
        crossed,
        corruption.predict == "translation",
        np.uint64(threshold(corruption.code_switch)),
        tuple(np.uint64(key(name)) for name in names),
    )
    phases = [MaskPhase(0, config.rate, masks)]
    for change in config.rate_changes:
        changed = masks._replace(chosen=np.uint64(threshold(change.rate)))
        phases.append(MaskPhase(change.step * batch_rows, change.rate, changed))
    return phases


def phase_at(phases: list[MaskPhase], sample: int, training: bool) -> MaskPhase:
    """The phase of the run that a sample is in; validation always uses the first."""
    begun = [phase for phase in phases if phase.first <= sample]
    return begun[-1] if training else phases[0]


class Masked(NamedTuple):
    """The masked positions of some rows, in order."""

    places: Int[np.ndarray, " masked"]  # in the flattened rows
    labels: Int[np.ndarray, " masked"]
    languages: Int[np.ndarray, " masked"]  # of the row's text
    terms: Int[np.ndarray, " masked"]


def empty_masked(positions: int) -> Masked:
    """Uninitialised arrays for that many masked positions."""
    return Masked(*(np.empty(positions, np.int64) for _ in Masked._fields))


@bare
def choose(parent, length, masks, below, drawn):
    """Write the positions of a row that are drawn to be predicted; returns their number."""
    for at in range(length):
        below[at] = is_below(child(parent, at), masks.chosen)
    hits = 0
    for at in range(length):
        drawn[hits] = at
        hits += below[at]
    return hits


@bare
def partner_of(token, language, at, partners, masks):
    """Another language, drawn for this position, and the token's translation there or -1."""
    languages = len(masks.tables)
    step = 1 + bounded(child(partners, at), max(languages - 1, 1))
    other = (language + step) % languages
    return other, masks.translations[language, other, token]


@bare
def mask_row(rows, row, row_key, masks, translate, below, drawn, out, count):
    """Mask one row in place; returns the number of positions in `out`, which had `count` before."""
    hits = choose(child(masks.purposes[0], row_key), rows.lengths[row], masks, below, drawn)
    fates, replacements = child(masks.purposes[1], row_key), child(masks.purposes[2], row_key)
    partners, crossings = child(masks.purposes[3], row_key), child(masks.purposes[4], row_key)
    term = LossTerm.TLM.value if rows.halves[row] == 2 else LossTerm.MLM.value
    seq_len = rows.ids.shape[1]
    for hit in range(hits):
        at = drawn[hit]
        label, language = rows.ids[row, at], rows.languages[row, at]
        if masks.special[label]:
            continue
        out.places[count] = row * seq_len + at
        out.labels[count], out.languages[count], out.terms[count] = label, language, term
        fate = child(fates, at)
        if is_below(fate, masks.kept):
            rows.ids[row, at] = masks.mask_id
            if is_below(fate, masks.random):
                place = bounded(child(replacements, at), len(masks.ordinary))
                rows.ids[row, at] = masks.tables[language, masks.ordinary[place]]
        if translate:
            other, partner = partner_of(label, language, at, partners, masks)
            if partner >= 0 and is_below(child(crossings, at), masks.crossed):
                rows.ids[row, at] = masks.mask_id if masks.to_translation else partner
                out.labels[count] = partner if masks.to_translation else label
                out.terms[count] = LossTerm.DICT.value
                rows.languages[row, at] = other
        count += 1
    if translate:
        switches = child(masks.purposes[5], row_key)
        for at in range(rows.lengths[row]):
            if not below[at] and is_below(child(switches, at), masks.switched):
                token, language = rows.ids[row, at], rows.languages[row, at]
                other, partner = partner_of(token, language, at, partners, masks)
                if partner >= 0:
                    rows.ids[row, at], rows.languages[row, at] = partner, other
    return count


@bare
def mask_each(rows, row_keys, masks, translate, below, drawn, out):
    """Mask rows in place, with scratch space for one row; returns what mask_rows returns."""
    count = np.int64(0)  # a plain 0 would make numba compile mask_row again, for a literal
    for row in range(len(row_keys)):
        count = mask_row(rows, row, row_keys[row], masks, translate, below, drawn, out, count)
    return count


@compiled
def mask_rows(rows, row_keys, masks, translate, out):
    """Mask rows in place; returns the number of masked positions written to `out`.

    translate says whether dictionary tokens may cross to another language.
    """
    seq_len = rows.ids.shape[1]
    below, drawn = np.empty(seq_len, np.uint8), np.empty(seq_len + 1, np.int64)
    return mask_each(rows, row_keys, masks, translate, below, drawn, out)
