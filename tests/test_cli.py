import json
import os
import subprocess
import sys

import pytest

from alignmlm import cli
from tests.conftest import SMALL


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.guarded(cli.dispatch, list(arguments))
    out, err = capsys.readouterr()
    return code, " ".join(out.split()), " ".join(err.split())


@pytest.mark.parametrize("words", [("data", "biuld"), ("biuld",), ("data", "builds")])
def test_an_unknown_command_names_the_nearest(capsys, words):
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "did you mean 'data build'?" in err


def test_a_store_is_built_and_its_counts_are_shown(capsys, tmp_path):
    store = f"--data.store={tmp_path / 'store'}"
    code, out, _ = run(capsys, "data", "build", *SMALL, store)
    assert code == 0
    assert "qaa-Latn train" in out or "train" in out
    assert (tmp_path / "store" / "manifest.json").is_file()


def test_building_over_a_store_is_refused(capsys, small_store):
    code, _, err = run(capsys, "data", "build", *SMALL, f"--data.store={small_store}")
    assert code == 2
    assert "holds a store already" in err


def test_a_whole_store_is_called_whole(capsys, small_store):
    code, out, _ = run(capsys, "data", "verify", str(small_store))
    assert (code, "whole" in out) == (0, True)


def test_a_missing_store_says_how_to_build_it(capsys, tmp_path):
    code, _, err = run(capsys, "data", "stats", str(tmp_path / "none"))
    assert code == 2
    assert "alignmlm data build --config" in err


def test_counts_of_a_store_are_printed_for_programs(capsys, small_store):
    code = cli.guarded(cli.dispatch, ["data", "stats", str(small_store), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {row["split"] for row in found["splits"]} == {"train", "validation"}


def test_help_of_data_show_has_its_own_options_and_no_settings_of_training(capsys):
    code, out, _ = run(capsys, "data", "show", "--help")
    assert code == 0
    assert "--step" in out and "--mask.rate" in out
    assert "--optimizer" not in out and "--run." not in out


def test_a_batch_is_shown_with_its_labels(capsys, small_store):
    store = f"--data.store={small_store}"
    code, out, _ = run(capsys, "data", "show", *SMALL, store, "--step=3", "--rows=2")
    assert code == 0
    assert "step 3, rows 0 to 1 of 8" in out
    assert "<mask>" in out


def test_the_hash_of_a_batch_is_the_same_each_time(capsys, small_store):
    arguments = ["data", "show", *SMALL, f"--data.store={small_store}", "--step=5", "--hash"]
    first, second = run(capsys, *arguments)[1], run(capsys, *arguments)[1]
    assert first == second
    assert len(first) == 16


def test_a_corpus_that_is_missing_is_named_with_its_place(capsys, tmp_path):
    sources = '--data.sources=[{"language": "eng-Latn", "files": ["no/such.txt"]}]'
    code, _, err = run(capsys, "data", "build", sources, f"--data.store={tmp_path / 's'}")
    assert code == 2
    assert "no/such.txt" in err
    assert "data.sources.files" in err


def test_an_error_that_a_user_can_mend_is_one_message_without_a_traceback(capsys):
    _, _, err = run(capsys, "data", "show", "--mask.rate=2")
    assert err.startswith("alignmlm: error:")
    assert "Traceback" not in err


def test_an_unexpected_error_is_raised(monkeypatch, small_store):
    monkeypatch.setattr("alignmlm.data.inspect.statistics", lambda store: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.guarded(cli.dispatch, ["data", "stats", str(small_store)])


def test_what_an_encoding_lacks_is_printed_as_an_escape(tmp_path):
    words = ["launch", "pretrain", "--run.dir=日本", "--dry-run"]
    command = [sys.executable, "-m", "alignmlm.cli", *words]
    latin = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, cwd=tmp_path, env=latin, capture_output=True, check=True)
    assert rb"\u65e5\u672c" in done.stdout
