"""All objectives: what predicts, and what adds a loss to it."""

from alignmlm.errors import ConfigError
from alignmlm.objectives.align_mlm import ALIGN_MLM
from alignmlm.objectives.dict_mlm import DICT_MLM
from alignmlm.objectives.mlm import MLM
from alignmlm.objectives.objective import Objective, ObjectiveConfig, Term
from alignmlm.objectives.tlm import TLM
from alignmlm.objectives.unified_output import unified_output
from alignmlm.registry import Registry

OBJECTIVES: Registry[Objective | Term] = Registry(
    "objectives",
    (Objective, Term),
    {"mlm": MLM, "tlm": TLM, "dict_mlm": DICT_MLM, "align_mlm": ALIGN_MLM},
)


def objective_of(config: ObjectiveConfig) -> Objective:
    """The objective of a recipe: a prediction, over separate or unified labels, and terms on it.

    Raises:
        ConfigError: objective.base is no prediction objective.
    """
    asked = OBJECTIVES[config.name]
    prediction = OBJECTIVES[config.base] if isinstance(asked, Term) else asked
    if isinstance(prediction, Term):
        raise ConfigError("objective.base", config.base, "be a prediction objective")
    if config.output == "unified":
        prediction = unified_output(prediction)
    return asked.put_on(prediction) if isinstance(asked, Term) else prediction
