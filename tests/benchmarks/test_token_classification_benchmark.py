"""Plain fine-tuning labels first tokens; the comparison runs from a checkpoint to its rows."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import EvalPrediction

from tests.limits import HANG_S

FOLDER = Path(__file__).parents[2] / "benchmarks"
NAME = "plain_token_classification"
SPEC = importlib.util.spec_from_file_location(NAME, FOLDER / f"{NAME}.py")
plain = importlib.util.module_from_spec(SPEC)
sys.modules[NAME] = plain
SPEC.loader.exec_module(plain)


def test_a_word_is_labelled_at_its_first_token_alone():
    words = [None, 0, 1, 1, 2, None]
    assert plain.first_labels(words, [7, 8, 9]) == [-100, 7, 8, -100, 9, -100]


def test_a_sentence_is_written_with_spaces_where_its_words_are_not_joined():
    text, starts = plain.running_text(["do", "n't", "go", "."], [False, True, False, True])
    assert text == "don't go."
    assert [text[start:][:2] for start in starts] == ["do", "n'", "go", "."]


def test_a_token_is_of_the_word_that_its_first_character_is_of():
    text, starts = plain.running_text(["do", "n't", "go"], [False, True, False])
    spans = [(0, 0), (0, 3), (3, 5), (5, 8), (0, 0)]  # <s>, "don", "'t", " go", </s>
    assert plain.words_at(text, starts, spans) == [None, 0, 1, 2, None]


@pytest.mark.parametrize(("metric", "percent"), [("accuracy", 75.0), ("entity_f1", 50.0)])
def test_scores_are_of_the_first_tokens_of_words(metric, percent):
    names = ["B-LOC", "B-PER", "O"]
    right = np.array([[-100, 0, -100, 2], [-100, 1, 2, -100]])
    found = np.eye(3)[np.array([[1, 0, 1, 2], [2, 0, 2, 1]])]
    given = EvalPrediction(predictions=found, label_ids=right)
    assert plain.metrics_of(metric, names)(given)["score_percent"] == pytest.approx(percent)


def test_the_short_form_compares_all_sides_on_a_model_that_it_makes(tmp_path):
    out = tmp_path / "rows.jsonl"
    flags = ["--smoke", "--alike", "--offsets", "--commit", "none", "--out", str(out)]
    command = [sys.executable, str(FOLDER / "token_classification.py"), *flags]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=HANG_S, cwd=FOLDER.parent
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["side"] for row in rows] == ["alignmlm", "words", "offsets"]
    assert rows[2]["scored_words"] == rows[0]["scored_words"] > 0
    assert rows[2]["unlike_percent"] == 0
    assert rows[2]["scores_percent"] == rows[0]["scores_percent"]
    assert "words scored" in " ".join(done.stdout.split())
