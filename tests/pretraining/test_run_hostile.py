"""What a run has written about itself may be damaged: errors name the file, never a traceback."""

import json
from pathlib import Path

import pytest

from alignmlm.artifacts.names import SUMMARY
from alignmlm.artifacts.provenance import CODE, record_start
from alignmlm.errors import AlignMLMError, CheckpointError, DataError
from alignmlm.pretraining.faults import SKIP, read_skip_list
from alignmlm.pretraining.metrics import keep_until
from alignmlm.pretraining.run_folder import NUMBERS, finished, foreign_files, recorded_numbers
from alignmlm.pretraining.run_records import METRICS, metric_rows, read_summary, validation_at

WHOLE = {
    "objective": "mlm", "export": "export", "steps": 8, "seconds": 1.0, "tokens_per_s": 9.5,
    "validation_loss_nats": {"qaa-Latn": 5.0},
    "alignment_percent": {"in_dictionary": None, "held_out": 50.0},
}  # fmt: skip
READERS = {
    SUMMARY: lambda folder: finished(folder, 8),
    NUMBERS: recorded_numbers,
    CODE: record_start,
    SKIP: read_skip_list,
}


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '{"steps": ', '{"a": 1, "a": 2}', "\xff"])
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_record_is_named(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(AlignMLMError, match=name):
        READERS[name](tmp_path)


@pytest.mark.parametrize("value", [None, "8", []])
@pytest.mark.parametrize("key", [key for key in WHOLE if not isinstance(WHOLE[key], str)])
def test_a_summary_with_a_value_of_another_kind_is_named(tmp_path, key, value):
    (tmp_path / SUMMARY).write_text(json.dumps(WHOLE | {key: value}))
    with pytest.raises(CheckpointError, match=rf"summary\.json.*{key}"):
        read_summary(tmp_path)


def test_a_summary_without_a_key_is_named(tmp_path):
    for key in WHOLE:
        (tmp_path / SUMMARY).write_text(json.dumps({k: v for k, v in WHOLE.items() if k != key}))
        with pytest.raises(CheckpointError, match=f"summary.json.*{key}.*nothing"):
            read_summary(tmp_path)


def test_metrics_whose_last_line_was_cut_are_read_without_it(tmp_path):
    lines = '{"step": 1, "validation/loss_nats": 2.5}\n{"step": 2, "validat'
    (tmp_path / METRICS).write_text(lines)
    assert validation_at(tmp_path, 1) == {"validation/loss_nats": 2.5}
    keep_until(tmp_path / METRICS, 1)
    assert len(metric_rows(tmp_path / METRICS)) == 1
    assert (tmp_path / METRICS).read_text().endswith("}\n")


@pytest.mark.parametrize(
    "line",
    ["{", "[1]", '{"step": "1"}', '{"step": null}', "{}", "NaN", '{"step": 2, "tokens": null}'],
)
def test_another_damaged_line_of_the_metrics_is_named(tmp_path, line):
    (tmp_path / METRICS).write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl:2"):
        metric_rows(tmp_path / METRICS)


def test_a_run_without_metrics_can_be_exported(tmp_path):
    assert validation_at(tmp_path, 3) == {}


def test_what_a_kill_left_of_the_first_files_of_a_run_is_not_foreign(tmp_path):
    for name in ("run.lock", f"{NUMBERS}.tmp-12", "recipe.yaml.tmp-7"):
        Path(tmp_path, name).touch()
    assert not foreign_files(tmp_path)
    Path(tmp_path, "thesis.tex").touch()
    assert [path.name for path in foreign_files(tmp_path)] == ["thesis.tex"]
