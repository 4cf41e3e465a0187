from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from transformers import RobertaConfig, RobertaForMaskedLM

from alignmlm.artifacts.description import Description, write_description
from alignmlm.corpus.sample_world import plain_text, sample_documents
from alignmlm.data.tokenizer import describe, train_tokenizer
from alignmlm.evaluation.evaluated_model import Export, open_export
from alignmlm.languages.language import lay_out_scripts, parse_language

LANGUAGES = ["qaa-Latn", "qaa-Latn-x-inv-trans"]


def write_export(folder: Path, languages: list[str], token_types: int = 1) -> Path:
    folder.mkdir(parents=True)
    texts = [plain_text(s) for document in sample_documents(600) for s in document]
    tokenizer = train_tokenizer(texts, 500)
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = describe(tokenizer)
    scripts = lay_out_scripts([parse_language(n) for n in languages], vocabulary.alphabet(), 0)
    torch.manual_seed(0)
    shape = RobertaConfig(
        vocab_size=scripts.vocabulary_size,
        num_hidden_layers=1,
        hidden_size=64,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=vocabulary.pad + 1 + 24,
        type_vocab_size=token_types,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=vocabulary.pad,
    )
    RobertaForMaskedLM(shape).save_pretrained(folder)
    described = Description(
        objective="align_mlm", languages=languages, languages_seed=0, seq_len=24, step=600,
        vocabulary=asdict(vocabulary), data_id="0123456789abcdef",
        language_embeddings=token_types > 1,
    )  # fmt: skip
    write_description(folder, described)
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("run")
    write_export(run / "export", LANGUAGES)
    return run


@pytest.fixture(scope="session")
def export(run_folder) -> Export:
    return open_export(run_folder)
