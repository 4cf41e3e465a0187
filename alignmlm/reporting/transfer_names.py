"""What objectives, tasks and languages are called in tables and figures."""

from alignmlm.errors import AlignMLMError
from alignmlm.evaluation.scores.upstream import LANGUAGES, OBJECTIVES
from alignmlm.languages.language import Language, parse_language
from alignmlm.languages.orders import ORDERS, split_order
from alignmlm.languages.scripts import SCRIPTS, split_name

SHOWN = {"mlm": "MLM", "tlm": "TLM", "dict_mlm": "DICT-MLM", "align_mlm": "ALIGN-MLM"}
MEASURES = {"source": "source", "bs": "BS", "bz": "BZ", "delta": "Delta"}
UNITS = {"source": "percent", "bs": "percent", "bz": "percent", "delta": "percentage points"}


def objective_name(objective: str) -> str:
    """The name of an objective as in the literature; an unknown one is called as it is."""
    return SHOWN.get(objective, objective)


def task_name(task: str) -> str:
    """A task's name, with spaces: "EWT POS" of "ewt_pos"."""
    return task.replace("_", " ").upper() if task.isascii() else task


def order_name(order: str) -> str:
    """A change of order in words: "syntax fra" for "syn-fra"."""
    if order.startswith("syn-"):
        return f"syntax {order.removeprefix('syn-')}"
    kind, number = split_order(order)
    shown = ORDERS[kind].shown
    return " ".join(filter(None, (shown, str(number or "")))) if shown else order


def changes_of(language: Language) -> list[str]:
    """The changes that made a language, in words."""
    replaced = f"{language.replaced_percent} % replaced" if language.replaced_percent else ""
    kind = split_name(language.script)[0] if language.script else ""
    script = (SCRIPTS[kind].shown if kind else "") or language.script
    order = order_name(language.order) if language.order else ""
    return [change for change in (script, order, replaced) if change]


def language_name(name: str) -> str:
    """A language in words: "eng, transliterated + inverted" of "eng-Latn-x-inv-trans"."""
    try:
        language = parse_language(name)
    except AlignMLMError:
        return name
    base = language.base.split("-")[0]
    return ", ".join([base, *([" + ".join(changes)] if (changes := changes_of(language)) else [])])


def paper_method(objective: str) -> str:
    """An objective as the paper's table names it."""
    return {ours: theirs for theirs, ours in OBJECTIVES.items()}.get(objective, objective)


def paper_change(name: str) -> str:
    """A language as the paper's table names it, where it has it; else its id."""
    return {ours: theirs for theirs, ours in LANGUAGES.items()}.get(name, name)
