import json
from pathlib import Path

import pytest

from tests.reporting.chromium import Chromium, browser_path

LANGUAGES = ["qaa-Latn", "qaa-Latn-x-inv-trans"]


def row(objective: str, seed: int, bz: float, **others) -> dict:
    return {
        "objective": objective, "seed": seed, "task": "sample_pos",
        "source_language": LANGUAGES[0], "language": LANGUAGES[1],
        "validation_loss_nats": {LANGUAGES[0]: 3.1 + seed, LANGUAGES[1]: 3.4},
        "alignment_in_dictionary_percent": 98.1, "alignment_held_out_percent": None,
        "source": 96.0, "bs": 95.0, "bz": bz, "delta": 95.0 - bz, "n_seeds": 1, **others,
    }  # fmt: skip


def metrics_lines() -> list[dict]:
    lines = []
    for step in range(10, 101, 10):
        losses = {f"train/loss_nats/{name}": 6 - step / 100 for name in LANGUAGES}
        lines.append(
            {"step": step, "train/loss_nats/mlm": 5.0, "train/tokens_per_s": 2e4, **losses}
        )
        if step % 50 == 0:
            losses = {f"validation/loss_nats/{name}": 6.1 - step / 100 for name in LANGUAGES}
            lines.append({"step": step, "alignment/in_dictionary_percent": 90.0, **losses})
    return lines


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "run <i>"
    folder.mkdir()
    text = "".join(json.dumps(line) + "\n" for line in metrics_lines())
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    (folder / "recipe.yaml").write_text(
        "run:\n  name: <script>alert(1)</script>\n", encoding="utf-8"
    )
    summary = {"objective": "align_mlm", "steps": 100, "seconds": 12.5, "tokens_per_s": 2e4}
    summary |= {"export": "export", "validation_loss_nats": {}}
    summary |= {"alignment_percent": {"in_dictionary": None, "held_out": None}}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


@pytest.fixture
def study(tmp_path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    rows = [row("mlm", 0, 40.0), row("<b>align</b>", 0, 85.0)]
    text = json.dumps({"schema_version": 1, "name": "a <b> & c", "rows": rows})
    (folder / "study.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if browser_path() is None:
        pytest.skip("needs chromium on the PATH")
    found = Chromium(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()
