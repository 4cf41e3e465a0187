"""Compiled code is cached by everything that it may come from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import alignmlm
from alignmlm.numerics import numba_jit

ROOT = Path(alignmlm.__file__).parent


def test_each_file_that_compiles_and_all_that_its_code_may_call_name_the_cache():
    hashed = set(numba_jit.sources())
    users = {path for path in ROOT.rglob("*.py") if "numba_jit import" in path.read_text("utf-8")}
    assert len(users) > 4
    assert users <= hashed
    assert {ROOT / "languages/orders.py", ROOT / "numerics/counter_rng.py"} <= hashed


def test_a_change_of_a_file_changes_the_cache(tmp_path, monkeypatch):
    path = tmp_path / "rows.py"
    monkeypatch.setattr(numba_jit, "sources", lambda: [path])
    path.write_text("a = 1\n")
    before = numba_jit.sources_id()
    path.write_text("a = 2\n")
    assert numba_jit.sources_id() != before


def shown(code, **environment):
    """What Python prints after it imported numba_jit under some variables."""
    result = subprocess.run(
        [sys.executable, "-c", f"from alignmlm.numerics import numba_jit; {code}"],
        env={**os.environ, "NUMBA_CACHE_DIR": "", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip(), result.stderr


FOLDER = "from numba import config; print(config.CACHE_DIR)"


def test_an_empty_variable_means_the_cache_folder_of_the_home(tmp_path):
    folder, _ = shown(FOLDER, XDG_CACHE_HOME="", HOME=str(tmp_path))
    assert folder == str(tmp_path / ".cache/alignmlm" / numba_jit.sources_id())


def test_a_cache_folder_of_the_users_has_a_folder_for_this_code_alone(tmp_path):
    folder, _ = shown(FOLDER, NUMBA_CACHE_DIR=str(tmp_path))
    assert folder == str(tmp_path / numba_jit.sources_id())
    assert shown(FOLDER, NUMBA_CACHE_DIR=folder)[0] == folder  # as in a child process


@pytest.mark.parametrize(
    "place", [{"XDG_CACHE_HOME": "/dev/null"}, {"NUMBA_CACHE_DIR": "/dev/null/a"}]
)
def test_code_is_compiled_where_it_cannot_be_kept(place):
    printed, warned = shown("print(numba_jit.compiled(lambda x: x + 1)(1))", **place)
    assert printed == "2"
    assert "/dev/null" in warned
    assert "set NUMBA_CACHE_DIR" in warned
