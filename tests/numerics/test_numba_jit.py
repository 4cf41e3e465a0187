"""Compiled code is cached by everything that it may come from."""

from pathlib import Path

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
