"""Other data, or another mixture, at resume: said what differs, and gone on with as asked."""

import json
import shutil
from pathlib import Path

import pytest

from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.data.batches import batch_samples, make_batch
from alignmlm.data.store import TRAIN
from alignmlm.errors import CheckpointError, ConfigError
from alignmlm.pretraining.assembly import assemble
from alignmlm.pretraining.checkpoints import Progress, read_progress
from alignmlm.pretraining.export import export_run
from alignmlm.pretraining.recipe import RunConfig
from alignmlm.pretraining.run_folder import first_step_of, open_folder
from tests.runs import pretrain

ZERO2 = Path("ds_configs/zero2.json")
SHARES = ["--languages.weights=[1, 3]"]


def cut_off(small_recipe, tmp_path) -> Path:
    """A run that ended after step 4 of 8."""
    folder, _ = pretrain(small_recipe(), ZERO2)
    shutil.rmtree(folder / "checkpoints" / "step-8")
    (folder / "summary.json").unlink()
    return folder


def losses(folder: Path) -> dict[int, float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [row for line in lines if "train/loss_nats" in (row := json.loads(line))]
    return {row["step"]: row["train/loss_nats"] for row in rows}


def other_data(small_recipe, tmp_path, tokenizer) -> list[str]:
    """Settings of a store of other sentences under the same tokenizer, or another one."""
    source = '--data.sources=[{"language": "qaa-Latn", "files": ["sample:700"]}]'
    settings = [f"--data.store={tmp_path / 'other'}", source, *tokenizer]
    build_store(small_recipe(*settings).data)
    return settings


def moved_store(small_recipe, tmp_path) -> str:
    """The setting of a store of other sentences under the same tokenizer."""
    same = [f"--data.tokenizer={Path(small_recipe().data.store) / 'tokenizer.json'}"]
    return other_data(small_recipe, tmp_path, same)[0]


def test_other_data_is_an_error_that_names_what_differs_and_offers_a_way(small_recipe, tmp_path):
    cut_off(small_recipe, tmp_path)
    same = [f"--data.tokenizer={Path(small_recipe().data.store) / 'tokenizer.json'}"]
    settings = other_data(small_recipe, tmp_path, same)
    with pytest.raises(ConfigError, match=r"data\.sources: (.|\n)*--run\.data_change=continue"):
        pretrain(small_recipe(*settings), ZERO2)


def test_a_store_that_was_built_anew_is_an_error_that_names_what_differs(small_recipe, tmp_path):
    folder = cut_off(small_recipe, tmp_path)
    same = [f"--data.tokenizer={Path(small_recipe().data.store) / 'tokenizer.json'}"]
    settings = other_data(small_recipe, tmp_path, same)
    moved = [setting for setting in settings if setting.startswith("--data.store")]
    with pytest.raises(CheckpointError, match=r"train tokens: \d+ there, \d+ here(.|\n)*restart"):
        pretrain(small_recipe(*moved), ZERO2)
    went_on, _ = pretrain(small_recipe(*moved, "--run.data_change=continue"), ZERO2)
    assert went_on == folder
    assert max(losses(folder)) == 8


def test_another_tokenizer_is_refused_whatever_is_asked(small_recipe, tmp_path):
    cut_off(small_recipe, tmp_path)
    settings = other_data(small_recipe, tmp_path, [])
    moved = [setting for setting in settings if setting.startswith("--data.store")]
    with pytest.raises(CheckpointError, match="another tokenizer"):
        pretrain(small_recipe(*moved, "--run.data_change=continue"), ZERO2)


@pytest.mark.parametrize(("change", "first_step"), [("continue", 0), ("restart", 4)])
def test_new_weights_go_on_or_start_over(small_recipe, tmp_path, change, first_step):
    folder = cut_off(small_recipe, tmp_path)
    before = losses(folder)
    pretrain(small_recipe(*SHARES, f"--run.data_change={change}"), ZERO2)
    progress = read_progress(folder / "checkpoints" / "step-8")
    assert (progress.step, progress.first_step) == (8, first_step)
    after = losses(folder)
    assert [after[step] for step in range(1, 5)] == [before[step] for step in range(1, 5)]
    assert [after[step] for step in range(5, 9)] != [before[step] for step in range(5, 9)]


def test_a_run_goes_on_exactly_after_a_change(small_recipe, tmp_path):
    folder = cut_off(small_recipe, tmp_path)
    changed = small_recipe(*SHARES, "--run.data_change=restart")
    pretrain(changed, ZERO2)
    whole = losses(folder)
    (folder / "summary.json").unlink()
    pretrain(changed, ZERO2)
    assert losses(folder) == whole


def test_a_finished_run_goes_on_when_more_steps_are_asked_for(small_recipe):
    folder, _ = pretrain(small_recipe(), ZERO2)
    _, summary = pretrain(small_recipe("--train.steps=10", "--run.data_change=continue"), ZERO2)
    assert summary["steps"] == 10
    assert max(losses(folder)) == 10


def test_results_of_a_finished_run_are_never_those_of_changed_settings(small_recipe):
    folder, _ = pretrain(small_recipe(), ZERO2)
    before = {name: (folder / name).read_bytes() for name in ("numbers.json", "recipe.yaml")}
    for changed in (["--mask.rate=0.3"], ["--train.steps=4"]):
        with pytest.raises(ConfigError, match=r"run\.dir.*this run is finished"):
            pretrain(small_recipe(*changed, "--run.data_change=restart"), ZERO2)
    assert before == {name: (folder / name).read_bytes() for name in before}


def test_results_of_a_finished_run_are_never_those_of_changed_data(small_recipe, tmp_path):
    folder, _ = pretrain(small_recipe(), ZERO2)
    moved, before = moved_store(small_recipe, tmp_path), (folder / "data.json").read_bytes()
    with pytest.raises(ConfigError, match=r"run\.dir.*this run is finished"):
        pretrain(small_recipe(moved, "--run.data_change=restart"), ZERO2)
    assert (folder / "data.json").read_bytes() == before


@pytest.mark.parametrize("changed", ["--mask.rate=0.3", "--train.steps=4"])
def test_a_run_killed_before_its_export_is_finished_only_with_its_own_settings(
    small_recipe, changed
):
    folder, _ = pretrain(small_recipe(), ZERO2)
    (folder / "summary.json").unlink()
    with pytest.raises(ConfigError, match=r"run\.dir.*this run is finished.*its own settings"):
        pretrain(small_recipe(changed, "--run.data_change=continue"), ZERO2)
    _, summary = pretrain(small_recipe(), ZERO2)
    assert summary["steps"] == 8


@pytest.mark.parametrize("setting", ["languages.seed=1", "train.batch_rows=16"])
def test_the_vocabulary_and_the_batch_size_of_a_run_never_change(small_recipe, setting):
    folder = small_recipe().run.dir
    open_folder(Path(folder), small_recipe()).release()
    with pytest.raises(ConfigError, match=rf"run\.dir.*differs in\s+{setting.partition('=')[0]}"):
        open_folder(Path(folder), small_recipe(f"--{setting}", "--run.data_change=continue"))


def test_a_checkpoint_is_not_exported_with_the_tokenizer_of_other_data(small_recipe, tmp_path):
    folder, _ = pretrain(small_recipe(), ZERO2)
    moved = small_recipe(moved_store(small_recipe, tmp_path))
    with pytest.raises(CheckpointError, match=r"trained on data \w+, and data\.store now holds"):
        export_run(moved, folder, tmp_path / "model", None)
    assert not (tmp_path / "model").exists()


def test_a_checkpoint_from_before_an_accepted_change_of_data_is_exported(small_recipe, tmp_path):
    folder = cut_off(small_recipe, tmp_path)
    moved = small_recipe(moved_store(small_recipe, tmp_path), "--run.data_change=continue")
    pretrain(moved, ZERO2)
    model = export_run(moved, folder, tmp_path / "model", 4)
    older = read_progress(folder / "checkpoints" / "step-4").data_id
    assert json.loads((model / "alignmlm.json").read_text("utf-8"))["data_id"] == older


def test_weights_that_change_at_a_step_change_no_batch_before_it(small_recipe):
    change = '--languages.weight_changes=[{"step": 3, "weights": [1, 7]}]'
    plain, changed = (assemble(small_recipe(*more)).loader for more in ([], [change]))

    def hashed(loader, step):
        return make_batch(loader, batch_samples(loader, step, 8, 0, 1, 8)[0], TRAIN).hash()

    assert [hashed(plain, step) for step in range(3)] == [
        hashed(changed, step) for step in range(3)
    ]
    assert hashed(plain, 3) != hashed(changed, 3)


@pytest.mark.parametrize("steps", ["0", "-1"])
def test_a_change_at_no_step_is_refused(steps):
    change = f'--languages.weight_changes=[{{"step": {steps}, "weights": [1, 7]}}]'
    with pytest.raises(ConfigError, match="be at least 1"):
        load_recipe(None, [change])


def test_a_checkpoint_of_other_settings_and_the_same_data_names_the_settings():
    progress = Progress(4, 40, 1.5, "abc", 0, {"train.steps": 8})
    assert first_step_of(progress, "abc", {"train.steps": 8}, RunConfig()) == 0
    with pytest.raises(CheckpointError, match=r"train\.steps: 8 there, 9 here(.|\n)*--run\.data"):
        first_step_of(progress, "abc", {"train.steps": 9}, RunConfig())
    with pytest.raises(CheckpointError, match="data: 'abc' there, 'def' here"):
        first_step_of(progress, "def", {"train.steps": 8}, RunConfig())
