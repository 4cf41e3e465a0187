"""Real runs in this process: DeepSpeed on one rank, eight steps."""

import ast
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoTokenizer

from alignmlm.commands.runs import export_command
from alignmlm.data.batches import batch_samples, make_batch
from alignmlm.data.store import TRAIN
from alignmlm.errors import CheckpointError, ConfigError, DataError
from alignmlm.pretraining.assembly import assemble
from alignmlm.pretraining.checkpoints import load_state
from alignmlm.pretraining.export import export_run, trained_model
from alignmlm.pretraining.run_folder import open_folder
from tests.runs import pretrain

ZERO2 = Path("ds_configs/zero2.json")
OBJECTIVES = {
    "mlm": ["--objective.name=mlm"],
    "tlm": ["--objective.name=tlm", "--objective.translation_rows=0.8"],
    "dict_mlm": ["--objective.name=dict_mlm"],
    "dict_mlm_translation": ["--objective.name=dict_mlm", "--objective.predict=translation"],
    "align_mlm": [],
    "align_mlm_l2": ["--objective.distance=l2"],
    "align_mlm_on_tlm": ["--objective.base=tlm"],
    "align_mlm_unified": ["--objective.output=unified"],
}


def metrics(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    return [row["train/loss_nats"] for row in metrics(folder) if "train/loss_nats" in row]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_objective_trains_validates_saves_and_exports(name, small_recipe):
    folder, summary = pretrain(small_recipe(*OBJECTIVES[name]), ZERO2)
    assert len(losses(folder)) == 8
    assert set(summary["validation_loss_nats"]) == {"qaa-Latn", "qaa-Latn-x-inv-trans"}
    assert summary["alignment_percent"]["held_out"] is not None
    assert (folder / "checkpoints" / "step-8" / "state.safetensors").is_file()
    assert (folder / "export" / "README.md").is_file()


def test_the_code_of_a_model_card_proposes_tokens_that_can_be_printed(
    small_recipe, tmp_path, capsys, caplog
):
    caplog.set_level("INFO")
    folder, _ = pretrain(small_recipe("--objective.name=mlm"), ZERO2)
    card = (folder / "export" / "README.md").read_text("utf-8")
    assert str(tmp_path) not in card
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(code.replace("path/to/this/folder", str(folder / "export")), {})
    proposed = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    assert len(proposed) == 5 and all(proposed)
    assert "validation after step 4: qaa-Latn " in caplog.text


def test_a_run_that_was_cut_off_repeats_the_losses_of_one_that_was_not(small_recipe, tmp_path):
    whole, _ = pretrain(
        small_recipe(f"--run.dir={tmp_path / 'whole'}", "--model.dropout=0.1"), ZERO2
    )
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    shutil.rmtree(cut / "checkpoints" / "step-8")
    for name in ("summary.json", "export"):
        shutil.rmtree(cut / name) if (cut / name).is_dir() else (cut / name).unlink()
    resumed, _ = pretrain(small_recipe(f"--run.dir={cut}", "--model.dropout=0.1"), ZERO2)
    assert losses(resumed) == losses(whole)
    a, b = (load_file(f / "checkpoints" / "step-8" / "state.safetensors") for f in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_accumulating_micro_batches_gives_the_same_losses(small_recipe, tmp_path):
    whole, _ = pretrain(small_recipe(f"--run.dir={tmp_path / 'a'}"), ZERO2)
    parts, _ = pretrain(small_recipe(f"--run.dir={tmp_path / 'b'}", "--train.micro_rows=2"), ZERO2)
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-5)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_bf16_follows_fp32_at_every_stage_and_resumes_exactly(small_recipe, tmp_path, stage):
    policy = Path(f"ds_configs/zero{stage}.json")
    exact, _ = pretrain(small_recipe(f"--run.dir={tmp_path / 'fp32'}"), policy)
    recipe = small_recipe(f"--run.dir={tmp_path / 'bf16'}", "--train.precision=bf16")
    rounded, _ = pretrain(recipe, policy)
    whole = losses(rounded)
    assert whole == pytest.approx(losses(exact), abs=0.02)
    assert whole != losses(exact)
    (rounded / "summary.json").unlink()
    shutil.rmtree(rounded / "checkpoints" / "step-8")
    assert losses(pretrain(recipe, policy)[0]) == whole


def test_the_export_gives_the_logits_of_the_trained_model(small_recipe):
    recipe = small_recipe()
    folder, _ = pretrain(recipe, ZERO2)
    assembly = assemble(recipe)
    loader = assembly.loader
    batch = make_batch(loader, batch_samples(loader, 3, 8, 0, 1, 8)[0], TRAIN)
    trained = trained_model(recipe, assembly, load_state(folder / "checkpoints" / "step-8"))
    exported = AutoModelForMaskedLM.from_pretrained(folder / "export").eval()
    with torch.no_grad():
        output = trained(batch)
        ours = torch.nn.functional.linear(output.hidden, output.weight, output.bias)
        theirs = exported(input_ids=batch.input_ids).logits.flatten(0, 1)[batch.masked]
    assert (ours - theirs).abs().max() < 1e-5


def test_the_exported_tokenizer_writes_what_the_shards_hold(small_recipe, small_store):
    folder, _ = pretrain(small_recipe(), ZERO2)
    tokenizer = AutoTokenizer.from_pretrained(folder / "export")
    loader = assemble(small_recipe()).loader
    text, _ = loader.splits[0][TRAIN].shards[0].sentences(0, 1)
    written = tokenizer(tokenizer.decode(text.ids))["input_ids"]
    assert written == [tokenizer.bos_token_id, *text.ids.tolist(), tokenizer.eos_token_id]
    assert tokenizer.mask_token == "<mask>"


def test_an_older_checkpoint_can_be_exported(small_recipe, tmp_path):
    recipe = small_recipe()
    folder, _ = pretrain(recipe, ZERO2)
    export_run(recipe, folder, tmp_path / "older", 4)
    about = json.loads((tmp_path / "older" / "alignmlm.json").read_text())
    assert about["step"] == 4
    with pytest.raises(CheckpointError, match=r"has checkpoints \[4, 8\], not 5"):
        export_run(recipe, folder, tmp_path / "other", 5)


def test_an_export_over_the_folder_where_one_stands_is_refused(small_recipe, tmp_path, monkeypatch):
    folder, _ = pretrain(small_recipe(), ZERO2)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ConfigError, match=r"output = .*here', but it must be new, or an export"):
        export_command([str(folder), "."])


def test_a_run_that_ends_where_it_was_cut_off_is_validated_there(small_recipe):
    recipe = small_recipe("--run.checkpoint_steps=3")
    folder, _ = pretrain(recipe, ZERO2)
    shutil.rmtree(folder / "checkpoints" / "step-8")
    (folder / "summary.json").unlink()
    shorter = ["--run.checkpoint_steps=3", "--train.steps=6", "--run.data_change=continue"]
    _, summary = pretrain(small_recipe(*shorter), ZERO2)
    assert summary["steps"] == 6
    assert all(0 < nats < 10 for nats in summary["validation_loss_nats"].values())
    assert "validation/loss_nats/qaa-Latn" in metrics(folder)[-1]


def test_a_finished_run_is_left_as_it_is(small_recipe):
    folder, first = pretrain(small_recipe(), ZERO2)
    before = (folder / "metrics.jsonl").read_bytes()
    assert pretrain(small_recipe(), ZERO2) == (folder, first)
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_a_folder_of_another_recipe_is_refused_with_what_differs(small_recipe):
    pretrain(small_recipe(), ZERO2)
    with pytest.raises(ConfigError, match=r"objective\.alpha: 10\.0 there, 3\.0 here"):
        pretrain(small_recipe("--objective.alpha=3"), ZERO2)


def test_a_folder_with_other_files_is_refused(small_recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match="in use"):
        pretrain(small_recipe(), ZERO2)
    assert (tmp_path / "run" / "thesis.tex").read_text() == "precious"


def test_a_folder_where_another_process_trains_is_refused(small_recipe, tmp_path):
    taken = pytest.raises(ConfigError, match="another process trains there")
    with open_folder(tmp_path / "run", small_recipe()), taken:
        pretrain(small_recipe(), ZERO2)


def test_resume_never_refuses_a_folder_with_a_run(small_recipe):
    pretrain(small_recipe(), ZERO2)
    with pytest.raises(ConfigError, match=r"run\.resume = never"):
        pretrain(small_recipe("--run.resume=never"), ZERO2)


def test_without_a_folder_an_unfinished_run_goes_on_and_a_finished_one_is_left(
    small_recipe, tmp_path, monkeypatch, small_store
):
    monkeypatch.chdir(tmp_path)
    policy = None
    recipe = small_recipe("--run.dir=null", "--run.name=x")
    first, _ = pretrain(recipe, policy)
    second, _ = pretrain(recipe, policy)
    assert (str(first), str(second)) == ("runs/x-1", "runs/x-2")
    (second / "summary.json").unlink()
    assert pretrain(recipe, policy)[0] == second


def test_an_objective_without_a_dictionary_says_what_gives_one(small_recipe):
    with pytest.raises(DataError, match="another script"):
        pretrain(small_recipe("--languages.ids=[qaa-Latn, qaa-Latn-x-inv]"), ZERO2)


def test_tlm_without_two_languages_of_one_base_is_refused(small_recipe):
    with pytest.raises(ConfigError, match="same text in both"):
        pretrain(small_recipe("--objective.name=tlm", "--languages.ids=[qaa-Latn]"), ZERO2)


def test_a_language_that_the_store_lacks_is_named(small_recipe):
    with pytest.raises(ConfigError, match=r"fra-Latn.*qaa-Latn"):
        pretrain(small_recipe("--languages.ids=[fra-Latn, fra-Latn-x-trans]"), ZERO2)


def test_a_diverging_run_stops_with_its_loss(small_recipe):
    from alignmlm.errors import AlignMLMError

    with pytest.raises(AlignMLMError, match="diverged"):
        pretrain(small_recipe("--optimizer.learning_rate=1e30", "--optimizer.clip_norm=0"), ZERO2)


def test_a_run_without_a_terminal_prints_its_first_and_last_step_and_one_line_in_30_s(
    small_recipe, caplog
):
    caplog.set_level("INFO")
    pretrain(small_recipe(), ZERO2)
    shown = re.findall(r"step (\d+)/8 · loss .* tokens/s", caplog.text)
    assert shown[0] == "1" and shown[-1] == "8"
    assert len(shown) < 8
    assert "validation after step 4: " in caplog.text
