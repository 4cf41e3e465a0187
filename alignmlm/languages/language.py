"""A language: a base language, an order of its words, and a script."""

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from alignmlm.errors import ConfigError
from alignmlm.languages.orders import ORDERS, check_order
from alignmlm.languages.scripts import SCRIPTS, Alphabet, script_table, split_name

BASE = re.compile(r"[a-z]{2,3}-[A-Z][a-z]{3}")


@dataclass(frozen=True, slots=True)
class Language:
    """One language; a natural one has no order and no script."""

    base: str  # "eng-Latn": ISO 639 language and ISO 15924 script of the corpus
    order: str = ""  # a key of ORDERS
    script: str = ""  # "trans", "ovl25", ...

    def __post_init__(self) -> None:
        if not BASE.fullmatch(self.base):
            raise ConfigError("language", self.base, "start with language and script: 'eng-Latn'")
        check_order(self.order)
        if self.script:
            split_name(self.script)

    def __str__(self) -> str:
        changes = [change for change in (self.order, self.script) if change]
        return "-".join([self.base, *(["x", *changes] if changes else [])])

    @property
    def derived(self) -> bool:
        """Whether the language was made from another by a change."""
        return bool(self.order or self.script)


def parse_language(name: str) -> Language:
    """The language of an id such as "eng-Latn-x-inv-trans".

    Raises:
        ConfigError: the id has another form, or names an unknown change.
    """
    base, *changed = name.split("-x-", maxsplit=1)
    parts = changed[0].split("-") if changed else []
    orders = [part for part in parts if part in ORDERS]
    scripts = [part for part in parts if part.rstrip("0123456789") in SCRIPTS]
    if unknown := [part for part in parts if part not in orders and part not in scripts]:
        scripts_known = ", ".join(SCRIPTS).replace("ovl", "ovl<percent>")
        allowed = f"use orders ({', '.join(ORDERS)}) and scripts ({scripts_known})"
        raise ConfigError(f"change {unknown[0]!r} in language", name, allowed)
    if len(orders) > 1 or len(scripts) > 1 or orders + scripts != parts:
        raise ConfigError("language", name, "name at most one order, then at most one script")
    return Language(base, "".join(orders), "".join(scripts))


@dataclass(frozen=True, slots=True)
class Scripts:
    """Where each language's tokens lie in the vocabulary of one model."""

    tables: Int[np.ndarray, "language vocab"]  # id of each base token in each language
    vocabulary_size: int  # V times (1 + number of changed scripts)


def lay_out_scripts(languages: list[Language], alphabet: Alphabet, seed: int) -> Scripts:
    """One block of V ids for the base script and one for each changed script, in order."""
    names = list(dict.fromkeys(language.script for language in languages if language.script))
    tables = [
        script_table(
            lang.script, 1 + names.index(lang.script) if lang.script else 0, alphabet, seed
        )
        for lang in languages
    ]
    return Scripts(np.stack(tables), alphabet.size * (1 + len(names)))
