"""What README.md of an export says."""

import re
from dataclasses import replace

import pytest
import yaml

from alignmlm.artifacts.provenance import without_folders
from alignmlm.pretraining.checkpoints import Progress
from alignmlm.pretraining.contents import numbers_of
from alignmlm.pretraining.metrics import validation_line
from alignmlm.pretraining.model_card import model_card, named_once
from alignmlm.pretraining.recipe import LanguagesConfig, Recipe

METRICS = {
    "validation/loss_nats/qaa-Latn": 3.25,
    "validation/loss_nats/qaa-Latn-x-inv-trans": 3.5,
    "alignment/in_dictionary_percent": 34.5,
    "alignment/in_dictionary/forward/cosine_p1_percent": 34.5,
    "alignment/in_dictionary/backward/cosine_p1_percent": 31.0,
}


@pytest.fixture(scope="module")
def card() -> str:
    recipe = Recipe()
    numbers = numbers_of(recipe) | {
        "data.tokenizer": "/home/anna/private/tokenizer.json",
        "data.sources": [{"language": "eng-Latn", "files": ["/data/wiki/a.txt", "~/b.txt"]}],
    }
    progress = Progress(step=600, tokens=9, seconds=1.0, data_id="0", first_step=0, numbers=numbers)
    return model_card(recipe, progress, METRICS)


def test_the_head_is_yaml_with_a_licence(card):
    head = yaml.safe_load(card.split("---")[1])
    assert (head["library_name"], head["license"]) == ("transformers", "unknown")
    assert "## Licence" in card


def test_norwegian_is_a_language_and_not_false():
    recipe = replace(Recipe(), languages=LanguagesConfig(ids=["no-Latn"]))
    progress = Progress(step=1, tokens=9, seconds=1.0, data_id="0", first_step=0, numbers={})
    assert yaml.safe_load(model_card(recipe, progress, {}).split("---")[1])["language"] == ["no"]


def test_one_value_has_one_name(card):
    assert "alignment/in_dictionary_percent" in card
    assert "forward/cosine_p1_percent" not in card
    assert "backward/cosine_p1_percent" in card
    assert named_once({"a/forward/cosine_p1_percent": 1.0}) == {"a/forward/cosine_p1_percent": 1.0}


def test_no_path_of_the_machine_is_told(card):
    assert "private" not in card and "/data/wiki" not in card
    assert "tokenizer.json" in card and "a.txt" in card
    assert without_folders({"x": ("$HOME/c", "rel/d")}) == {"x": ["c", "rel/d"]}


def test_the_code_of_the_card_is_python_and_cuts_ids_without_text(card):
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    compile(code, "card", "exec")
    assert "len(tokenizer)" in code


def test_a_validation_is_one_line_with_losses_and_alignment():
    assert validation_line(1200, METRICS) == (
        "validation after step 1,200: qaa-Latn 3.250, qaa-Latn-x-inv-trans 3.500 nats · "
        "aligned, in dictionary: 34.5 %"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("hub:/home/anna/private/h", "hub:h"),
        ("hub:~/private/h:en:train", "hub:h:en:train"),
        ("hub:org/name:en:train", "hub:org/name:en:train"),
        ("file:///home/anna/a.txt", "a.txt"),
        (r"C:\Users\anna\a.txt", "a.txt"),
        ("sample:40", "sample:40"),
    ],
)
def test_no_folder_is_told_whatever_form_a_path_has(value, shown):
    assert without_folders([value]) == [shown]
