"""What the commands about studies print."""

import json
import os
from itertools import chain, repeat
from unittest.mock import Mock

from alignmlm import cli
from alignmlm.studies.cells import CellRecord


def test_one_run_of_a_study_prints_its_record_for_programs(capsys, monkeypatch):
    record = CellRecord(inputs="a", rows=[{"delta": 1.5}])
    monkeypatch.setattr("alignmlm.studies.running.run_one", lambda config, number: record)
    assert cli.guarded(cli.dispatch, ["study", "run", "sample", "--only=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == [{"delta": 1.5}]


def test_stop_quotes_the_study_in_the_command_that_goes_on(capsys, monkeypatch, tmp_path):
    study = tmp_path / "my study.yaml"
    text = f"name: a\nfolder: {json.dumps(str(tmp_path))}\nobjectives: [mlm]\n"
    study.write_text(text, "utf-8")
    runs = Mock(side_effect=chain([True], repeat(False)))
    monkeypatch.setattr("alignmlm.studies.cells.is_running", runs)
    monkeypatch.setattr("alignmlm.studies.cells.living_holder", lambda lock: os.getpid())
    monkeypatch.setattr("os.kill", lambda process, number: None)
    assert cli.guarded(cli.dispatch, ["study", "stop", str(study)]) == 0
    assert f"alignmlm study run '{study}'" in capsys.readouterr().out
