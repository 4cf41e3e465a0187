"""Checkpoints of public shapes with random weights: what `alignmlm eval` is given by strangers."""

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

ROBERTA = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
BERT = {"bos": "[CLS]", "pad": "[PAD]", "eos": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}


def roberta_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """Byte-level BPE without a space before the first word, as roberta-base has it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = list(ROBERTA.values())
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    return tokenizer


def xlmr_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """Unigram with a mark in place of spaces, as xlm-roberta-base has it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = list(ROBERTA.values())
    tokenizer.train_from_iterator(
        texts,
        trainers.UnigramTrainer(
            vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False
        ),
    )
    return tokenizer


def bert_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """WordPiece of lower-case text, as bert-base-multilingual-uncased has it."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = list(BERT.values())
    tokenizer.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False),
    )
    return tokenizer


TOKENIZERS = {"roberta": roberta_tokenizer, "xlm-roberta": xlmr_tokenizer, "bert": bert_tokenizer}
MODELS = {
    "roberta": (RobertaConfig, RobertaForMaskedLM),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaForMaskedLM),
    "bert": (BertConfig, BertForMaskedLM),
}


def write_checkpoint(
    folder: Path, shape: str, texts: Iterable[str], size: int = 2000, tokens: int = 128
) -> Path:
    """A folder as save_pretrained leaves it: two layers of width 128, random weights."""
    names = BERT if shape == "bert" else ROBERTA
    tokenizer = TOKENIZERS[shape](texts, size)
    ids = {role: tokenizer.token_to_id(name) for role, name in names.items()}
    bos, eos = names["bos"], names["eos"]
    double = "" if shape == "bert" else f" {eos}"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos}{double} $B {eos}",
        special_tokens=[(bos, ids["bos"]), (eos, ids["eos"])],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token=bos,
        sep_token=eos,
        **{f"{role}_token": name for role, name in names.items()},
    ).save_pretrained(folder)
    config, model = MODELS[shape]
    torch.manual_seed(0)
    model(
        config(
            vocab_size=tokenizer.get_vocab_size(),
            num_hidden_layers=2,
            hidden_size=128,
            num_attention_heads=2,
            intermediate_size=512,
            max_position_embeddings=tokens + (0 if shape == "bert" else 2),
            type_vocab_size=2 if shape == "bert" else 1,
            pad_token_id=ids["pad"],
            bos_token_id=ids["bos"],
            eos_token_id=ids["eos"],
        )
    ).save_pretrained(folder)
    return folder
