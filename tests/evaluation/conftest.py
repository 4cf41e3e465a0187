import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch
from transformers import RobertaConfig, RobertaForMaskedLM

from alignmlm.corpus.sample_world import plain_text, sample_documents
from alignmlm.data.tokenizer import describe, train_tokenizer
from alignmlm.evaluation.export import Export, open_export
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
    described = {
        "schema_version": 1, "objective": "align_mlm", "languages": languages, "languages_seed": 0,
        "vocabulary": asdict(vocabulary), "seq_len": 24, "step": 600, "data_id": "0123456789abcdef",
        "language_embeddings": token_types > 1,
    }  # fmt: skip
    (folder / "alignmlm.json").write_text(json.dumps(described), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("run")
    write_export(run / "export", LANGUAGES)
    return run


@pytest.fixture(scope="session")
def export(run_folder) -> Export:
    return open_export(run_folder)


def conllu(sentences: list[str]) -> str:
    """Sentences such as "the/DET dog/NOUN" as CoNLL-U; a word after "+" is joined to the last."""
    blocks = []
    for sentence in sentences:
        lines = []
        words = sentence.split()
        for i, word in enumerate(words, start=1):
            form, tag = word.lstrip("+").rsplit("/", 1)
            misc = "SpaceAfter=No" if words[i : i + 1] and words[i].startswith("+") else "_"
            lines.append("\t".join([str(i), form, form, tag, *"____", "_", misc]))
        blocks.append("\n".join(lines) + "\n\n")
    return "".join(blocks)


@dataclass(frozen=True)
class ToyTask:
    path: Path  # of the YAML
    sentences: list[str]


@pytest.fixture(scope="session")
def toy_task(tmp_path_factory) -> ToyTask:
    folder = tmp_path_factory.mktemp("task")
    nouns, verbs = ("dofor", "mima", "vustut", "kiru"), ("drofa", "lutek", "pife", "kewor")
    sentences = [
        f"the/DET {noun}/NOUN {verb}/VERB every/DET {other}/NOUN +./PUNCT"
        for noun in nouns for verb in verbs for other in nouns
    ]  # fmt: skip
    splits = {"train": sentences[::2], "dev": sentences[1::4], "test": sentences[3::4]}
    for split, chosen in splits.items():
        (folder / f"{split}.conllu").write_text(conllu(chosen), encoding="utf-8")
    files = "".join(f"  {split}: {folder / split}.conllu\n" for split in splits)
    text = "name: toy\nversion: 1\nkind: token_classification\nmetric: accuracy\n"
    text += f"form: conllu_upos\nlanguage: qaa-Latn\nfiles:\n{files}"
    (folder / "toy.yaml").write_text(text, encoding="utf-8")
    return ToyTask(folder / "toy.yaml", sentences)
