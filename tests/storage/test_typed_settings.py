from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.config import load_recipe
from alignmlm.errors import AlignMLMError, ConfigError
from alignmlm.evaluation.settings import EvaluationConfig
from alignmlm.pretraining.recipe import Recipe
from alignmlm.storage.typed_settings import DataPath, build, from_text, nested, setting_hints
from alignmlm.studies.study import StudyConfig
from alignmlm.tasks.task import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    name: str
    path: DataPath = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    count: int = 1
    most: int | None = 5
    rate: float = 0.5
    on: bool = False
    kind: Literal["a", "b"] = "a"
    title: str | None = None
    items: list[Item] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    columns: dict[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rate > 1:
            raise ConfigError("section.rate", self.rate, "be at most 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    section: Section = field(default_factory=Section)


def made(**values):
    return build(Settings, ("r.yaml", {"section": values})).section


def test_values_become_the_settings_types():
    found = made(rate=1, most=None, weights=[1, 2.5], items=[{"name": "x"}], columns={"a": 1})
    assert found == Section(
        rate=1.0, most=None, weights=[1.0, 2.5], items=[Item(name="x")], columns={"a": 1}
    )
    assert type(found.rate) is type(found.weights[0]) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": True}, "section.count = True, but it must be an integer"),
        ({"count": "3"}, "section.count = '3', but it must be an integer; leave out the quotes"),
        ({"count": 3.0}, "section.count = 3.0, but it must be an integer"),
        ({"count": None}, "section.count = None, but it must be an integer"),
        ({"count": 2**70}, r"section.count = .* lie in \[-2\*\*63"),
        ({"count": {"class_path": "os.system"}}, r"section.count = \{'class_path'"),
        ({"most": "x"}, "section.most = 'x', but it must be an integer or null"),
        ({"rate": float("nan")}, "section.rate = nan, but it must be finite"),
        ({"rate": float("inf")}, "section.rate = inf, but it must be finite"),
        ({"rate": False}, "section.rate = False, but it must be a number"),
        ({"rate": 2}, "r.yaml: section.rate = 2.0, but it must be at most 1"),
        ({"on": 1}, "section.on = 1, but it must be true or false"),
        ({"on": "yes"}, "section.on = 'yes', but it must be true or false"),
        ({"kind": "c"}, r"section.kind = 'c', but it must be one of \['a', 'b'\]"),
        ({"kind": 0}, "section.kind = 0"),
        ({"title": 7}, "section.title = 7, but it must be text or null; put it in quotes"),
        ({"title": "$HOME"}, r"section.title = '\$HOME', but it must name no \$VARIABLE"),
        ({"title": "a\0"}, "hold no NUL"),
        ({"title": "\ud800"}, "hold no NUL and no lone surrogate"),
        ({"weights": 1}, "section.weights = 1, but it must be a list, each item a number"),
        ({"weights": [1, "x"]}, r"section.weights\[1\] = 'x', but it must be a number"),
        ({"columns": {"a": 1.5}}, "section.columns.a = 1.5, but it must be text or an integer"),
        ({"items": [{}]}, r"r.yaml: settings = \[\], but it must include \['section.items\[0\].n"),
        ({"items": [{"class_path": "os.system"}]}, r"'section.items\[0\].class_path'"),
        ({"cuont": 1}, "'section.cuont', but it must be one of .*did you mean 'section.count'"),
    ],
)
def test_a_wrong_value_names_file_key_what_was_found_and_what_is_allowed(values, message):
    with pytest.raises(ConfigError, match=message):
        made(**values)


def test_a_variable_may_stand_in_a_path_of_data():
    assert made(items=[{"name": "x", "path": "$DATA/x"}]).items[0].path == "$DATA/x"


def test_a_setting_that_belongs_into_a_section_is_named_with_it():
    with pytest.raises(ConfigError, match=r"did you mean 'section\.count'"):
        build(Settings, ("r.yaml", {"count": 3}))


def test_an_error_names_the_layer_that_set_the_value():
    layers = [("base.yaml", {"section": {"rate": 7}}), ("r.yaml", {"section": {"count": 3}})]
    with pytest.raises(ConfigError, match=r"^base\.yaml: section\.rate = 7"):
        build(Settings, *layers)


def test_a_wrong_value_is_refused_also_where_an_upper_layer_replaces_it():
    layers = [("base.yaml", {"section": {"count": []}}), ("r.yaml", {"section": {"count": 3}})]
    with pytest.raises(ConfigError, match=r"^base\.yaml: section\.count"):
        build(Settings, *layers)


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (str, "3", "3"), (str | None, "null", None), (Literal["a"], "a", "a"), (int, "3", 3),
        (float, "1e-3", 0.001), (list[str], "[a, b]", ["a", "b"]), (int | None, "null", None),
        (DataPath | None, "null", None), (list[Item], '[{"name": "x"}]', [{"name": "x"}]),
    ],
)  # fmt: skip
def test_text_of_a_command_line_is_read_by_the_settings_type(hint, text, value):
    assert from_text(hint, text, "key", "command line") == value


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)
    | st.sampled_from(["null", "$HOME", "eng-Latn", "mlm", "sample:9", "\ud800", "\0", "x" * 999]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["class_path", "init_args", "path", "language"]), inner),
    max_leaves=6,
)  # fmt: skip
CLASSES = {Recipe: "", EvaluationConfig: "", StudyConfig: "", Task: ""}
KEYS = {
    kind: [name for name, _ in setting_hints(kind)] + ["class_path", "train", "overrides.train"]
    for kind in CLASSES
}
flat = st.sampled_from(list(CLASSES)).flatmap(
    lambda kind: st.tuples(
        st.just(kind), st.dictionaries(st.sampled_from(KEYS[kind]), values, min_size=1, max_size=4)
    )
)


def check_settings_or_our_error(kind, chosen):
    sections = {key for key in chosen if "." not in key}
    plain = nested({key: v for key, v in chosen.items() if key.split(".")[0] not in sections})
    try:
        found = build(kind, ("f", plain | {key: chosen[key] for key in sections}))
    except AlignMLMError as error:
        assert len(str(error).splitlines()) <= 10 and len(str(error)) < 3000
    else:
        assert type(found) is kind


words = st.sampled_from(
    ["--train.steps=", "--data.sources=", "--model.start=", "--run.name", "--languages.ids=",
     "--train=", "--mask.rate.class_path=", "-x", "--", "--run.wandb=", "--optimizer.beta1="]
)  # fmt: skip
arguments = st.lists(st.tuples(words, st.text(max_size=8)).map("".join), max_size=3)


def check_recipe_or_our_error(line):
    try:
        assert type(load_recipe(None, line)) is Recipe
    except AlignMLMError as error:
        assert len(str(error).splitlines()) <= 10


@settings(max_examples=300, deadline=None)
@given(flat)
def test_any_settings_are_built_or_refused(chosen):
    check_settings_or_our_error(*chosen)


@settings(max_examples=100, deadline=None)
@given(arguments)
def test_any_command_line_is_a_recipe_or_refused(line):
    check_recipe_or_our_error(line)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(flat)
def test_any_of_10_000_settings_are_built_or_refused(chosen):
    check_settings_or_our_error(*chosen)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(arguments)
def test_any_of_10_000_command_lines_is_a_recipe_or_refused(line):
    check_recipe_or_our_error(line)
