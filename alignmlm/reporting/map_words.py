"""Word pairs of a model with their embeddings, for a map of two of its languages."""

import json
from pathlib import Path

from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor

from alignmlm.corpus.token_bounds import decoder_kinds, surface_of
from alignmlm.data.tokenizer import encode_words, load_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.evaluated_model import Export, open_export
from alignmlm.languages.dictionary import Word, file_words
from alignmlm.languages.language import parse_language
from alignmlm.reporting.embedding_map import PairedWords, write_map

PAIRS = 60
SHORTEST = 4  # letters; a shorter token of a derived language is mostly a part of a word
TextPair = tuple[str, str]


def whole_words(tokenizer: Tokenizer) -> list[str]:
    """Tokens that are words of letters, by rising id: the more frequent ones first.

    Prefixes of longer tokens are left out: many of them are only intermediate BPE merges.
    """
    kinds = decoder_kinds(json.loads(tokenizer.to_str())["decoder"])
    vocabulary, added = tokenizer.get_vocab(), tokenizer.get_added_tokens_decoder()
    texts = (
        surface_of(token, kinds, vocabulary[token] in added).decode("utf-8", errors="ignore")
        for token in sorted(vocabulary, key=vocabulary.__getitem__)
    )
    words = [text.strip() for text in texts if text.startswith(" ")]
    parts = {word[:end] for word in words for end in range(1, len(word))}
    return [w for w in words if w.isalpha() and len(w) >= SHORTEST and w not in parts]


def text_pairs(
    tokenizer: Tokenizer, languages: tuple[str, str], dictionary: Path | None
) -> list[TextPair]:
    """The pairs of a dictionary, each word once; without one, each word and its derived form.

    Raises:
        ConfigError: there is no dictionary, and the languages do not have the same base.
        DataError: the dictionary cannot be read.
    """
    if dictionary is None:
        bases = [parse_language(name).base for name in languages]
        if bases[0] != bases[1]:
            requirement = f"be given: {languages[1]} is not made from {bases[0]}"
            raise ConfigError("dictionary", None, requirement)
        return [(word, word) for word in whole_words(tokenizer)]
    pairs: dict[str, str] = {}
    targets: set[str] = set()
    for source, target in file_words(dictionary):
        if source not in pairs and target not in targets:
            pairs[source] = target
            targets.add(target)
    return list(pairs.items())


def encoded(export: Export, tokenizer: Tokenizer, language: str, words: list[str]) -> list[Word]:
    """Each word's token ids in a language of the model; none where it is unknown."""
    table = export.script_tables()[export.number_of(language)]
    unknown = export.vocabulary.unk
    return [
        tuple(table[list(ids)].tolist()) if set(ids) - {unknown} else ()
        for ids in encode_words(tokenizer, words)
    ]


def embedding_of(export: Export) -> Float[Tensor, "vocab hidden"]:
    """The word embeddings of an export."""
    from alignmlm.probes.encoder import load_encoder, token_embedding

    return token_embedding(load_encoder(export.path))


def paired_words(
    model: Path,
    languages: tuple[str, str],
    dictionary: Path | None = None,
    pairs: int = PAIRS,
) -> PairedWords:
    """The first pairs that differ in the model, with the mean embeddings of their tokens.

    Raises:
        CheckpointError: there is no export at model.
        ConfigError: the model lacks a language, or a dictionary is needed.
        DataError: fewer than two pairs are usable, or the dictionary cannot be read.
    """
    from alignmlm.probes.words import vectors_of

    export = open_export(model)
    tokenizer = load_tokenizer(export.path)
    texts = text_pairs(tokenizer, languages, dictionary)
    sides = [
        encoded(export, tokenizer, language, [pair[place] for pair in texts])
        for place, language in enumerate(languages)
    ]
    usable = [i for i, (a, b) in enumerate(zip(*sides, strict=True)) if a and b and a != b][:pairs]
    if len(usable) < 2:
        raise DataError(f"{' and '.join(languages)} have {len(usable)} usable pairs in {model}")
    embedding = embedding_of(export)
    vectors = [vectors_of(embedding, [side[i] for i in usable]).float().numpy() for side in sides]
    words = [[texts[i][place] for i in usable] for place in range(2)]
    return PairedWords(languages, words[0], words[1], vectors[0], vectors[1])


def write_model_map(
    model: Path,
    output: Path,
    languages: tuple[str, str] | None = None,
    dictionary: Path | None = None,
    pairs: int = PAIRS,
) -> list[Path]:
    """Write a map of two languages of a model, by default its first two; returns the paths.

    Raises:
        CheckpointError: there is no export at model.
        ConfigError: the model lacks a language, or a dictionary is needed.
        DataError: fewer than two pairs are usable, or the dictionary cannot be read.
    """
    known = open_export(model).languages
    if languages is None and len(known) < 2:
        raise ConfigError(f"languages of {model}", list(known), "be at least two")
    chosen = languages or (known[0], known[1])
    return write_map(paired_words(model, chosen, dictionary, pairs), output)
