"""Retrieval without fine-tuning: translations of sentences at every layer, and of words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from alignmlm.data.tokenizer import encode_words
from alignmlm.errors import ConfigError
from alignmlm.evaluation.evaluated_model import Export
from alignmlm.evaluation.examples.pair_classification import token_texts
from alignmlm.evaluation.examples.rendering import Trees, renderer_of, reorderer_of
from alignmlm.evaluation.examples.words import text_words
from alignmlm.evaluation.scores.scoring import Retrieved, Sample
from alignmlm.evaluation.settings import SyntaxConfig
from alignmlm.languages.dictionary import Word, from_pairs
from alignmlm.languages.language import base_of
from alignmlm.probes.encoder import ProbeRow, layer_vectors, token_embedding
from alignmlm.probes.neighbours import nearest, units
from alignmlm.probes.probe import retrieval_metrics
from alignmlm.probes.words import Questions, unit_vectors, word_metrics, word_probe
from alignmlm.tasks.examples import ParallelPair, WordPair, doc_hash, document_of

LAYER_SHARE = 2 / 3  # of the layers: XTREME takes layer 8 of 12


Found = tuple[Retrieved, list[Sample]]  # the scores of one pair of languages, and every answer


def text_rows(
    export: Export,
    language: str,
    texts: Sequence[str],
    tokenizer: Tokenizer,
    tools: tuple[SyntaxConfig, Trees],
) -> tuple[list[ProbeRow], dict[str, int]]:
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
        rows.append(ProbeRow(row, ((1, len(row) - 1),), number))
    return rows, dict(counts)


def sentence_retrieval(
    export: Export,
    model: PreTrainedModel,
    languages: tuple[str, str],
    splits: dict[str, Sequence[ParallelPair]],
    tokenizer: Tokenizer,
    tools: tuple[SyntaxConfig, Trees],
) -> Found:
    """Retrieve each sentence's translation among all, by mean vectors of tokens at each layer.

    Source: Hu et al., 2020 (XTREME, arXiv:2003.11080), section 3.3 (Tatoeba).
    """
    pairs = splits["test"]
    texts = [pair.source for pair in pairs], [pair.target for pair in pairs]
    sides = [
        text_rows(export, language, side, tokenizer, tools)
        for language, side in zip(languages, texts, strict=True)
    ]
    vectors = [layer_vectors(model, rows) for rows, _ in sides]
    by_layer = [retrieval_metrics(one, two) for one, two in zip(*vectors, strict=True)]
    layer = round(LAYER_SHARE * (len(by_layer) - 1))
    result = Retrieved(
        source=languages[0],
        target=languages[1],
        percent=by_layer[layer]["forward/cosine_p1_percent"],
        layer=layer,
        items=len(pairs),
        metrics={
            f"layer_{number}/{key}": value
            for number, part in enumerate(by_layer)
            for key, value in part.items()
        },
        counts=dict(Counter(sides[0][1]) + Counter(sides[1][1])),
    )
    places = nearest(*(units(side[layer]) for side in vectors)).tolist()
    samples = [
        sample(document_of(pair, number), [pair.target], texts[1][place], place == number)
        for number, (pair, place) in enumerate(zip(pairs, places, strict=True))
    ]
    return result, samples


def sample(document: tuple[str, str], right: list[str], given: str, correct: bool) -> Sample:
    """What was retrieved for one example."""
    return Sample(
        seed=0, arm="retrieved", doc_id=document[0], doc_hash=document[1], target=right,
        filtered_resps=[given], gained=float(correct), possible=1.0,
    )  # fmt: skip


def ids_of(export: Export, language: str, words: list[str], tokenizer: Tokenizer) -> list[Word]:
    """The model's ids of each word in a language."""
    table = export.script_tables()[export.number_of(language)]
    return [tuple(table[list(word)].tolist()) for word in encode_words(tokenizer, words)]


@dataclass(frozen=True, slots=True)
class WordIds:
    """Usable word pairs, as ids and as text."""

    ids: list[tuple[Word, Word]]
    words: list[WordPair]
    counts: dict[str, int]  # of what was left out


def word_ids(
    export: Export, languages: tuple[str, str], pairs: Sequence[WordPair], tokenizer: Tokenizer
) -> WordIds:
    """Pairs as ids; those without tokens, and those of the same ids on both sides, left out."""
    sides = [
        ids_of(export, language, [getattr(pair, side) for pair in pairs], tokenizer)
        for language, side in zip(languages, ("source", "target"), strict=True)
    ]
    counts = {"pairs_without_tokens": 0, "pairs_of_the_same_tokens": 0}
    usable = WordIds([], [], counts)
    for source, target, pair in zip(*sides, pairs, strict=True):
        if not source or not target:
            counts["pairs_without_tokens"] += 1
        elif source == target:
            counts["pairs_of_the_same_tokens"] += 1
        else:
            usable.ids.append((source, target))
            usable.words.append(pair)
    return usable


@torch.no_grad()
def lexicon_induction(
    export: Export,
    model: PreTrainedModel,
    languages: tuple[str, str],
    splits: dict[str, Sequence[WordPair]],
    tokenizer: Tokenizer,
    tools: tuple[SyntaxConfig, Trees],
) -> Found:
    """Retrieve each test word's translation among the words of all splits, by word embeddings.

    A word of several tokens has their mean. Source: Conneau et al., 2018 (MUSE,
    arXiv:1710.04087), section 3.1.

    Raises:
        ConfigError: no pair is left.
    """
    asked = word_ids(export, languages, splits["test"], tokenizer)
    everything = [pair for part in splits.values() for pair in part]
    every = word_ids(export, languages, everything, tokenizer)
    if not asked.ids:
        requirement = "have different tokens in the two languages"
        raise ConfigError(f"word pairs of {' and '.join(languages)}", asked.counts, requirement)
    probe, embedding = (
        word_probe(from_pairs(asked.ids), from_pairs(every.ids)),
        token_embedding(model),
    )
    metrics: dict[str, Any] = word_metrics(embedding, probe)
    shared = sum(bool(set(one) & set(two)) for one, two in asked.ids)
    result = Retrieved(
        source=languages[0],
        target=languages[1],
        percent=metrics["forward/cosine_p1_percent"],
        layer=None,
        items=int(metrics["forward/words"]),
        metrics=metrics,
        counts={
            **asked.counts,
            "pairs_that_share_a_token": shared,
            "candidate_words": len(probe.forward.candidates),
        },
    )
    return result, word_samples(embedding, probe.forward, asked, every)


def word_samples(
    embedding: Float[Tensor, "vocab hidden"], asked: Questions, pairs: WordIds, every: WordIds
) -> list[Sample]:
    """A sample for each word asked for: the nearest candidate, and all its translations."""
    sides = [unit_vectors(embedding, words) for words in (asked.sources, asked.candidates)]
    sources = {ids[0]: pair.source for ids, pair in zip(pairs.ids, pairs.words, strict=True)}
    targets = {ids[1]: pair.target for ids, pair in zip(every.ids, every.words, strict=True)}
    texts = [targets[word] for word in asked.candidates]
    samples = []
    places = nearest(*sides).tolist()
    for ids, place, right in zip(asked.sources, places, asked.answers, strict=True):
        word, translations = sources[ids], [texts[number] for number in sorted(right)]
        document = word, doc_hash("\n".join([word, *translations]))
        samples.append(sample(document, translations, texts[place], place in right))
    return samples
