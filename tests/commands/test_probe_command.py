"""What `alignmlm probe` writes beside what it prints."""

import json

from alignmlm import cli


def test_curves_of_all_checkpoints_are_drawn_for_programs_too(tmp_path, capsys, monkeypatch):
    (tmp_path / "recipe.yaml").write_text("train: {steps: 4}\n", "utf-8")
    drawn = []
    probes = "alignmlm.studies.run_probes"
    monkeypatch.setattr(f"{probes}.asked_steps", lambda *given: [4, 8])
    monkeypatch.setattr(f"{probes}.probe_run", lambda *given: {"steps": []})
    monkeypatch.setattr(
        "alignmlm.reporting.probe_tables.write_curves", lambda document, path: drawn.append(path)
    )
    words = ["probe", str(tmp_path), "--all", "--json", f"--output={tmp_path / 'all.json'}"]
    assert cli.guarded(cli.dispatch, words) == 0
    assert json.loads(capsys.readouterr().out) == {"steps": []}
    assert drawn == [tmp_path / "all.png"]
