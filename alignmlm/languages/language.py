"""A language: a base language, an order of its words, a share of random words, and a script."""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from alignmlm.errors import ConfigError, quoted
from alignmlm.languages.orders import ORDERS, SYNTAX, split_order
from alignmlm.languages.scripts import SCRIPTS, Alphabet, has_own_ids, script_table, split_name
from alignmlm.languages.settings import BASE

REPLACEMENT = re.compile(r"rep(\d{1,3})")


@dataclass(frozen=True, slots=True)
class Language:
    """One language; a natural one has no order, no random words and no script."""

    base: str  # "eng-Latn": ISO 639 language and ISO 15924 script of the corpus
    order: str = ""  # "inv", "perm", "noise3", "syn-fra", ...
    script: str = ""  # "trans", "ovl25", "vperm"
    replaced_percent: int = 0  # percentage of words replaced by random ones

    def __post_init__(self) -> None:
        if not BASE.fullmatch(self.base):
            raise ConfigError("language", self.base, "start with language and script: 'eng-Latn'")
        if self.order:
            split_order(self.order)
        if self.script:
            split_name(self.script)
        if not 0 <= self.replaced_percent <= 100:
            requirement = "be 'rep' with a percentage, as in 'rep20'"
            raise ConfigError("random words", f"rep{self.replaced_percent}", requirement)

    def __str__(self) -> str:
        replaced = f"rep{self.replaced_percent}" if self.replaced_percent else ""
        changes = [change for change in (self.order, replaced, self.script) if change]
        return "-".join([self.base, *(["x", *changes] if changes else [])])

    @property
    def derived(self) -> bool:
        """Whether the language is derived from a natural one by a change."""
        return bool(self.order or self.script or self.replaced_percent)


def parse_language(name: str) -> Language:
    """The language of an id such as "eng-Latn-x-inv-trans".

    Raises:
        ConfigError: the id has another form or spelling, or names an unknown change.
    """
    base, *changed = name.split("-x-", maxsplit=1)
    match = SYNTAX.match(changed[0]) if changed else None
    syntax = match.group() if match else ""
    others = [rest.removeprefix(syntax) for rest in changed if not rest or rest != syntax]
    parts = others[0].removeprefix("-").split("-") if others else []
    kinds = [kind_of(part, name) for part in parts]
    if kinds != sorted(set(kinds)) or (syntax and 0 in kinds):
        requirement = "name at most one order, then random words (rep20), then at most one script"
        raise ConfigError("language", name, requirement)
    by_kind = dict(zip(kinds, parts, strict=True))
    replaced = int(by_kind.get(1, "rep0").removeprefix("rep"))
    language = Language(base, syntax or by_kind.get(0, ""), by_kind.get(2, ""), replaced)
    if str(language) != name:  # rep0 or rep05
        raise ConfigError("language", name, f"be written {str(language)!r}")
    return language


def base_of(language: str) -> str:
    """The natural language of an id, or the one it is derived from."""
    return parse_language(language).base


def kind_of(part: str, name: str) -> int:
    """0 for an order, 1 for random words, 2 for a script.

    Raises:
        ConfigError: it is none of them.
    """
    stem = part.rstrip("0123456789")
    if REPLACEMENT.fullmatch(part):
        return 1
    for known_orders, known_scripts in ((ORDERS.built_in, SCRIPTS.built_in), (ORDERS, SCRIPTS)):
        if stem in known_orders and stem != "syn":
            return 0
        if stem in known_scripts:
            return 2
    places = {tag: "<places>" for tag in ORDERS.names.built_in if ORDERS[tag].takes_number}
    shares = {tag: "<percent>" for tag in SCRIPTS.names.built_in if SCRIPTS[tag].takes_percent}
    orders = ", ".join(tag + places.get(tag, "") for tag in ORDERS if tag != "syn")
    scripts = ", ".join(tag + shares.get(tag, "") for tag in SCRIPTS)
    allowed = (
        f"use orders ({orders}, syn-<language>, syn-<language>-N-<language>-V), "
        f"random words (rep<percent>) and scripts ({scripts})"
    )
    raise ConfigError(f"change {quoted(part)} in language", name, allowed)


@dataclass(frozen=True, slots=True)
class Scripts:
    """Where each language's tokens are in the vocabulary of one model."""

    tables: Int[np.ndarray, "language vocab"]  # id of each base token in each language
    vocabulary_size: int  # V times (1 + number of scripts with ids of their own)


def lay_out_scripts(languages: list[Language], alphabet: Alphabet, seed: int) -> Scripts:
    """One block of V ids for the base script and one for each changed script, in order."""
    own = [language.script for language in languages if has_own_ids(language.script)]
    names = list(dict.fromkeys(own))
    tables = [
        script_table(
            lang.script, 1 + names.index(lang.script) if lang.script in names else 0, alphabet, seed
        )
        for lang in languages
    ]
    return Scripts(np.stack(tables), alphabet.size * (1 + len(names)))
