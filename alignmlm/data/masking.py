"""Which tokens to predict, and what the model sees in their place: hashes of row and position."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, UInt64

from alignmlm.draws import below, key, keys, uniform
from alignmlm.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskConfig:
    """Corruption of input tokens. Source: Devlin et al., 2019 (BERT), section 3.1."""

    rate: float = 0.15  # share of ordinary tokens to predict
    random: float = 0.10  # share of those replaced by a random token of their language
    keep: float = 0.10  # share of those left unchanged; the others become <mask>

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ConfigError("mask.rate", self.rate, "lie strictly between 0 and 1")
        if min(self.random, self.keep) < 0 or self.random + self.keep > 1:
            found = (self.random, self.keep)
            raise ConfigError("mask.random, mask.keep", found, "be shares that sum to 1 at most")


@dataclass(frozen=True, kw_only=True, slots=True)
class Corruption:
    """What an objective asks of the rows beyond masking."""

    translation_rows: float = 0.0  # share of rows that show sentences and their translation
    dictionary: float = 0.0  # share of masked dictionary tokens that cross languages
    predict: Literal["original", "translation"] = "original"  # label of those tokens


class Term(IntEnum):
    """Which part of the loss a masked position belongs to."""

    MLM = 0
    TLM = 1
    DICT = 2


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Token tables that corruption looks up."""

    special: Bool[np.ndarray, " model_vocab"]
    mask_id: int
    ordinary: Int[np.ndarray, " ordinary"]  # base ids to draw replacements from
    tables: Int[np.ndarray, "language vocab"]  # base id -> id, by language
    translations: Int[np.ndarray, "language language model_vocab"]  # -1: not in the dictionary


@dataclass(frozen=True, slots=True)
class Masked:
    """Rows after corruption."""

    inputs: Int[np.ndarray, "row seq"]
    labels: Int[np.ndarray, "row seq"]
    languages: Int[np.ndarray, "row seq"]  # as the model is told
    chosen: Bool[np.ndarray, "row seq"]  # positions to predict
    crossed: Bool[np.ndarray, "row seq"]  # those that took the dictionary's path


def draw(
    purpose: str, row_keys: UInt64[np.ndarray, " row"], shape: tuple[int, int]
) -> UInt64[np.ndarray, "row seq"]:
    """A hash for every position of every row, for one purpose."""
    parents = keys(key(purpose), row_keys.view(np.int64))
    return keys(parents[:, None], np.arange(shape[1])[None])


def mask_rows(
    ids: Int[np.ndarray, "row seq"],
    languages: Int[np.ndarray, "row seq"],
    row_keys: UInt64[np.ndarray, " row"],
    lexicon: Lexicon,
    config: MaskConfig,
) -> Masked:
    """Rows with a share of their ordinary tokens masked, replaced, or kept to be predicted."""
    chosen = ~lexicon.special[ids] & (uniform(draw("mask", row_keys, ids.shape)) < config.rate)
    fate = uniform(draw("fate", row_keys, ids.shape))
    drawn = below(draw("replace", row_keys, ids.shape), len(lexicon.ordinary))
    random = lexicon.tables[languages, lexicon.ordinary[drawn]]
    changed = np.where(fate < config.random, random, lexicon.mask_id)
    kept = fate >= 1 - config.keep
    inputs = np.where(chosen & ~kept, changed, ids)
    return Masked(inputs, ids, languages, chosen, np.zeros_like(chosen))


def cross_languages(
    masked: Masked,
    row_keys: UInt64[np.ndarray, " row"],
    lexicon: Lexicon,
    corruption: Corruption,
) -> Masked:
    """Some masked dictionary tokens taken over to another language, told by its embedding.

    "original": the input is the translation, the label stays. Source: princeton-nlp/align-mlm.
    "translation": the input is <mask>, the label is the translation.
    Source: Chaudhary et al., 2020 (arXiv:2010.12566), DICT-MLM.
    """
    shape, count = masked.inputs.shape, len(lexicon.tables)
    step = 1 + below(draw("partner", row_keys, shape), max(count - 1, 1))
    other = (masked.languages + step) % count
    partner = lexicon.translations[masked.languages, other, masked.labels]
    taken = uniform(draw("cross", row_keys, shape)) < corruption.dictionary
    crossed = masked.chosen & (partner >= 0) & taken
    languages = np.where(crossed, other, masked.languages)
    if corruption.predict == "original":
        inputs = np.where(crossed, partner, masked.inputs)
        return Masked(inputs, masked.labels, languages, masked.chosen, crossed)
    inputs = np.where(crossed, lexicon.mask_id, masked.inputs)
    labels = np.where(crossed, partner, masked.labels)
    return Masked(inputs, labels, languages, masked.chosen, crossed)
