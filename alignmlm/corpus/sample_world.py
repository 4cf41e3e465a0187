"""The sample world: an invented language with a corpus and labelled tasks of any size, offline.

It is a sample, and no evidence about natural languages: English-like function words and made-up
content words let every step run and be tested without a download. Word order matters (SVO,
adjective before noun), some words are both noun and verb, and words co-occur by topic and by verb.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from zlib import crc32

import numpy as np

from alignmlm.errors import ConfigError
from alignmlm.numerics.counter_rng import key
from alignmlm.storage.atomic import replace_text

Words = tuple[str, ...]
Tables = dict[str, Words]  # by kind
Document = tuple["SampleSentence", ...]
TOPICS = 4
TABLE_ENTRIES = 4096  # of a table of choices, approximately
NUMBERS = 128  # random numbers that one sentence may use
ROOM_WORDS = 15  # optional words are left out of sentences that would exceed this
LENGTHS_WORDS = range(5, 19)
LABELS = ("entailment", "neutral", "contradiction")
# Each stream keeps the texts whose crc32 modulo 16 is in its range, so no text is in two streams.
HOMES = {"test": range(0, 1), "dev": range(1, 2), "train": range(2, 4), "corpus": range(4, 16)}
CLOSED: Tables = {
    "det": ("the", "a", "this", "some", "that", "every", "each", "no", "another", "our"),
    "nummod": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve"),
    "nsubj": ("she", "he", "they", "it", "we", "you", "someone", "everyone"),
    "obj": ("it", "them", "her", "him", "us", "you", "something", "nothing"),
    "adposition": ("in", "on", "with", "near", "from", "to", "under", "over", "after", "before"),
    "aux": ("will", "can", "did", "must", "may", "should", "could", "would"),
    "cop": ("is", "was", "seems"),
    "mark": ("because", "when", "if", "after", "while", "before", "until", "since", "although"),
    "joiner": ("and", "or", "but", "so"),
    "relative": ("that", "who", "which"),
    "office": ("group", "council", "bank", "union"),
    "feature": ("lake", "port", "mount", "fort"),
}
TOPIC_SIZES = {"noun": 36, "transitive": 12, "intransitive": 8, "adjective": 14, "adverb": 3}
TOPIC_SIZES |= {"both": 10, "organisation": 5}
GENERAL_SIZES = {"noun": 20, "transitive": 10, "intransitive": 6, "adjective": 12, "adverb": 8}
GENERAL_SIZES |= {"saying": 5, "wanting": 5, "given": 36, "family": 24, "place": 24, "shared": 6}
VERB_KINDS = ("intransitive",) * 2 + ("transitive",) * 8 + ("saying", "wanting")
NAME_SHAPES = {
    "PER": (("given",), ("family",), ("given", "family")),
    "LOC": (("place",), ("place",), ("feature", "place")),
    "ORG": (("organisation",), ("family", "office"), ("place", "office")),
}


@dataclass(frozen=True, slots=True)
class SampleSentence:
    """A sentence with its gold labels: one entry per word, punctuation marks included."""

    words: tuple[str, ...]
    upos: tuple[str, ...]  # Universal Dependencies
    heads: tuple[int, ...]  # position of the head from 1; 0 is the root (CoNLL-U)
    relations: tuple[str, ...]  # Universal Dependencies
    entities: tuple[str, ...]  # IOB2 tags of PER, LOC and ORG
    topic: int  # in [0, TOPICS)


@dataclass(slots=True)
class Draft:
    """A sentence under construction, written from left to right."""

    tables: Tables
    number: Callable[[], float]  # the next random number, in [0, 1)
    tokens: list[list]  # word, UPOS tag, head (0: none yet), relation, entity tag

    def chance(self, share: float, words: int) -> bool:
        """Whether to add an optional part of that many words: with chance `share`, if it fits."""
        return self.number() < share and len(self.tokens) + words <= ROOM_WORDS

    def pick(self, kind: str, near: str = "") -> str:
        """A word of a kind; more often than not, one that tends to occur with the word `near`."""
        company = self.tables.get(f"{kind} near {near}")
        table = company if company and self.number() < 0.6 else self.tables[kind]
        return table[int(self.number() * len(table))]

    def add(self, word: str, upos: str, relation: str, head: int = 0, entity: str = "O") -> int:
        """Append a word; returns its position, from 1."""
        self.tokens.append([word, upos, head, relation, entity])
        return len(self.tokens)

    def adopt(self, start: int, head: int) -> int:
        """Attach the words before head, from index start on, that have no head; returns head."""
        for token in self.tokens[start : head - 1]:
            token[2] = token[2] or head
        return head


def invented_words() -> Iterator[str]:
    """Distinct made-up words of two syllables, always the same ones."""
    onsets = ("br", "dr", "kl", "pl", "st", "tr", *"bdfgklmnprstvw")
    syllables = [onset + vowel for onset in onsets for vowel in "aeiou"]
    known = set(chain.from_iterable(CLOSED.values()))
    for i in range(10_000):
        place = i * 48_271 % 70_000  # coprime: no place comes twice
        word = syllables[place // 700] + syllables[place // 7 % 100] + ("", *"nlrtkm")[place % 7]
        if word not in known:
            yield word


def take(words: Iterator[str], sizes: dict[str, int]) -> Tables:
    """The next words by kind; a word of two kinds has a middle rank in both."""
    kinds = {kind: tuple(islice(words, size)) for kind, size in sizes.items()}
    both, shared = kinds.pop("both", ()), kinds.pop("shared", ())
    extra = {"noun": both, "transitive": both[:6], "intransitive": both[6:]}
    extra |= {"family": shared, "place": shared} if shared else {}
    return kinds | {kind: kinds[kind][:6] + more + kinds[kind][6:] for kind, more in extra.items()}


def zipf_table(words: Words, share: float = 1.0) -> Words:
    """The words, repeated in proportion to 1 / (rank + 2), to fill a share of TABLE_ENTRIES."""
    weights = 1 / (np.arange(len(words)) + 2)
    times = np.ceil(weights / weights.sum() * share * TABLE_ENTRIES).astype(int)
    return tuple(np.repeat(words, times).tolist())


def company(words: Words, rank: int) -> Words:
    """Four of the words, different ones for each rank, with the first one most often."""
    reach = 1 + rank // len(words)
    return tuple(words[(5 * rank + reach * step) % len(words)] for step in (0, 0, 0, 1, 1, 4, 9))


def language() -> Iterator[Tables]:
    """The tables of each topic: mostly its own words, some general ones, few of other topics."""
    words = invented_words()
    general = take(words, GENERAL_SIZES)
    topics = [take(words, TOPIC_SIZES) for _ in range(TOPICS)]
    for own in topics:
        tables = {kind: zipf_table(some) for kind, some in (CLOSED | own | general).items()}
        for kind in own.keys() & general.keys():
            rest = tuple(chain.from_iterable(other[kind] for other in topics if other is not own))
            table = zipf_table(own[kind], 0.78) + zipf_table(general[kind], 0.17)
            tables[kind] = table + zipf_table(rest, 0.05)
        for kind, near in (("noun", "transitive"), ("adjective", "noun")):
            for rank, word in enumerate(own[near]):
                tables[f"{kind} near {word}"] = company(own[kind], rank)
        yield tables


LANGUAGE = tuple(language())  # the same for every seed


def name(draft: Draft, relation: str, head: int, kinds: Words) -> int:
    """Add the name of a person, place or organisation; returns its first word's position."""
    kind = kinds[int(draft.number() * len(kinds))]
    parts = NAME_SHAPES[kind][int(draft.number() * 3)]
    first = draft.add(draft.pick(parts[0]).capitalize(), "PROPN", relation, head, f"B-{kind}")
    for part in parts[1:]:
        draft.add(draft.pick(part).capitalize(), "PROPN", "flat", first, f"I-{kind}")
    return first


def noun_phrase(draft: Draft, relation: str, head: int, start: int, near: str = "") -> int:
    """Add a noun phrase and attach headless words from start on; returns its noun's position."""
    noun = draft.pick("noun", near)
    kind, upos = ("nummod", "NUM") if draft.number() < 0.1 else ("det", "DET")
    draft.add(draft.pick(kind), upos, kind)
    if draft.chance(0.45, 2):
        draft.add(draft.pick("adjective", noun), "ADJ", "amod")
    return draft.adopt(start, draft.add(noun, "NOUN", relation, head))


def more_of_noun(draft: Draft, noun: int) -> None:
    """Add what may follow a noun: a prepositional phrase, a relative clause, or more conjuncts."""
    if draft.chance(0.22, 4):
        case = "of" if draft.number() < 0.6 else draft.pick("adposition")
        noun_phrase(draft, "nmod", noun, draft.add(case, "ADP", "case") - 1)
    elif draft.chance(0.12, 5):
        pronoun = draft.add(draft.pick("relative"), "PRON", "nsubj")
        verb_phrase(draft, "transitive", "acl:relcl", noun, pronoun - 1)
    elif draft.chance(0.12, 4):
        if draft.chance(0.4, 6):
            noun_phrase(draft, "conj", noun, draft.add(",", "PUNCT", "punct") - 1)
        noun_phrase(draft, "conj", noun, draft.add("and", "CCONJ", "cc") - 1)


def argument(draft: Draft, relation: str, head: int = 0, near: str = "") -> None:
    """Add a subject or object: a pronoun, a name or a noun phrase."""
    kind = draft.number()
    if kind < 0.15:
        draft.add(draft.pick(relation), "PRON", relation, head)
    elif kind < 0.33:
        name(draft, relation, head, ("PER", "PER", "ORG", "LOC"))
    else:
        more_of_noun(draft, noun_phrase(draft, relation, head, len(draft.tokens), near))


def circumstance(draft: Draft, predicate: int) -> None:
    """Add a prepositional phrase to the predicate: a place or organisation, or a noun phrase."""
    case = draft.add(draft.pick("adposition"), "ADP", "case")
    if draft.number() < 0.35:
        draft.adopt(case - 1, name(draft, "obl", predicate, ("LOC", "LOC", "LOC", "ORG")))
    else:
        noun_phrase(draft, "obl", predicate, case - 1)


def verb_phrase(draft: Draft, kind: str, relation: str, head: int, start: int) -> int:
    """Add a verb and the object, that-clause or infinitive that it needs; returns its position."""
    word = draft.pick(kind)
    verb = draft.adopt(start, draft.add(word, "VERB", relation, head))
    if kind == "transitive":
        argument(draft, "obj", verb, word)
    elif kind == "saying":
        draft.add("that", "SCONJ", "mark")
        clause(draft, "ccomp", verb, verb, nested=True)
    elif kind == "wanting":
        draft.add("to", "PART", "mark")
        verb_phrase(draft, "transitive", "xcomp", verb, verb)
    return verb


def clause(draft: Draft, relation: str, head: int, start: int, nested: bool) -> int:
    """Add a clause and attach headless words from start on; returns its predicate's position."""
    argument(draft, "nsubj")
    copular = draft.number() < 0.14
    if copular or draft.number() < 0.4:
        kind = "cop" if copular else "aux"
        draft.add(draft.pick(kind), "AUX", kind)
        if draft.chance(0.2, 3):
            draft.add("not", "PART", "advmod")
    if draft.chance(0.15, 3):
        draft.add(draft.pick("adverb"), "ADV", "advmod")
    if copular:
        return draft.adopt(start, draft.add(draft.pick("adjective"), "ADJ", relation, head))
    verb_kind = VERB_KINDS[int(draft.number() * (10 if nested else 12))]
    verb = verb_phrase(draft, verb_kind, relation, head, start)
    if draft.chance(0.4, 3):
        circumstance(draft, verb)
    return verb


def statement(draft: Draft) -> int:
    """Add one clause, or two with a conjunction; returns the position of the root."""
    shape = draft.number()
    if shape < 0.14:
        draft.add(draft.pick("mark"), "SCONJ", "mark")
        draft.add(",", "PUNCT", "punct", clause(draft, "advcl", 0, 0, nested=True))
    root = clause(draft, "root", 0, 0, nested=shape < 0.14)
    start = len(draft.tokens)
    if shape > 0.8 and start <= 9:
        draft.add(",", "PUNCT", "punct")
        draft.add(draft.pick("joiner"), "CCONJ", "cc")
        clause(draft, "conj", root, start, nested=True)
    elif shape > 0.62 and start <= 9:
        draft.add(draft.pick("mark"), "SCONJ", "mark")
        clause(draft, "advcl", root, start, nested=True)
    return root


def sentence_from(numbers: list[float], topic: int) -> SampleSentence:
    """The statement, question or request that a row of numbers in [0, 1) determines."""
    draft = Draft(LANGUAGE[topic], iter(numbers).__next__, [])
    kind = draft.number()
    if kind < 0.1:
        draft.add(draft.pick("aux"), "AUX", "aux")
        argument(draft, "nsubj")
    root = statement(draft) if kind >= 0.15 else verb_phrase(draft, "transitive", "root", 0, 0)
    if len(draft.tokens) < 5 or draft.chance(0.2, 4):
        circumstance(draft, root)
    draft.add("?" if kind < 0.1 else "!" if kind < 0.17 else ".", "PUNCT", "punct", root)
    words, upos, heads, relations, entities = zip(*draft.tokens, strict=True)
    return SampleSentence(words, upos, heads, relations, entities, topic)


def number_rows(*name: int | str) -> Iterator[list[float]]:
    """Endless rows of random numbers in [0, 1) that depend on the name alone."""
    generator = np.random.Generator(np.random.Philox(key=key("sample world", *name)))
    while True:
        yield from generator.random((16, NUMBERS)).tolist()


def documents(sentences: int, seed: int, home: str, size: int) -> Iterator[Document]:
    """Documents of one stream, each with a topic of its own."""
    for start in range(0, sentences, size):
        rows = number_rows("document", seed, home, start // size)
        drafts = map(partial(sentence_from, topic=int(next(rows)[0] * TOPICS)), rows)
        fitting = (s for s in drafts if len(s.words) in LENGTHS_WORDS)
        own = (s for s in fitting if crc32(plain_text(s).encode()) % 16 in HOMES[home])
        yield tuple(islice(own, min(size, sentences - start)))


def require_positive(**settings: int) -> None:
    """Raise a ConfigError for a setting below 1."""
    for setting, value in settings.items():
        if value < 1:
            raise ConfigError(f"sample.{setting}", value, "be at least 1")


def sample_documents(
    sentences: int, seed: int = 0, sentences_per_document: int = 12
) -> Iterator[Document]:
    """Documents of one topic each, with `sentences` sentences in all; the last may be shorter.

    Raises:
        ConfigError: no sentences are asked for, or none per document.
    """
    require_positive(sentences=sentences, sentences_per_document=sentences_per_document)
    return documents(sentences, seed, "corpus", sentences_per_document)


def plain_text(sentence: SampleSentence) -> str:
    """The words joined by single spaces, without a space before punctuation."""
    return " ".join(sentence.words).replace(" ,", ",")[:-2] + sentence.words[-1]


def conllu(sentences: Iterable[SampleSentence]) -> Iterator[str]:
    """Blocks with a blank line after each. Source: universaldependencies.org/format.html."""
    for number, gold in enumerate(sentences, start=1):
        lines = [f"# sent_id = {number}", f"# text = {plain_text(gold)}"]
        rows = zip(gold.words, gold.upos, gold.heads, gold.relations, gold.entities, strict=True)
        for i, (word, upos, head, relation, entity) in enumerate(rows, start=1):
            notes = [] if entity == "O" else [f"Entity={entity}"]
            notes += ["SpaceAfter=No"] if gold.upos[i : i + 1] == ("PUNCT",) else []
            misc = "|".join(notes) or "_"
            lines.append(f"{i}\t{word}\t{word}\t{upos}\t_\t_\t{head}\t{relation}\t_\t{misc}")
        yield "\n".join(lines) + "\n\n"


def event_text(nouns: Words, verb: str, details: Words, shown: int, denied: bool) -> str:
    """A sentence on who did, or did not do, what to whom; bit i of shown includes detail i."""
    first, second, place = (part if shown >> i & 1 else "" for i, part in enumerate(details))
    words = ("the", first, nouns[0], "did", "not" * denied, verb, "the", second, nouns[1], place)
    return " ".join(filter(None, words)) + "."


def pair_from(numbers: list[float], label: str) -> tuple[str, str, str]:
    """Premise, hypothesis and label: more details entail fewer; after "not", fewer entail more."""
    draft = Draft(LANGUAGE[int(numbers[0] * TOPICS)], iter(numbers[1:]).__next__, [])
    verb = draft.pick("transitive")
    nouns = (draft.pick("noun"), draft.pick("noun", verb))
    details = (
        draft.pick("adjective"),
        draft.pick("adjective"),
        "in " + draft.pick("place").capitalize(),
    )
    shown = 1 + int(draft.number() * 6)  # one or two of the three details
    denied, swapped, changed = (draft.number() < 0.5 for _ in range(3))
    premise = event_text(nouns, verb, details, shown, denied)
    fewer, more = shown & (shown - 1), shown | (shown + 1)
    if label != "neutral":
        follows, opposite = more if denied else fewer, denied ^ (label == "contradiction")
        return premise, event_text(nouns, verb, details, follows, opposite), label
    if swapped and nouns[0] != nouns[1]:
        return premise, event_text(nouns[::-1], verb, details, shown, changed), label
    return premise, event_text(nouns, verb, details, fewer if denied else more, changed), label


def pairs(count: int, seed: int, home: str) -> Iterator[tuple[str, str, str]]:
    """Premises, hypotheses and labels of one stream, the three labels in turn."""
    for index in range(count):
        rows = number_rows("pair", seed, home, index)
        drafts = map(partial(pair_from, label=LABELS[index % 3]), rows)
        yield next(pair for pair in drafts if crc32(pair[0].encode()) % 16 in HOMES[home])


def write_whole(path: Path, parts: Iterable[str]) -> None:
    """Write a file of all parts atomically."""
    replace_text(path, "".join(parts))


def write_tasks(
    folder: Path, seed: int = 0, train: int = 2000, dev: int = 300, test: int = 500
) -> None:
    """Write pos-*.conllu, ner-*.tsv, nli-*.tsv per split; no text is in two, or in the corpus.

    Raises:
        ConfigError: an empty split.
    """
    require_positive(train=train, dev=dev, test=test)
    folder.mkdir(parents=True, exist_ok=True)
    for split, size in {"train": train, "dev": dev, "test": test}.items():
        sentences = list(chain.from_iterable(documents(size, seed, split, 12)))
        write_whole(folder / f"pos-{split}.conllu", conllu(sentences))
        blocks = ("".join(map("{}\t{}\n".format, s.words, s.entities)) + "\n" for s in sentences)
        write_whole(folder / f"ner-{split}.tsv", blocks)
        lines = ("\t".join(pair) + "\n" for pair in pairs(size, seed, split))
        write_whole(folder / f"nli-{split}.tsv", lines)
