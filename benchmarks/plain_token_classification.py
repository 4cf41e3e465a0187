"""Plain fine-tuning of a token classifier: transformers and datasets alone, as run_ner.py does it.

The checkpoint's own tokenizer, DataCollatorForTokenClassification, Trainer with its defaults, and
the first token of each word labelled. Of alignmlm only the reader of entity tags is imported here.
"""

import math
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sklearn.metrics import accuracy_score
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from alignmlm.tasks.spans import entities_of

UNSCORED = -100  # label of a position that is not the first of a word

Batch = dict[str, list[Any]]
Tokens = dict[int, tuple[int, ...]]  # of the words of a sentence, by their places in it


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """AdamW with linear warm-up and decay."""

    epochs: int
    learning_rate: float  # the highest one
    warmup: float  # share of all steps
    weight_decay: float
    batch_rows: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """Sentences as one side's tokenizer writes them, with special tokens."""

    ids: list[list[int]]
    words: list[list[int | None]]  # which word each token is of


Encode = Callable[[PreTrainedTokenizerBase, Batch, bool], Encoded]  # True: at most one row's tokens


def encode_words(tokenizer: PreTrainedTokenizerBase, batch: Batch, cut: bool) -> Encoded:
    """Sentences given word by word."""
    found = tokenizer(batch["words"], is_split_into_words=True, truncation=cut, verbose=False)
    return Encoded(found["input_ids"], [found.word_ids(row) for row in range(len(batch["words"]))])


def running_text(words: Sequence[str], joined: Sequence[bool]) -> tuple[str, list[int]]:
    """A sentence as text, and where each of its words begins."""
    spaces = [0, *(not at for at in joined[1:])]
    pieces = [" " * space + word for space, word in zip(spaces, words, strict=True)]
    ends = accumulate(map(len, pieces))
    return "".join(pieces), [end - len(word) for end, word in zip(ends, words, strict=True)]


def words_at(text: str, starts: Sequence[int], spans: Sequence[Sequence[int]]) -> list[int | None]:
    """The word that each token begins in; None for special tokens, which stand nowhere."""
    found: list[int | None] = []
    for start, stop in spans:
        blanks = len(text[start:]) - len(text[start:].lstrip())
        found.append(bisect_right(starts, start + blanks) - 1 if stop > start else None)
    return found


def encode_text(tokenizer: PreTrainedTokenizerBase, batch: Batch, cut: bool) -> Encoded:
    """Sentences given as running text."""
    texts = [running_text(*pair) for pair in zip(batch["words"], batch["joined"], strict=True)]
    found = tokenizer(
        [text for text, _ in texts], truncation=cut, return_offsets_mapping=True, verbose=False
    )
    spans = zip(texts, found["offset_mapping"], strict=True)
    return Encoded(found["input_ids"], [words_at(*text, each) for text, each in spans])


ENCODINGS: dict[str, Encode] = {"words": encode_words, "offsets": encode_text}


def first_labels(words: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """The label of each word at its first token."""
    before = [None, *words[:-1]]
    return [
        UNSCORED if word is None or word == last else labels[word]
        for word, last in zip(words, before, strict=True)
    ]


def word_tokens(encoded: Encoded) -> list[Tokens]:
    """The tokens of each word of each sentence; a word that has none is left out."""
    found: list[Tokens] = []
    for ids, words in zip(encoded.ids, encoded.words, strict=True):
        tokens: Tokens = {}
        for token, word in zip(ids, words, strict=True):
            if word is not None:
                tokens[word] = (*tokens.get(word, ()), token)
        found.append(tokens)
    return found


def labelled_rows(
    sentences: Dataset, tokenizer: PreTrainedTokenizerBase, encode: Encode, names: list[str]
) -> Dataset:
    """Sentences as token ids and labels, cut to the longest row of the model."""
    number = {name: place for place, name in enumerate(names)}

    def rows(batch: Batch) -> Batch:
        encoded = encode(tokenizer, batch, True)
        labels = [[number[label] for label in labels] for labels in batch["labels"]]
        placed = [first_labels(*pair) for pair in zip(encoded.words, labels, strict=True)]
        attention = [[1] * len(ids) for ids in encoded.ids]
        return {"input_ids": encoded.ids, "attention_mask": attention, "labels": placed}

    return sentences.map(rows, batched=True, remove_columns=sentences.column_names)


def accuracy(golds: list[list[str]], founds: list[list[str]]) -> float:
    """Share of the words of all sentences whose labels are right."""
    return float(accuracy_score([*chain(*golds)], [*chain(*founds)]))


def entity_f1(golds: list[list[str]], founds: list[list[str]]) -> float:
    """F1 of the entities of all sentences."""
    pairs = [
        (entities_of(gold), entities_of(found)) for gold, found in zip(golds, founds, strict=True)
    ]
    total = sum(len(gold) + len(found) for gold, found in pairs)
    return 2 * sum(len(gold & found) for gold, found in pairs) / max(total, 1)


def metrics_of(metric: str, names: list[str]) -> Callable[[EvalPrediction], dict[str, float]]:
    """What scores predictions at the first tokens of words, in percent."""
    score = entity_f1 if metric == "entity_f1" else accuracy

    def metrics(given: EvalPrediction) -> dict[str, float]:
        pairs = list(zip(given.label_ids, given.predictions.argmax(axis=-1), strict=True))
        golds, founds = (
            [[names[n] for n in pair[at][pair[0] != UNSCORED]] for pair in pairs] for at in (0, 1)
        )
        return {"score_percent": 100 * score(golds, founds)}

    return metrics


@dataclass(frozen=True, slots=True)
class Plain:
    """A checkpoint's tokenizer and two splits as it writes them."""

    folder: Path  # of the checkpoint
    names: list[str]  # of labels, by number
    tokenizer: PreTrainedTokenizerBase
    train: Dataset
    test: Dataset
    test_tokens: list[Tokens]  # of each test sentence, however long

    @property
    def scored_words(self) -> int:
        """Words of the test split that lie within the longest row."""
        return sum(label != UNSCORED for labels in self.test["labels"] for label in labels)


def prepared(folder: Path, train: Dataset, test: Dataset, names: list[str], form: str) -> Plain:
    """Two splits with the columns words, labels and joined, as one of ENCODINGS writes them."""
    encode = ENCODINGS[form]
    tokenizer = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
    rows = [labelled_rows(split, tokenizer, encode, names) for split in (train, test)]
    whole = word_tokens(encode(tokenizer, test[:], False))
    return Plain(folder, names, tokenizer, *rows, whole)


def arguments_of(settings: Settings, rows: int, seed: int, folder: str) -> TrainingArguments:
    """The settings for Trainer; what they do not name is left at its default."""
    steps = settings.epochs * math.ceil(rows / settings.batch_rows)
    return TrainingArguments(
        output_dir=folder,
        seed=seed,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=round(settings.warmup * steps),
        per_device_train_batch_size=settings.batch_rows,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def new_classifier(plain: Plain, seed: int) -> PreTrainedModel:
    """The checkpoint below a new layer over the labels, random from the seed."""
    set_seed(seed)
    number = {name: place for place, name in enumerate(plain.names)}
    return AutoModelForTokenClassification.from_pretrained(
        plain.folder, id2label=dict(enumerate(plain.names)), label2id=number
    )


def trained_score_percent(plain: Plain, settings: Settings, metric: str, seed: int) -> float:
    """The score on the test split after training; metric is accuracy or entity_f1."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=new_classifier(plain, seed),
            args=arguments_of(settings, len(plain.train), seed, folder),
            train_dataset=plain.train,
            data_collator=DataCollatorForTokenClassification(plain.tokenizer),
            processing_class=plain.tokenizer,
            compute_metrics=metrics_of(metric, plain.names),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return float(trainer.evaluate(plain.test)["eval_score_percent"])
