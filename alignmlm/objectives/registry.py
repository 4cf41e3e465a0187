"""All objectives: what predicts, and what may be put on top of it."""

from collections.abc import Callable

from alignmlm.objectives.align_mlm import align_mlm
from alignmlm.objectives.dict_mlm import DICT_MLM
from alignmlm.objectives.mlm import MLM
from alignmlm.objectives.objective import Objective, ObjectiveConfig
from alignmlm.objectives.tlm import TLM
from alignmlm.objectives.unified_output import unified_output

PREDICTION = {"mlm": MLM, "tlm": TLM, "dict_mlm": DICT_MLM}
ON_BASE: dict[str, Callable[[Objective], Objective]] = {"align_mlm": align_mlm}


def objective_of(config: ObjectiveConfig) -> Objective:
    """The objective of a recipe: a prediction, over separate or unified labels, and terms on it."""
    objective = PREDICTION[config.rows]
    if config.output == "unified":
        objective = unified_output(objective)
    return ON_BASE[config.name](objective) if config.name in ON_BASE else objective
