"""The objective of a recipe: a prediction objective, and any loss that is added to it."""

from dataclasses import replace

from alignmlm.data.masking import Corruption
from alignmlm.errors import ConfigError
from alignmlm.objectives.objective import AddedLoss, Objective, ObjectiveConfig
from alignmlm.objectives.settings import OBJECTIVES
from alignmlm.objectives.unified_output import unified_output


def objective_of(config: ObjectiveConfig) -> Objective:
    """The objective of a recipe: a prediction over separate or unified labels, plus added losses.

    Raises:
        ConfigError: objective.base is no prediction objective.
    """
    asked = OBJECTIVES[config.name]
    prediction = OBJECTIVES[config.base] if isinstance(asked, AddedLoss) else asked
    if isinstance(prediction, AddedLoss):
        raise ConfigError("objective.base", config.base, "be a prediction objective")
    if config.output == "unified":
        prediction = unified_output(prediction)
    return asked.put_on(prediction) if isinstance(asked, AddedLoss) else prediction


def corruption_of(config: ObjectiveConfig) -> Corruption:
    """How the rows of a recipe are corrupted."""
    return replace(objective_of(config).corruption(config), code_switch=config.code_switch)
