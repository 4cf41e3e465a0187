"""What `alignmlm export` refuses, and what it and `report --watch` print for programs."""

import json
import os
from pathlib import Path

import pytest

from alignmlm import cli


@pytest.fixture
def run(tmp_path) -> Path:
    """The folder of a run without checkpoints."""
    (tmp_path / "recipe.yaml").write_text("train: {steps: 4}\n", "utf-8")
    return tmp_path


def test_an_export_onto_the_root_is_refused(run, capsys):
    assert cli.guarded(cli.dispatch, ["export", str(run), "/"]) == 2
    told = "output = '/', but it must be new, or an export to replace"
    assert told in capsys.readouterr().err


def test_export_tells_deepspeed_its_accelerator_before_it_can_say_so_on_stdout(
    run, capsys, monkeypatch
):
    found = []
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(
        "alignmlm.pretraining.export.export_run",
        lambda *given: found.append(os.environ.get("DS_ACCELERATOR")),
    )
    assert cli.guarded(cli.dispatch, ["export", str(run), str(run / "out"), "--json"]) == 0
    assert found == ["cpu"]
    assert json.loads(capsys.readouterr().out) == {"export": str(run / "out")}


def test_the_address_of_a_page_that_follows_runs_is_json_for_programs(run, capsys, monkeypatch):
    def end(server: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alignmlm.reporting.watch.Server.serve_forever", end)
    assert cli.guarded(cli.dispatch, ["report", str(run), "--watch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"].startswith("http://127.0.0.1:")


def test_public_without_a_repository_says_what_to_add(run, capsys):
    assert cli.guarded(cli.dispatch, ["export", str(run), str(run / "out"), "--public"]) == 2
    told = "--public = True, but it must come with --push ORG/NAME"
    assert told in capsys.readouterr().err
