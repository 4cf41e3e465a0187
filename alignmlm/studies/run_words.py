"""Words of a run over checkpoints, their nearest neighbours and a map of them: words.json.

The vectors are the rows of the input embedding, as they are. Words are spread over the dictionary
by frequency; half of them are given to training and half held out, where there are enough of both.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor

from alignmlm.artifacts.names import WORDS
from alignmlm.corpus.token_bounds import decoder_kinds, surface_of
from alignmlm.data.inspect import base_of
from alignmlm.data.store import TOKENIZER
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.languages.dictionary import Word, merged
from alignmlm.languages.language import lay_out_scripts
from alignmlm.pretraining.assembly import Assembly, LanguagePair, assemble
from alignmlm.pretraining.checkpoints import (
    CHECKPOINTS,
    MANIFEST,
    load_state,
    read_progress,
    saved_steps,
)
from alignmlm.pretraining.export import trained_model
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_folder import check_store
from alignmlm.probes.encoder import token_embedding
from alignmlm.probes.neighbours import (
    Answers,
    Neighbourhoods,
    answers_of,
    csls,
    nearest_mean,
    neighbourhood_means,
    ranks,
)
from alignmlm.probes.principal_plane import Plane, principal_plane
from alignmlm.probes.words import (
    CSLS_NEIGHBOURS,
    Questions,
    asked_bands,
    questions,
    spread,
    unit_vectors,
)
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.checksums import file_xxh3
from alignmlm.storage.plain_data import read_json
from alignmlm.studies.run_probes import check_sizes, pair_counts

log = logging.getLogger(__name__)

SCHEMA_VERSION = 2
COUNTS = "in the text of the word's own language"
Plain = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class WordSizes:
    """How much of a run is recorded."""

    words: int = 120  # of each language pair
    neighbours: int = 10  # of each word
    checkpoints: int = 6  # the newest among them

    def __post_init__(self) -> None:
        check_sizes("words", asdict(self))


@dataclass(frozen=True, slots=True)
class PairWords:
    """The words of one language pair, the same at every checkpoint."""

    languages: tuple[str, str]
    asked: Questions
    pool: list[Word]  # all source words, for the neighbourhoods of candidates
    parts: list[str]  # "given" or "held out", one per word
    bands: list[str]  # "rank_1_1000"
    counts: list[int]  # occurrences in the train split
    texts: tuple[list[str], list[str]]  # of the words and of the candidates


@dataclass(slots=True)
class Neighbours:
    """The nearest candidates of each word by one score at one checkpoint."""

    places: Int[Tensor, "word neighbour"]
    scores: Float[Tensor, "word neighbour"]
    ranks: Int[Tensor, " word"]  # of the best translation, from 1


def word_texts(
    tokenizer: Tokenizer, table: Int[np.ndarray, " vocab"], size: int, words: list[Word]
) -> list[str]:
    """The words as their base language writes them; bytes that are not valid UTF-8 are escaped."""
    base, kinds = base_of(table, size), decoder_kinds(json.loads(tokenizer.to_str())["decoder"])
    added, texts = tokenizer.get_added_tokens_decoder(), []
    for word in words:
        ids = base[list(word)].tolist()
        text = tokenizer.decode(ids).strip()
        if "\ufffd" in text:
            surfaces = (surface_of(tokenizer.id_to_token(i) or "", kinds, i in added) for i in ids)
            text = b"".join(surfaces).decode("utf-8", errors="backslashreplace").strip()
        texts.append(text)
    return texts


def chosen_words(
    pair: LanguagePair, counts: Mapping[Word, int], limit: int
) -> list[tuple[Word, str]]:
    """Source words and their part, each part spread over its words from frequent to rare."""
    parts = {
        name: sorted(
            {source for source, _ in dictionary.words()}, key=lambda w: (-counts.get(w, 0), w)
        )
        for name, dictionary in (("given", pair.used), ("held out", pair.held_out))
    }
    given = min(len(parts["given"]), max(limit // 2, limit - len(parts["held out"])))
    shares = {"given": given, "held out": limit - given}
    return [(word, name) for name, words in parts.items() for word in spread(words, shares[name])]


def pair_words(recipe: Recipe, assembly: Assembly, pair: LanguagePair, limit: int) -> PairWords:
    """The words of one language pair.

    Raises:
        DataError: a damaged block of a shard.
    """
    languages, vocabulary = assembly.loader.languages, assembly.store.vocabulary
    scripts = lay_out_scripts(languages, vocabulary.alphabet(), recipe.languages.seed)
    every, (counts, _) = merged([pair.used, pair.held_out]), pair_counts(recipe, assembly, pair)
    whole = questions(every, every)
    chosen = chosen_words(pair, counts, limit)
    place = {word: number for number, word in enumerate(whole.sources)}
    words = [word for word, _ in chosen]
    asked = Questions(words, whole.candidates, [whole.answers[place[word]] for word in words])
    pool = sorted(whole.sources)
    bands = asked_bands(asked, pool, counts)
    tokenizer = load_tokenizer(assembly.store.path / TOKENIZER)
    texts = [
        word_texts(tokenizer, scripts.tables[number], scripts.vocabulary_size, side)
        for number, side in ((pair.source, words), (pair.target, whole.candidates))
    ]
    return PairWords(
        (str(languages[pair.source]), str(languages[pair.target])),
        asked,
        pool,
        [part for _, part in chosen],
        [next(name for name, inside in bands.items() if inside[i]) for i in range(len(words))],
        [counts.get(word, 0) for word in words],
        (texts[0], texts[1]),
    )


@torch.no_grad()
def neighbours(
    embedding: Float[Tensor, "vocab hidden"], words: PairWords, count: int
) -> dict[str, Neighbours]:
    """The nearest candidates of each word by cosine and by CSLS, as the probes measure both."""
    queries = unit_vectors(embedding, words.asked.sources)
    candidates = unit_vectors(embedding, words.asked.candidates)
    pool = unit_vectors(embedding, words.pool)
    near = neighbourhood_means(candidates, pool, CSLS_NEIGHBOURS)
    answers: Answers = answers_of(words.asked.answers, candidates.device)
    answer_ranks = ranks(
        queries, candidates, answers, {"csls": Neighbourhoods(CSLS_NEIGHBOURS, near)}
    )
    cosines = queries @ candidates.T
    adjusted = csls(cosines, nearest_mean(cosines, CSLS_NEIGHBOURS), near)
    result = {}
    for name, scores in (("cosine", cosines), ("csls", adjusted)):
        top = scores.topk(min(count, scores.shape[1]), dim=1)
        result[name] = Neighbours(top.indices, top.values, answer_ranks[name])
    return result


@torch.no_grad()
def paired_vectors(
    embedding: Float[Tensor, "vocab hidden"], asked: Questions
) -> Float[np.ndarray, "vector hidden"]:
    """Vectors of length 1 of all words, then of a translation of each."""
    translations = [asked.candidates[min(right)] for right in asked.answers]
    return unit_vectors(embedding, [*asked.sources, *translations]).double().numpy()


def points_by_step(
    steps: list[Float[np.ndarray, "vector hidden"]],
) -> tuple[Plane, list[Float[np.ndarray, "word 4"]]]:
    """The newest checkpoint's plane, and x, y of each word, then of its translation, by step."""
    plane, count = principal_plane(steps[-1]), len(steps[-1]) // 2
    points = (plane.points(vectors).round(3) for vectors in steps)
    return plane, [np.concatenate([both[:count], both[count:]], axis=1) for both in points]


def as_plain(
    words: PairWords,
    steps: list[dict[str, Neighbours]],
    plane: Plane,
    points: list[Float[np.ndarray, "word 4"]],
) -> Plain:
    """One language pair for words.json; candidates are indices into its "texts"."""
    used = sorted(
        {int(p) for step in steps for one in step.values() for p in one.places.flatten()}
        | {place for right in words.asked.answers for place in right}
    )
    new = {old: number for number, old in enumerate(used)}

    def lists(number: int, name: str) -> list[list[int | float]]:
        """By checkpoint: place and score of each neighbour, one after the other."""
        return [
            [
                value
                for place, score in zip(
                    step[name].places[number].tolist(),
                    step[name].scores[number].tolist(),
                    strict=True,
                )
                for value in (new[place], round(score, 3))
            ]
            for step in steps
        ]

    entries = [
        {
            "word": words.texts[0][number],
            "part": words.parts[number],
            "band": words.bands[number],
            "count": words.counts[number],
            "answers": sorted(new[place] for place in words.asked.answers[number]),
            "ranks": [[int(step[n].ranks[number]) for n in ("cosine", "csls")] for step in steps],
            "points": [step[number].tolist() for step in points],
            **{name: lists(number, name) for name in ("cosine", "csls")},
        }
        for number in range(len(words.asked.sources))
    ]
    source, target = words.languages
    texts = [words.texts[1][place] for place in used]
    shown = [round(percent, 1) for percent in plane.shown_percent]
    return {
        "source": source, "target": target, "texts": texts, "shown_percent": shown,
        "words": entries,
    }  # fmt: skip


def explored_steps(folder: Path, sizes: WordSizes) -> list[int]:
    """Steps of the checkpoints to read, spread over the available ones."""
    saved = sorted(saved_steps(folder / CHECKPOINTS))
    places = np.linspace(len(saved) - 1, 0, min(len(saved), sizes.checkpoints)).round().astype(int)
    return [saved[i] for i in np.unique(places)] if saved else []


def sources(folder: Path, sizes: WordSizes) -> Plain:
    """What words.json depends on: sizes, checkpoints' manifests by hash, and what is counted."""
    paths = (folder / CHECKPOINTS / f"step-{step}" for step in explored_steps(folder, sizes))
    manifests = {path.name: file_xxh3(path / MANIFEST) for path in paths}
    return {"sizes": asdict(sizes), "manifests_xxh3": manifests, "counts": COUNTS}


def run_words(recipe: Recipe, folder: Path, sizes: WordSizes) -> Plain:
    """The document of words.json; no pairs where the run has no dictionary.

    Raises:
        CheckpointError: a checkpoint is damaged, or of other data than data.store holds.
        DataError: a damaged block of a shard.
    """
    assembly = assemble(recipe)
    material = [pair_words(recipe, assembly, pair, sizes.words) for pair in assembly.pairs]
    by_pair: list[list[dict[str, Neighbours]]] = [[] for _ in material]
    vectors: list[list[Float[np.ndarray, "vector hidden"]]] = [[] for _ in material]
    steps = []
    for step in explored_steps(folder, sizes) if material else []:
        path = folder / CHECKPOINTS / f"step-{step}"
        progress = read_progress(path)
        check_store(folder, progress, assembly.store.manifest)
        embedding = token_embedding(trained_model(recipe, assembly, load_state(path)).model)
        steps.append({"step": step, "tokens": progress.tokens})
        for words, near, both in zip(material, by_pair, vectors, strict=True):
            near.append(neighbours(embedding, words, sizes.neighbours))
            both.append(paired_vectors(embedding, words.asked))
    return {
        "schema_version": SCHEMA_VERSION,
        "sources": sources(folder, sizes),
        "steps": steps,
        "pairs": [
            as_plain(words, near, *points_by_step(both))
            for words, near, both in zip(material, by_pair, vectors, strict=True)
            if both
        ],
    }


def write_words(recipe: Recipe, folder: Path, sizes: WordSizes | None = None) -> Path:
    """The path of words.json in a run's folder, rewritten unless up to date or without checkpoints.

    Raises:
        CheckpointError: a checkpoint is damaged, or of other data than data.store holds.
        DataError: a damaged block of a shard, or a damaged words.json.
    """
    sizes, path = sizes or WordSizes(), folder / WORDS
    if path.is_file():
        known, left = read_json(path), explored_steps(folder, sizes)
        as_left = not left or known.get("sources") == sources(folder, sizes)
        if known.get("schema_version") == SCHEMA_VERSION and as_left:
            return path
    document = run_words(recipe, folder, sizes)
    replace_text(path, json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    return path
