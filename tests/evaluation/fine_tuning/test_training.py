import logging
import re
from dataclasses import replace

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForTokenClassification,
    ModernBertConfig,
    RobertaConfig,
    RobertaForMaskedLM,
)

from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.evaluated_model import open_export
from alignmlm.evaluation.examples.rendering import IGNORED, Example
from alignmlm.evaluation.fine_tuning import training
from alignmlm.evaluation.fine_tuning.batches import collator_of
from alignmlm.evaluation.fine_tuning.training import fine_tune, scored_split, task_data
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig
from alignmlm.models.layers import freeze
from alignmlm.tasks.task import load_task, read_examples
from tests.evaluation.conftest import LANGUAGES, write_export

QUICK = FineTuneConfig(epochs=6, learning_rate=5e-3, batch_rows=8)


def data_of(export, toy_task):
    read = read_examples(load_task(str(toy_task.path)), toy_task.path.parent)
    return task_data(export, read, read, EvaluationConfig())["toy"]


def tuned(export, toy_task, seed=0):
    data = data_of(export, toy_task)
    model = fine_tune(data, LANGUAGES[0], QUICK, seed)
    return model, scored_split(model, data, LANGUAGES[0], "test", 8).percent


def test_fine_tuning_beats_chance_and_is_repeatable(export, toy_task, capfd):
    first, accuracy = tuned(export, toy_task)
    assert capfd.readouterr() == ("", "")
    second, again = tuned(export, toy_task)
    assert accuracy > 90
    assert accuracy == again
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_each_epoch_tells_the_time_left(export, toy_task, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(training, "LINE_S", 0.0)
    quick = replace(QUICK, epochs=2, group_by_length=False)
    fine_tune(data_of(export, toy_task), LANGUAGES[0], quick, 0)
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    pattern = re.compile(r"epoch (\d) of 2, step (\d)/8 · \d+:\d\d left")
    steps = [tuple(map(int, pattern.fullmatch(line).groups())) for line in lines]
    assert steps == [(1, 1), (1, 2), (1, 3), (1, 4), (1, 4), (2, 5), (2, 6), (2, 7), (2, 8), (2, 8)]
    assert lines[-1].endswith("· 0:00 left")


def test_a_batch_is_as_long_as_its_longest_example_and_padding_is_not_scored(export):
    examples = [
        Example([0, 7, 2], [IGNORED, 1, IGNORED], 0),
        Example([0, 7, 8, 2], [IGNORED] * 4, 0),
    ]
    batch = collator_of(export)(examples)
    assert batch["input_ids"].tolist() == [[0, 7, 2, export.vocabulary.pad], [0, 7, 8, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["labels"][0].tolist() == [IGNORED, 1, IGNORED, IGNORED]
    assert "token_type_ids" not in batch


def test_batches_to_train_on_have_lengths_in_steps_but_none_beyond_the_longest_row(export):
    def width(length):
        rows = [Example([0] + [7] * (length - 2) + [2], [IGNORED] * length, 0)]
        batch = collator_of(export, 8)(rows)
        assert batch["attention_mask"].sum() == length
        assert (batch["labels"] == IGNORED).all()
        return batch["input_ids"].shape[1]

    assert [width(length) for length in (3, 8, 9)] == [8, 8, 16]
    assert width(export.seq_len) == export.seq_len
    assert width(export.seq_len - 1) == min(-(-(export.seq_len - 1) // 8) * 8, export.seq_len)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fine_tuning_leaves_a_model_that_predicts_in_fp32(export, toy_task, precision):
    data = data_of(export, toy_task)
    model = fine_tune(data, LANGUAGES[0], replace(QUICK, precision=precision), 0)
    assert model.config._attn_implementation == "sdpa"
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    batch = collator_of(export)(data.rendered(LANGUAGES[0], "test").examples[:2])
    assert model(**batch).logits.dtype == torch.float32
    assert scored_split(model, data, LANGUAGES[0], "test", 8).percent > 90


@pytest.mark.parametrize("config", [RobertaConfig, ModernBertConfig])
@pytest.mark.parametrize(("part", "moved"), [("embeddings", 4), ("lower_half", 2)])
def test_what_is_frozen_keeps_its_values(config, part, moved):
    shape = config(vocab_size=60, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
                   intermediate_size=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                   cls_token_id=1, sep_token_id=2)  # fmt: skip
    model = AutoModelForTokenClassification.from_config(shape)
    freeze(model, "none")
    assert all(parameter.requires_grad for parameter in model.parameters())
    freeze(model, part)
    encoder = model.base_model
    layers = encoder.layers if config is ModernBertConfig else encoder.encoder.layer
    learning = [all(p.requires_grad for p in layer.parameters()) for layer in layers]
    assert learning == [number >= 4 - moved for number in range(4)]
    assert not any(parameter.requires_grad for parameter in encoder.embeddings.parameters())
    assert all(parameter.requires_grad for parameter in model.classifier.parameters())


def test_frozen_embeddings_are_those_of_the_export_after_fine_tuning(export, toy_task):
    data = data_of(export, toy_task)
    model = fine_tune(data, LANGUAGES[0], replace(QUICK, frozen="embeddings"), 0)
    before = RobertaForMaskedLM.from_pretrained(export.path).roberta.embeddings.state_dict()
    after = model.roberta.embeddings.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert scored_split(model, data, LANGUAGES[0], "test", 8).percent > 60


def test_layers_that_are_not_known_cannot_be_frozen():
    shape = AlbertConfig(vocab_size=60, hidden_size=16, num_attention_heads=2,
                         num_hidden_layers=3, intermediate_size=16, embedding_size=8)  # fmt: skip
    model = AutoModelForTokenClassification.from_config(shape)
    with pytest.raises(ConfigError, match=r"evaluation\.finetune\.frozen.*no list of its layers"):
        freeze(model, "lower_half")


def test_a_model_with_language_embeddings_is_told_the_language(tmp_path, toy_task):
    export = open_export(write_export(tmp_path / "export", LANGUAGES, token_types=2))
    data = data_of(export, toy_task)
    fine_tune(data, LANGUAGES[1], FineTuneConfig(epochs=1), 0)
    rows = [data.rendered(language, "test").examples[0] for language in LANGUAGES]
    width = len(rows[0].input_ids)
    assert collator_of(export)(rows)["token_type_ids"].tolist() == [[0] * width, [1] * width]
    assert load_tokenizer(export.path).get_vocab_size() == export.vocabulary.size


def test_a_model_that_diverged_has_no_score(export, toy_task):
    data = data_of(export, toy_task)
    model = fine_tune(data, LANGUAGES[0], FineTuneConfig(epochs=1), 0)
    torch.nn.init.constant_(model.classifier.bias, torch.nan)
    with pytest.raises(DataError, match=r"fine-tuning has diverged.*lower evaluation\.finetune"):
        scored_split(model, data, LANGUAGES[0], "test", 8)
