"""What `alignmlm init` writes for text of one's own, and what it refuses and warns of."""

import json
from unittest.mock import Mock

import click
import pytest

from alignmlm import cli
from alignmlm.commands import init
from alignmlm.config import load_recipe
from alignmlm.studies.speed import RunSpeed
from alignmlm.studies.study import load_study
from tests.documented import ROOT, first_yaml
from tests.own_text import write_own

ASKED = (
    "init", "mine", "--languages", "eng-Latn", "fra-Latn", "--text", "en", "fr",
    "--dictionary", "en-fr.txt",
)  # fmt: skip


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The current folder, with text in two languages; a step takes 60 ms."""
    write_own(tmp_path, sentences=600)
    monkeypatch.chdir(tmp_path)
    speed = RunSpeed(step_s=0.06, other_s=30.0, checkpoint_mib=5.0, export_mib=2.0)
    monkeypatch.setattr(init, "trial", lambda *given: speed)
    return tmp_path


def told(capsys, *words: str, code: int = 0) -> str:
    """What `init` says."""
    assert cli.guarded(cli.dispatch, [*ASKED, *words]) == code
    out, err = capsys.readouterr()
    return err if code else out


def test_what_init_writes_is_a_recipe_and_a_study(own, capsys):
    found = json.loads(told(capsys, "--minutes", "20", "--json"))
    recipe = load_recipe(own / "mine/recipe.yaml")
    study = load_study(own / "mine/study.yaml")
    assert (recipe.train.steps, recipe.languages.ids) == (found["steps"], found["languages"])
    assert (study.objectives, study.recipe) == (["mlm", "align_mlm"], "mine/recipe.yaml")
    assert recipe.data.validation == 0.1  # of so little text


def test_init_warns_of_a_budget_that_is_too_small_to_learn_from_context(own, capsys):
    text = told(capsys, "--minutes", "2")
    (line,) = [line for line in text.splitlines() if line.startswith("warning: ")]
    minutes = line.partition("--minutes ")[2].split()[0]
    (own / "mine/recipe.yaml").unlink()
    (own / "mine/study.yaml").unlink()
    assert "warning" not in told(capsys, "--minutes", minutes)


@pytest.mark.parametrize("line", ["", "one\n"])
def test_init_refuses_a_dictionary_that_is_none_before_it_reads_text(
    own, capsys, line, monkeypatch
):
    monkeypatch.setattr("alignmlm.corpus.survey.surveyed", None)
    if line:
        (own / "en-fr.txt").write_text(line, "utf-8")
    else:
        (own / "en-fr.txt").unlink()
    assert "en-fr.txt" in told(capsys, "--minutes", "2", code=2)


def test_init_refuses_tasks_whose_files_do_not_exist(own, capsys):
    tasks = first_yaml(ROOT / "docs/howto-task.md").replace("french.conllu", "gone.conllu")
    (own / "tasks.yaml").write_text(tasks, "utf-8")
    error = told(capsys, "--minutes", "2", "--tasks", "tasks.yaml", code=2)
    assert "own_pos_fra: test file gone.conllu does not exist" in error
    assert not (own / "mine").exists()


@pytest.mark.parametrize("words", [("caf\udce9", *ASKED[2:]), (*ASKED[1:6], "en", "caf\udce9")])
def test_init_refuses_a_name_that_is_not_utf_8_before_the_trial(own, capsys, monkeypatch, words):
    monkeypatch.setattr(init, "trial", None)
    monkeypatch.setattr("alignmlm.corpus.survey.surveyed", None)
    given = ["init", *words, "--dictionary", "en-fr.txt", "--minutes", "2"]
    assert cli.guarded(cli.dispatch, given) == 2
    assert "hold no NUL and no lone surrogate" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["/", "for$sale", "a-file"])
def test_init_refuses_a_folder_that_cannot_be_used_before_the_trial(
    own, capsys, monkeypatch, folder
):
    monkeypatch.setattr(init, "trial", None)
    (own / "a-file").write_text("text", "utf-8")
    words = ["init", folder, *ASKED[2:], "--minutes", "2"]
    assert cli.guarded(cli.dispatch, words) == 2
    assert folder in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [(click.Abort(), 130, "stopped by Ctrl-C"), (["it's"], 2, "No closing quotation")],
)
def test_an_answer_that_is_none_ends_init_in_one_line(monkeypatch, capsys, answer, code, told):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.prompt", Mock(side_effect=answer))
    assert cli.guarded(cli.dispatch, ["init", "mine"]) == code
    err = capsys.readouterr().err
    assert (told in err, err.count("\n")) == (True, 1)
