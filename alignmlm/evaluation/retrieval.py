"""Retrieval without fine-tuning: translations of sentences at every layer, and of words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from alignmlm.data.tokenizer import encode_words
from alignmlm.errors import ConfigError
from alignmlm.evaluation.directions import base_of
from alignmlm.evaluation.export import Export
from alignmlm.evaluation.pair_rows import token_texts
from alignmlm.evaluation.rendering import renderer_of, reorderer_of
from alignmlm.evaluation.reordering import SyntaxConfig, Trees
from alignmlm.evaluation.running_text import text_words
from alignmlm.languages.dictionary import Word, from_pairs
from alignmlm.probes.encoder import Row, layer_vectors, token_embedding
from alignmlm.probes.probe import retrieval_metrics
from alignmlm.probes.words import word_metrics, word_probe
from alignmlm.tasks.examples import ParallelPair, WordPair
from alignmlm.tasks.task import Task

LAYER_SHARE = 2 / 3  # of the layers: XTREME takes layer 8 of 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieved:
    """What one pair of languages scored; `percent` is the task's number."""

    source: str
    target: str
    percent: float  # P@1 by cosine from source to target
    layer: int | None  # whose vectors; none: word embeddings
    items: int  # asked for
    metrics: dict[str, float | int]  # both ways, by cosine, CSLS and margin, of all layers
    counts: dict[str, int]


def language_pairs(export: Export, task: Task) -> list[tuple[str, str]]:
    """The model's languages of either side of a task, each with each.

    Raises:
        ConfigError: the model has none of one side.
    """
    sides = [
        [name for name in export.languages if base_of(name) == base]
        for base in (task.language, task.other_language)
    ]
    for base, found in zip((task.language, task.other_language), sides, strict=True):
        if not found:
            must = f"hold {base}, or a language made from it, for task {task.name}"
            raise ConfigError(f"languages of {export.path}", list(export.languages), must)
    return [(source, target) for source, target in product(*sides)]


def text_rows(
    export: Export,
    language: str,
    texts: Sequence[str],
    tokenizer: Tokenizer,
    tools: tuple[SyntaxConfig, Trees],
) -> tuple[list[Row], dict[str, int]]:
    """A row for each text in a language, whose span is all but <s> and </s>, and what was cut."""
    renderer = renderer_of(export, language, reorderer_of(export, language, *tools))
    counts: Counter[str] = Counter({"texts_too_long": 0})
    words = [text_words(text, base_of(language)) for text in texts]
    room, vocabulary, rows = export.seq_len - 2, export.vocabulary, []
    for text in token_texts(words, tokenizer, vocabulary.unk):
        ids = text.shown(renderer, counts) or [vocabulary.unk]
        counts["texts_too_long"] += len(ids) > room
        row = (vocabulary.bos, *ids[:room], vocabulary.eos)
        number = renderer.number if export.language_embeddings else 0
        rows.append(Row(row, ((1, len(row) - 1),), number))
    return rows, dict(counts)


def sentence_retrieval(
    export: Export,
    model: PreTrainedModel,
    task: Task,
    pairs: Sequence[ParallelPair],
    tokenizer: Tokenizer,
    tools: tuple[SyntaxConfig, Trees],
) -> list[Retrieved]:
    """Each sentence's translation among all of them: mean vectors of its tokens at each layer.

    Source: Hu et al., 2020 (XTREME, arXiv:2003.11080), section 3.3 (Tatoeba).
    """
    found = []
    for source, target in language_pairs(export, task):
        sides = [
            text_rows(export, language, texts, tokenizer, tools)
            for language, texts in (
                (source, [pair.source for pair in pairs]),
                (target, [pair.target for pair in pairs]),
            )
        ]
        vectors = [layer_vectors(model, rows) for rows, _ in sides]
        by_layer = [retrieval_metrics(one, two) for one, two in zip(*vectors, strict=True)]
        layer = round(LAYER_SHARE * (len(by_layer) - 1))
        metrics = {
            f"layer_{number}/{key}": value
            for number, part in enumerate(by_layer)
            for key, value in part.items()
        }
        counts = Counter(sides[0][1]) + Counter(sides[1][1])
        percent = by_layer[layer]["forward/cosine_p1_percent"]
        found.append(
            Retrieved(
                source=source,
                target=target,
                percent=percent,
                layer=layer,
                items=len(pairs),
                metrics=metrics,
                counts=dict(counts),
            )
        )
    return found


def ids_of(export: Export, language: str, words: list[str], tokenizer: Tokenizer) -> list[Word]:
    """The model's ids of each word in a language."""
    table = export.script_tables()[export.number_of(language)]
    return [tuple(table[list(word)].tolist()) for word in encode_words(tokenizer, words)]


def word_ids(
    export: Export, languages: tuple[str, str], pairs: Sequence[WordPair], tokenizer: Tokenizer
) -> tuple[list[tuple[Word, Word]], dict[str, int]]:
    """Pairs as ids; those without tokens, and those of the same ids on both sides, left out."""
    sides = [
        ids_of(export, language, [getattr(pair, side) for pair in pairs], tokenizer)
        for language, side in zip(languages, ("source", "target"), strict=True)
    ]
    counts = {"pairs_without_tokens": 0, "pairs_of_the_same_tokens": 0}
    kept = []
    for source, target in zip(*sides, strict=True):
        if not source or not target:
            counts["pairs_without_tokens"] += 1
        elif source == target:
            counts["pairs_of_the_same_tokens"] += 1
        else:
            kept.append((source, target))
    return kept, counts


@torch.no_grad()
def lexicon_induction(
    export: Export,
    model: PreTrainedModel,
    task: Task,
    splits: dict[str, Sequence[WordPair]],
    tokenizer: Tokenizer,
) -> list[Retrieved]:
    """Each test word's translation among the words of all splits, by word embeddings.

    A word of several tokens has their mean. Source: Conneau et al., 2018 (MUSE,
    arXiv:1710.04087), section 3.1.

    Raises:
        ConfigError: no pair is left, or the model lacks one side's language.
    """
    found = []
    for languages in language_pairs(export, task):
        asked, counts = word_ids(export, languages, splits["test"], tokenizer)
        everything = [pair for part in splits.values() for pair in part]
        every, _ = word_ids(export, languages, everything, tokenizer)
        if not asked:
            must = "have different tokens in the two languages"
            raise ConfigError(f"pairs of task {task.name}", counts, must)
        probe = word_probe(from_pairs(asked), from_pairs(every))
        metrics: dict[str, Any] = word_metrics(token_embedding(model), probe)
        found.append(
            Retrieved(
                source=languages[0],
                target=languages[1],
                percent=metrics["forward/cosine_p1_percent"],
                layer=None,
                items=int(metrics["forward/words"]),
                metrics=metrics,
                counts=counts,
            )
        )
    return found
