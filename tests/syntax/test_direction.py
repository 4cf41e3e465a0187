import json
import os
import subprocess
import sys

from alignmlm.syntax.direction import HeadDirection, directions
from alignmlm.syntax.trees import ROOT, Tree, read_conllu
from tests.limits import HANG_S

PHRASE = Tree(
    ("the", "red", "house", "that", "fell"),
    ("DET", "ADJ", "NOUN", "PRON", "VERB"),
    (2, 2, ROOT, 4, 2),
    ("det", "amod", "root", "nsubj", "acl:relcl"),
)


def test_dependents_are_counted_by_relation_and_side():
    assert directions([PHRASE, PHRASE]) == {
        "acl": HeadDirection(2, 2),
        "acl:relcl": HeadDirection(2, 2),
        "amod": HeadDirection(0, 2),
        "det": HeadDirection(0, 2),
        "nsubj": HeadDirection(0, 2),
    }


def test_a_share_lies_between_none_and_all():
    assert HeadDirection(1, 4).share == 0.25
    assert HeadDirection(0, 0).share == 0


def test_english_adjectives_precede_and_french_ones_follow(shared_data):
    english = read_conllu(shared_data / "ud/UD_English-EWT/en_ewt-ud-dev.conllu.gz")
    french = read_conllu(shared_data / "ud/UD_French-GSD/fr_gsd-ud-dev.conllu.gz")
    assert directions(english)["amod"].share < 0.05
    assert directions(french)["amod"].share > 0.6


def test_the_benchmark_makes_all_its_tables_from_little_data(shared_data, tmp_path):
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, "benchmarks/syntax_tables.py", "--smoke", "--out", str(out)]
    environment = os.environ | {"ALIGNMLM_DATA": str(shared_data.absolute())}
    done = subprocess.run(
        command, check=True, timeout=HANG_S, env=environment, capture_output=True, text=True
    )
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert {row["table"] for row in rows} == {"toy", "direction", "likelihood", "speed"}
    assert all(row["smoke"] and row["commit"] and row["device"] for row in rows)
    assert "…" not in done.stdout
    told = {" ".join(line.split()) for line in done.stdout.splitlines()}
    for row in rows:
        if row["table"] == "toy":
            start = f"{row['output']} {row['head']} {row['order']} "
            assert any(line.startswith(start) for line in told), start
