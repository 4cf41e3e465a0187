"""A study: every combination of objectives, settings and seeds is a run, measured the same way."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from alignmlm.artifacts.names import CURVES, DESCRIPTION, EXPORT, SUMMARY
from alignmlm.errors import ConfigError, nearest
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.objectives.settings import OBJECTIVES
from alignmlm.pretraining.recipe import Recipe
from alignmlm.shipped import shipped_file
from alignmlm.storage.plain_data import read_layered_yaml, read_yaml
from alignmlm.storage.typed_settings import FolderPath, build, check, nested, setting_hints

OWN = ("objective.name", "model.seed", "train.seed", "run.name", "run.dir")  # set by the study
SEED = "seed"  # in a rule of exclude
Settings = dict[str, Any]  # by dotted name


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyConfig:
    """A matrix of runs and how each is measured."""

    name: str
    """Name of the study, also in the names of its runs."""
    folder: FolderPath
    """Folder of the runs and of study.json."""
    objectives: list[str] = field(default_factory=list)
    """Objectives, each run with the recipe's settings."""
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Named sets of dotted settings, each with an objective.name."""
    axes: dict[str, list[Any]] = field(default_factory=dict)
    """Dotted settings with the values that each objective and variant is run with:
    {dictionary.fraction: [0.25, 0.5]}."""
    exclude: list[dict[str, Any]] = field(default_factory=list)
    """Runs to leave out: those to which the study gives all settings of a rule (seed may be one):
    [{objective.name: mlm, dictionary.fraction: 0.25}]."""
    include: list[dict[str, Any]] = field(default_factory=list)
    """Runs besides those of the axes, by their settings:
    [{objective.name: mlm, model.size: small}]."""
    recipe: FolderPath | None = None
    """Recipe of all runs (YAML); null: the sample recipe."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Seeds of pre-training, each for weights and data order."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Dotted settings of all runs: {train.steps: 300}."""
    tasks: list[str] = field(default_factory=lambda: ["sample_pos"])
    """Tasks to measure each run on: names, groups or YAML files; empty: pre-training alone."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        for key in ("objectives", "seeds", "tasks"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ConfigError(f"study.{key}", values, "name each once")
        if not self.seeds or not (self.objectives or self.variants or self.include):
            given = {"seeds": self.seeds, "objectives": self.objectives}
            raise ConfigError("study", given, "name at least one seed and one objective")
        for objective in self.objectives:
            if objective not in OBJECTIVES:
                requirement = f"be one of {sorted(OBJECTIVES)}{nearest(objective, OBJECTIVES)}"
                raise ConfigError("study.objectives", objective, requirement)
        check_overrides("study.overrides", self.overrides, OWN)
        self.check_variants()
        self.check_axes()

    def check_variants(self) -> None:
        """Raise unless variants can be told apart and run.

        Raises:
            ConfigError: they cannot.
        """
        for name, settings in self.variants.items():
            place = f"study.variants.{name}"
            own = name and name not in self.objectives and Path(name).name == name
            if not own or "objective.name" not in settings:
                requirement = "have a name of its own, without slashes, and an objective.name"
                raise ConfigError(place, settings, requirement)
            check_overrides(place, settings, OWN[1:])
        for number, settings in enumerate(self.include):
            place = f"study.include[{number}]"
            if "objective.name" not in settings:
                raise ConfigError(place, settings, "have an objective.name")
            check_overrides(place, settings, OWN[1:])

    def check_axes(self) -> None:
        """Raise unless axes are settings, with values of the right types, that nothing else sets.

        Raises:
            ConfigError: they are not.
        """
        taken = {key for settings in self.variants.values() for key in settings}
        for key, values in self.axes.items():
            if not values or key in taken or key in self.overrides:
                requirement = "have values, and not be set in overrides or variants as well"
                raise ConfigError(f"study.axes.{key}", values, requirement)
            if any(value in values[:number] for number, value in enumerate(values)):
                raise ConfigError(f"study.axes.{key}", values, "have each value once")
            for value in values:
                check_overrides("study.axes", {key: value}, OWN)
        self.check_exclude()

    def check_exclude(self) -> None:
        """Raise unless each rule has well-typed settings that match some run, whatever its seed.

        Raises:
            ConfigError: one does not.
        """
        hints = dict(setting_hints(Recipe)) | {SEED: int}
        own = [self.overrides | settings for _, settings in conditions(self)]
        for rule in self.exclude:
            for key, value in rule.items():
                if key not in hints:
                    requirement = f"name dotted settings, or {SEED}{nearest(key, hints)}"
                    raise ConfigError("study.exclude", key, requirement)
                check(hints[key], value, key, "study.exclude")
            asked = {key: value for key, value in rule.items() if key != SEED}
            if not any(has_all(settings, asked) for settings in own):
                requirement = "leave out a run: the study gives none all of these settings"
                raise ConfigError("study.exclude", rule, requirement)


def check_overrides(place: str, overrides: dict[str, Any], own: Sequence[str]) -> None:
    """Raise unless overrides are well-typed dotted settings that the study does not set itself.

    Raises:
        ConfigError: they are not.
    """
    hints = dict(setting_hints(Recipe))
    for key, value in overrides.items():
        if key not in hints:
            requirement = f"name dotted settings, as in 'train.steps: 300'{nearest(key, hints)}"
            raise ConfigError(place, key, requirement)
        if key in own:
            raise ConfigError(place, key, "not be a setting that the study sets")
        check(hints[key], value, key, place)


def load_study(path: Path) -> StudyConfig:
    """The study of a YAML file.

    Raises:
        ConfigError: no such file, not YAML, an unknown, missing or wrong setting, or one of its
            runs has no valid recipe.
    """
    study = build(StudyConfig, (str(path), read_yaml(path)))
    if study.recipe:
        study = replace(study, recipe=str(shipped_file("recipe", study.recipe)))
    for run in {run.name: run for run in planned_runs(study)}.values():
        recipe_of(study, run, f"{path}: {run.name}")
    return study


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One cell of a study."""

    name: str  # of the objective or the variant
    seed: int
    folder: Path
    overrides: dict[str, Any] = field(default_factory=dict)  # of the variant

    @property
    def done(self) -> bool:
        """Whether the run has finished and left a model and its curves."""
        left = (SUMMARY, CURVES, f"{EXPORT}/{DESCRIPTION}")
        return all((self.folder / name).is_file() for name in left)


def in_name(key: str, value: Any) -> str:
    """A setting as it stands in the name of a run: fraction0.25."""
    text = value if isinstance(value, str) else json.dumps(value)
    return key.rpartition(".")[2] + re.sub(r"[^\w.+-]+", "+", text).strip("+")


def conditions(study: StudyConfig) -> Iterator[tuple[str, Settings]]:
    """Name and settings of each run, but for its seed."""
    objectives = {name: {"objective.name": name} for name in study.objectives}
    for name, settings in {**objectives, **study.variants}.items():
        for values in product(*study.axes.values()):
            own = dict(zip(study.axes, values, strict=True))
            yield "-".join([name, *map(in_name, own, own.values())]), settings | own
    for settings in study.include:
        own = {key: value for key, value in settings.items() if key != "objective.name"}
        yield "-".join([settings["objective.name"], *map(in_name, own, own.values())]), settings


def has_all(settings: Settings, rule: Settings) -> bool:
    """Whether settings have all that a rule of `exclude` names."""
    return all(key in settings and settings[key] == value for key, value in rule.items())


def planned_runs(study: StudyConfig) -> list[PlannedRun]:
    """The runs of a study, every objective and variant of the first seed first.

    Raises:
        ConfigError: none is left, or two have one name.
    """
    runs = [
        PlannedRun(name, seed, Path(study.folder) / f"{name}-seed{seed}", settings)
        for seed in study.seeds
        for name, settings in conditions(study)
        if not any(
            has_all(study.overrides | settings | {SEED: seed}, rule) for rule in study.exclude
        )
    ]
    names = [run.folder.name for run in runs]
    if not runs or len(set(names)) < len(names):
        raise ConfigError("study", names, "have runs, each with settings of its own")
    return runs


def settings_of(study: StudyConfig, run: PlannedRun) -> Settings:
    """The settings of a run, over those of the study's recipe."""
    name = f"{study.name}-{run.folder.name}"
    own = (run.seed, run.seed, name, str(run.folder))
    return {**study.overrides, **run.overrides, **dict(zip(OWN[1:], own, strict=True))}


def recipe_of(study: StudyConfig, run: PlannedRun, place: str = "study") -> Recipe:
    """The recipe of a run; `place` names it in errors.

    Raises:
        ConfigError: its settings make no valid recipe.
    """
    layers = read_layered_yaml(Path(study.recipe)) if study.recipe else []
    recipe: Recipe = build(Recipe, *layers, (place, nested(settings_of(study, run))))
    return recipe
