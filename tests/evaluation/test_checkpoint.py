"""Checkpoints without alignmlm.json: those of RoBERTa's, XLM-R's and BERT's shape."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from alignmlm.corpus.sample_world import plain_text, sample_documents
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import CheckpointError, ConfigError
from alignmlm.evaluation.evaluate import evaluate
from alignmlm.evaluation.evaluated_model import open_model
from alignmlm.evaluation.examples.pair_classification import numbered_pairs, pair_rows
from alignmlm.evaluation.examples.rendering import Trees, renderer_of, reorderer_of
from alignmlm.evaluation.fine_tuning.batches import collator_of
from alignmlm.evaluation.fine_tuning.training import classifier
from alignmlm.evaluation.settings import EvaluationConfig, FineTuneConfig, SyntaxConfig
from alignmlm.tasks.examples import SentencePair
from tests.evaluation.conftest import LANGUAGES
from tests.evaluation.shapes import write_checkpoint

QUICK = FineTuneConfig(epochs=1, learning_rate=5e-3, batch_rows=8)
BASE = LANGUAGES[0]


@pytest.fixture(scope="module", params=["roberta", "xlm-roberta", "bert"])
def checkpoint(request, tmp_path_factory):
    texts = [plain_text(s) for document in sample_documents(200) for s in document]
    return write_checkpoint(tmp_path_factory.mktemp(request.param), request.param, texts, 400, 64)


def test_a_checkpoint_has_the_languages_that_it_is_said_to_have(checkpoint):
    export = open_model(checkpoint, ["qaa-Latn", "fra-Latn"])
    assert (export.languages, export.seq_len) == (("qaa-Latn", "fra-Latn"), 64)
    assert export.vocabulary_size == load_tokenizer(checkpoint).get_vocab_size()


def test_a_first_word_has_the_tokens_of_any_other(checkpoint):
    tokenizer = load_tokenizer(checkpoint)
    alone, within = (
        tokenizer.encode(t, add_special_tokens=False).ids for t in ("dofor", "the dofor")
    )
    assert within[-len(alone) :] == alone


def test_a_pair_has_the_separators_and_segments_of_its_shape(checkpoint):
    export = open_model(checkpoint, [BASE])
    tokenizer = load_tokenizer(checkpoint)
    text = numbered_pairs(
        [SentencePair("the dofor", "every kiru", "no")], tokenizer, 3, BASE, ["no"]
    )
    renderer = renderer_of(export, BASE, reorderer_of(export, BASE, SyntaxConfig(), Trees()))
    (row,) = pair_rows(text, renderer, 64).examples
    bert = export.objective == "bert"
    assert row.input_ids.count(export.vocabulary.eos) == (2 if bert else 3)
    batch = collator_of(export)([row])
    assert ("token_type_ids" in batch) == bert
    if bert:
        assert batch["token_type_ids"][0].tolist() == [
            int(place >= row.second) for place in range(len(row.input_ids))
        ]


def test_a_checkpoint_without_languages_asks_for_them(checkpoint):
    with pytest.raises(ConfigError, match=r"evaluation\.languages.*name the languages"):
        open_model(checkpoint)
    with pytest.raises(ConfigError, match="be natural"):
        open_model(checkpoint, LANGUAGES)


@pytest.mark.parametrize("value", ["64", -1, 1.5, True])
def test_a_size_that_is_no_whole_number_is_an_error_that_names_it(checkpoint, tmp_path, value):
    shutil.copytree(checkpoint, tmp_path / "copy")
    path = tmp_path / "copy" / "config.json"
    config = json.loads(path.read_text("utf-8")) | {"max_position_embeddings": value}
    path.write_text(json.dumps(config), "utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json: max_position_embeddings must be"):
        open_model(tmp_path / "copy", [BASE])


def test_a_checkpoint_without_a_tokenizer_is_an_error_that_names_it(checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no tokenizer.*AutoTokenizer"):
        open_model(tmp_path / "copy", [BASE])


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match=r"neither alignmlm\.json nor config\.json"):
        open_model(tmp_path, [BASE])


def test_weights_that_can_run_code_are_refused(checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").rename(tmp_path / "copy" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="can run code"):
        open_model(tmp_path / "copy", [BASE])


def test_a_row_may_be_shortened_but_not_lengthened(checkpoint):
    assert open_model(checkpoint, [BASE], 32).seq_len == 32
    with pytest.raises(ConfigError, match=r"lie in \[16, 64\]"):
        open_model(checkpoint, [BASE], 65)


def test_a_monolingual_model_takes_a_derived_language_with_untrained_tokens(
    run_folder, toy_task, tmp_path
):
    alone = tmp_path / "export"
    shutil.copytree(run_folder / "export", alone)
    raw = json.loads((alone / "alignmlm.json").read_text("utf-8"))
    other = "qaa-Latn-x-inv-ovl50"
    export = open_model(alone, [other], None, "monolingual")
    assert export.languages == (*raw["languages"], other)
    model = classifier(export, "token_classification", ["a"], 0)
    assert model.get_input_embeddings().num_embeddings == export.vocabulary_size
    settings = EvaluationConfig(
        finetune=QUICK, languages=[other], targets=[other], baseline="monolingual"
    )
    found, _ = evaluate(alone, [str(toy_task.path)], settings, tmp_path / "out")
    assert found["model"]["objective"] == "align_mlm (monolingual)"
    assert f"toy@{other}" in found["results"]
    with pytest.raises(ConfigError, match="baseline be monolingual"):
        open_model(alone, [other])


def test_random_embeddings_are_the_same_for_every_seed_and_not_the_trained_ones(run_folder):
    export = replace(open_model(run_folder), baseline="random_embeddings")
    models = [classifier(export, "token_classification", ["a", "b"], seed) for seed in (0, 1)]
    weights = [model.get_input_embeddings().weight for model in models]
    trained = classifier(open_model(run_folder), "token_classification", ["a"], 0)
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(trained.get_input_embeddings().weight)


def changed_config(checkpoint: Path, folder: Path, **values: object) -> Path:
    shutil.copytree(checkpoint, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8")) | values
    path.write_text(json.dumps(config), "utf-8")
    return folder


@pytest.mark.parametrize("kind", ["mpnet", "camembert", "roberta-prelayernorm"])
@pytest.mark.parametrize("pad", [0, 1, 7])
def test_positions_up_to_that_of_padding_hold_no_token(checkpoint, tmp_path, kind, pad):
    values = {"model_type": kind, "pad_token_id": pad, "max_position_embeddings": 66}
    export = open_model(changed_config(checkpoint, tmp_path / "copy", **values), [BASE])
    assert (export.seq_len, export.separators) == (65 - pad, 2)


@pytest.mark.parametrize("pad", [None, "1", -1])
def test_positions_that_begin_nowhere_are_an_error_that_names_the_key(checkpoint, tmp_path, pad):
    values = {"model_type": "roberta", "pad_token_id": pad}
    folder = changed_config(checkpoint, tmp_path / "copy", **values)
    with pytest.raises(CheckpointError, match=r"config\.json: pad_token_id must be the id of"):
        open_model(folder, [BASE])


def test_a_checkpoint_with_too_few_positions_is_an_error(checkpoint, tmp_path):
    folder = changed_config(checkpoint, tmp_path / "copy", max_position_embeddings=9)
    with pytest.raises(CheckpointError, match=r"max_position_embeddings must be at least 1[68]"):
        open_model(folder, [BASE])
