"""What TensorBoard and wandb are told, read back from the files that they leave."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb.proto.wandb_internal_pb2 import Record

from alignmlm.cli import dispatch
from alignmlm.errors import ConfigError
from alignmlm.pretraining import trackers
from alignmlm.pretraining.metrics import Recorder
from alignmlm.pretraining.recipe import RunConfig
from alignmlm.pretraining.run_records import metric_rows
from alignmlm.pretraining.trackers import TensorBoard, start_trackers, wandb_id
from tests.limits import HANG_S
from tests.runs import pretrain

ZERO2 = Path("ds_configs/zero2.json")
LOSS = "validation/loss_nats/qaa-Latn"
BLOCK_BYTES, HEADER_BYTES = 32768, 7  # of LevelDB's log format, in which wandb keeps its records


@pytest.fixture
def no_key(monkeypatch, tmp_path) -> None:
    """No key of wandb, so that it stays offline."""
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


def wandb_records(folder: Path) -> list[Record]:
    """The records of an offline run; wandb may write the last ones when the run has ended."""
    started = monotonic()
    while True:
        records = list(written_records(folder))
        if any(r.WhichOneof("record_type") == "exit" for r in records):
            return records
        assert monotonic() - started < HANG_S
        sleep(0.1)


def written_records(folder: Path) -> Iterator[Record]:
    """The records that are in the files of a folder, in the order in which they were written."""
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        content, place, parts = path.read_bytes(), HEADER_BYTES, b""
        while place + HEADER_BYTES <= len(content):
            if BLOCK_BYTES - place % BLOCK_BYTES < HEADER_BYTES:
                place += BLOCK_BYTES - place % BLOCK_BYTES
                continue
            size, kind = (
                int.from_bytes(content[place + 4 : place + 6], "little"),
                content[place + 6],
            )
            parts += content[place + HEADER_BYTES :][:size]
            place += HEADER_BYTES + size
            if kind in (1, 4):  # whole, or the last part
                yield Record.FromString(parts)
                parts = b""


def history(records: list[Record]) -> list[dict[str, object]]:
    """The metrics of each step that wandb was told."""
    steps = [r.history for r in records if r.WhichOneof("record_type") == "history"]
    return [
        {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in one.item}
        for one in steps
    ]


def test_wandb_has_every_metric_under_its_step_and_a_table_of_languages(
    small_recipe, no_key, monkeypatch
):
    monkeypatch.setenv("WANDB_RUN_GROUP", "a study")
    folder, summary = pretrain(small_recipe("--run.wandb=true"), ZERO2)
    records = wandb_records(folder)
    run = next(r.run for r in records if r.WhichOneof("record_type") == "run")
    assert (run.display_name, run.run_group, run.job_type) == ("run", "a study", "pretrain")
    assert run.run_id == wandb_id(folder)
    assert {item.key for item in run.config.update} >= {"train.steps", "optimizer.name"}
    told = history(records)
    for row in metric_rows(folder / "metrics.jsonl"):
        same = [one for one in told if one.get("step") == row["step"]]
        assert any(row.items() <= one.items() for one in same)
    (table,) = (one["languages.path"] for one in told if "languages.path" in one)
    (path,) = folder.glob(f"wandb/offline-run-*/files/{table}")
    losses = summary["validation_loss_nats"]
    assert json.loads(path.read_text("utf-8"))["data"] == [list(item) for item in losses.items()]


def test_a_run_keeps_its_id_in_wandb_and_no_other_has_it(tmp_path):
    first, second = tmp_path / "a" / "mlm-seed0", tmp_path / "b" / "mlm-seed0"
    for folder in (first, second):
        folder.mkdir(parents=True)
    assert wandb_id(first) == wandb_id(first) != wandb_id(second)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("WANDB_MODE", "sometimes", "mode.*'online', 'offline'"), ("WANDB_API_KEY", "abc", "40")],
)
def test_what_wandb_refuses_is_an_error_of_its_setting(
    tmp_path, no_key, monkeypatch, variable, value, said
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=rf"run\.wandb = True.*{said}"):
        start_trackers(tmp_path, RunConfig(wandb=True), {}, 0)


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """The steps and values that TensorBoard shows."""
    events = EventAccumulator(str(folder / "tensorboard"), purge_orphaned_data=True).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_tensorboard_shows_every_metric_of_a_run(small_recipe):
    folder, _ = pretrain(small_recipe("--run.tensorboard=true"), ZERO2)
    rows = metric_rows(folder / "metrics.jsonl")
    for name in ("train/loss_nats", LOSS):
        expected = [(row["step"], row[name]) for row in rows if name in row]
        assert scalars(folder, name) == [(s, pytest.approx(v, rel=1e-6)) for s, v in expected]


def test_tensorboard_shows_a_repeated_step_once_as_it_was_last(tmp_path):
    board = TensorBoard(tmp_path, 0)
    for step in (1, 2, 3):
        board.log(step, {"loss": float(step)})
    board.go_back(1)  # a rewind
    board.log(2, {"loss": 20.0})
    board.close()
    resumed = TensorBoard(tmp_path, 2)  # after a kill
    resumed.log(3, {"loss": 30.0})
    resumed.close()
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 20.0), (3, 30.0)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_ends_tensorboard_and_not_the_run(small_disk, tmp_path, caplog):
    recorder = Recorder(tmp_path, [TensorBoard(small_disk("40k"), 0)])
    for step in range(1, 101):
        recorder.write(step, {f"metric/{number}": 0.5 for number in range(100)})
    recorder.close()
    assert len(metric_rows(recorder.path)) == 100
    assert caplog.text.count("TensorBoard stops recording") == 1


def test_a_run_says_that_tensorboard_is_not_installed_before_it_trains(small_recipe, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"run\.tensorboard.*pip install tensorboard"):
        pretrain(small_recipe("--run.tensorboard=true"), ZERO2)


def test_a_report_is_kept_in_wandb_as_an_artifact_of_its_study(
    small_recipe, no_key, tmp_path, monkeypatch
):
    monkeypatch.delenv("WANDB_RUN_GROUP", raising=False)
    folder, _ = pretrain(small_recipe(), ZERO2)
    page = tmp_path / "page" / "report.html"
    dispatch(["report", str(folder), f"--output={page}", "--wandb=tiny"])
    records = wandb_records(page.parent)
    artifacts = [r.request.log_artifact.artifact for r in records if r.HasField("request")]
    artifacts += [r.artifact for r in records if r.WhichOneof("record_type") == "artifact"]
    (artifact,) = (one for one in artifacts if one.type == "report")
    assert artifact.name == "report-tiny"
    assert "report.html" in {entry.path for entry in artifact.manifest.contents}
    run = next(r.run for r in records if r.WhichOneof("record_type") == "run")
    assert run.run_group == "tiny"
