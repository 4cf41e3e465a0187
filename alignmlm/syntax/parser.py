"""Dependency parses of given words, by a UDPipe 1 model trained on treebanks.

Source: Straka and Strakova, 2017 (Tokenizing, POS Tagging, Lemmatizing and Parsing UD 2.0 with
UDPipe); the options are those of the manual of UDPipe 1, chapter "Training UDPipe Models".
"""

import logging
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from alignmlm.errors import AlignMLMError, ConfigError, DataError
from alignmlm.storage.atomic import new_file
from alignmlm.syntax.trees import conllu_text, read_conllu

log = logging.getLogger(__name__)
Progress = Callable[[str, float], None]  # what is done, share of the training in [0, 1]
Arc = tuple[int, str]  # position of the head from 1, 0 for the root; relation with its subtype
Batch = list[list[str]]  # sentences, each a list of words

MAGIC = b"\x12morphodita_parsito"  # what every UDPipe 1 model begins with
ITERATION = re.compile(r"Iteration (\d+): (.*)")
MAX_WORDS = 200  # time grows with the square: 35 ms for 200 words, 1.5 s for 1,600
BEAM = 3  # 0.06 points of LAS below UDPipe's own 5 (77.48), and 1.4 times as fast


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How long to train; the time grows with iterations times hidden units.

    Measured on one core: "quick" takes 854 s for the 204,577 words of UD_English-EWT and reaches
    77.4 LAS on its dev words. On the first 1,000 sentences, "quick" takes 90 s (64.6 LAS) and
    "full" 387 s (65.7 LAS).
    """

    tagger_iterations: int
    parser_iterations: int
    hidden_units: int
    form_units: int = 50  # size of a word's embedding
    structured_interval: int  # every n-th tree is trained on with the search-based oracle; 0: none


EFFORTS = {
    "quick": Effort(
        tagger_iterations=6, parser_iterations=8, hidden_units=100, structured_interval=0
    ),
    "full": Effort(
        tagger_iterations=12, parser_iterations=10, hidden_units=200, structured_interval=8
    ),
}
TEMPLATES = [
    *("Tag 0", "Tag 0,Tag -1", "Tag 0,Num 0", "Tag 0,Cap 0", "Tag 0,Dash 0"),
    *(f"Tag 0,Form {place}" for place in (-2, -1, 0, 1, 2)),
    *(f"Tag 0,Form {left},Form {right}" for left, right in ((0, -1), (0, 1), (-1, 1))),
    *(f"Tag 0,Form {left},Form {right}" for left, right in ((-1, -2), (1, 2))),
    *(f"Tag 0,Prefix{length} 0" for length in range(1, 5)),
    *(f"Tag 0,Suffix{length} 0" for length in range(1, 7)),
]  # features of a bigram tagger, trained 6 times as fast as with UDPipe's own trigram set


@dataclass(frozen=True, slots=True)
class Attachment:
    """Shares of words in [0, 1], punctuation included.

    Source: Zeman et al., 2018 (CoNLL 2018 Shared Task), section 5; with gold words, F1 is a share.
    """

    uas: float  # right head
    las: float  # right head and universal relation, that is, without subtypes: acl:relcl is acl
    las_subtypes: float  # right head and whole relation


@dataclass(frozen=True, slots=True)
class ParserScores:
    """Quality on a treebank's own words."""

    words: int
    upos: float  # share of words with the right universal part of speech, in [0, 1]
    predicted_tags: Attachment
    gold_tags: Attachment


def udpipe() -> ModuleType:
    """The library ufal.udpipe.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import ufal.udpipe
    except ImportError as error:
        problem = "no package ufal.udpipe"
        requirement = "be installed: pip install 'alignmlm[syntax]'"
        raise ConfigError("the parser's library", problem, requirement) from error
    return ufal.udpipe


def treebank_text(path: Path) -> str:
    """The trees of a CoNLL-U file as text that UDPipe reads as read_conllu does.

    Raises:
        DataError: the file cannot be read, or a tree is damaged.
    """
    return "".join(map(conllu_text, read_conllu(path)))


def read_treebank(path: Path) -> list[Any]:
    """Sentences of a treebank as UDPipe holds them, every word with its tag, head and relation.

    Raises:
        DataError: the file cannot be read, holds no sentence, or a tree is damaged.
    """
    library, sentences = udpipe(), []
    reader, error = library.InputFormat.newConlluInputFormat(), library.ProcessingError()
    reader.setText(treebank_text(path))
    while reader.nextSentence(sentence := library.Sentence(), error):
        sentences.append(sentence)
    if error.occurred():
        raise DataError(f"{path}, after sentence {len(sentences)}: {error.message}")
    if not sentences:
        raise DataError(f"{path} holds no sentence, but it must be a CoNLL-U treebank")
    return sentences


def tagger_options(effort: Effort) -> str:
    """Options of UDPipe's tagger, which predicts UPOS only: no lemmas, XPOS or features."""
    templates = "".join(f"{template}\n" for template in TEMPLATES)
    columns = [
        f"{do}_{what}=0" for what in ("lemma", "xpostag", "feats") for do in ("use", "provide")
    ]
    settings = ["models=1", "order=2", f"iterations={effort.tagger_iterations}", *columns]
    return ";".join([*settings, f"templates=data:{len(templates)}:{templates}"])


def parser_options(effort: Effort) -> str:
    """Options of UDPipe's parser, which is projective and sees words and predicted UPOS tags."""
    return (
        f"iterations={effort.parser_iterations};hidden_layer={effort.hidden_units};"
        f"embedding_form={effort.form_units};embedding_feats=0;"
        f"structured_interval={effort.structured_interval}"
    )


def train_here(train: list[Path], effort: Effort, output: Path, messages: Connection) -> None:
    """Train in a process of its own, whose error output goes to a pipe; exit 1 on an error."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.dup2(messages.fileno(), sys.__stderr__.fileno() if sys.__stderr__ else 2)
    messages.close()
    library = udpipe()
    sentences, held_out, error = library.Sentences(), library.Sentences(), library.ProcessingError()
    for path in train:
        for sentence in read_treebank(path):
            sentences.append(sentence)
    options = ("none", tagger_options(effort), parser_options(effort))
    model = library.Trainer.train("morphodita_parsito", sentences, held_out, *options, error)
    if error.occurred():
        sys.exit(error.message)
    output.write_bytes(model)


def follow(lines: Iterable[str], effort: Effort, progress: Progress) -> str:
    """Report each iteration in UDPipe's log to `progress`; returns the log's last line."""
    last, part, total, before = "", "tagger", effort.tagger_iterations, 0
    steps = effort.tagger_iterations + effort.parser_iterations
    for line in map(str.strip, lines):
        last = line or last
        log.debug("udpipe: %s", line)
        if line.startswith("Parser transition options"):
            part, total, before = "parser", effort.parser_iterations, effort.tagger_iterations
        if match := ITERATION.match(line):
            iteration = int(match[1])
            progress(f"{part} {iteration}/{total}: {match[2]}", (before + iteration) / steps)
    return last


def train_apart(train: list[Path], effort: Effort, output: Path, progress: Progress) -> None:
    """Train in another process, which keeps UDPipe's log off the terminal.

    Raises:
        DataError: UDPipe cannot learn from these treebanks.
    """
    context = get_context("spawn")
    messages, theirs = context.Pipe(duplex=False)
    process = context.Process(target=train_here, args=(train, effort, output, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        with os.fdopen(os.dup(messages.fileno()), encoding="utf-8", errors="replace") as lines:
            last = follow(lines, effort, progress)
        process.join()
    finally:
        process.kill()
        process.join()
        messages.close()
    if process.exitcode:
        names = ", ".join(map(str, train))
        raise DataError(f"no parser from {names} (exit code {process.exitcode}): {last}")


def train_parser(
    train: list[Path],
    dev: list[Path],
    output: Path,
    effort: Literal["quick", "full"] | Effort = "quick",
    progress: Progress = lambda done, share: None,
) -> ParserScores:
    """Train a parser and write it to a file; returns its scores on the dev treebanks.

    The dev treebanks are used for the scores only. The training runs in a spawned process.

    Raises:
        ConfigError: a list of treebanks is empty, or ufal.udpipe is not installed.
        DataError: a treebank cannot be read, or UDPipe cannot learn from them.
    """
    chosen = EFFORTS[effort] if isinstance(effort, str) else effort
    for key, paths in (("train", train), ("dev", dev)):
        if not paths:
            raise ConfigError(key, paths, "name at least one treebank")
    for path in train:
        read_treebank(path)
    gold = [sentence for path in dev for sentence in read_treebank(path)]
    with new_file(output) as partial:
        partial.touch()  # an output that cannot be written fails now, not after training
        train_apart(train, chosen, partial, progress)
        return score_parser(load_parser(partial), gold)


def written_form(word: str) -> str:
    """A word that fits into one column: white space as U+00A0, an empty word as "_"."""
    return "\u00a0".join(word.replace("\0", " ").split()) or "_"


class Parser:
    """A UDPipe model with a tagger and a parser, and how to use it."""

    def __init__(self, path: Path, model: Any, max_words: int, beam: int) -> None:
        self.library, self.path, self.model = udpipe(), path, model
        self.max_words, self.beam = max_words, beam
        self.writer = self.library.OutputFormat.newConlluOutputFormat()

    def sentence(self, words: Iterable[str], tags: Sequence[str] = ()) -> Any:
        """A sentence that UDPipe has parsed, and tagged too where no tags are given.

        Raises:
            DataError: the model has no tagger or no parser.
        """
        sentence, error = self.library.Sentence(), self.library.ProcessingError()
        for word in words:
            sentence.addWord(written_form(word))
        for place, tag in enumerate(tags, start=1):
            sentence.words[place].upostag = tag
        tagged = bool(tags) or self.model.tag(sentence, "", error)
        if not (tagged and self.model.parse(sentence, f"beam_search={self.beam}", error)):
            raise DataError(f"{self.path} cannot parse: {error.message}")
        return sentence

    def block(self, words: list[str]) -> str | None:
        """One sentence as CoNLL-U lines and an empty line; None if it is empty or too long."""
        if not 0 < len(words) <= self.max_words:
            return None
        block = self.writer.writeSentence(self.sentence(words))
        if block.count("\n") != len(words) + 1:
            raise RuntimeError(f"{len(words)} words came back as {block!r}")
        return block

    def parse(self, sentences: Batch) -> list[str | None]:
        """A CoNLL-U block for each sentence of given words: as many lines as words, in order.

        None stands for a sentence without words, or with more than max_words.
        """
        return [self.block(words) for words in sentences]


def load_parser(path: Path, max_words: int = MAX_WORDS, beam: int = BEAM) -> Parser:
    """A parser from a file that train_parser or UDPipe 1 wrote.

    Raises:
        ConfigError: ufal.udpipe is not installed.
        DataError: the file cannot be read or is not a UDPipe 1 model with a tagger and a parser.
    """
    library = udpipe()
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    model = library.Model.load(str(path)) if start == MAGIC else None
    if model is None:
        raise DataError(f"{path} is no UDPipe 1 model, or only a part of one")
    parser = Parser(path, model, max_words, beam)
    parser.sentence(["word"])
    return parser


@cache
def process_parser(path: Path, max_words: int, beam: int) -> Parser:
    """The one parser of a worker process."""
    return load_parser(path, max_words, beam)


def parse_batch(path: Path, max_words: int, beam: int, batch: Batch) -> list[str | None]:
    """Parse one batch in a worker process."""
    return process_parser(path, max_words, beam).parse(batch)


def parse_many(
    path: Path,
    batches: Iterable[Batch],
    workers: int = 1,
    max_words: int = MAX_WORDS,
    beam: int = BEAM,
) -> Iterator[list[str | None]]:
    """The result of Parser.parse for each batch, in order, the same for any number of workers.

    Workers are spawned processes, since UDPipe holds the GIL while it parses; with one worker,
    this process parses. At most two batches per worker are read ahead.

    Raises:
        ConfigError: there is no worker, or ufal.udpipe is not installed.
        DataError: the file is not a UDPipe 1 model with a tagger and a parser.
        AlignMLMError: a worker was killed.
    """
    if workers < 1:
        raise ConfigError("workers", workers, "be at least 1")
    parser = load_parser(path, max_words, beam)
    if workers == 1:
        yield from map(parser.parse, batches)
        return
    waiting: deque[Future[list[str | None]]] = deque()
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for batch in batches:
                waiting.append(pool.submit(parse_batch, path, max_words, beam, batch))
                if len(waiting) == 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    except BrokenProcessPool as error:
        remedy = f"if memory ran out, use fewer --workers than {workers}"
        raise AlignMLMError(f"a process of the parser was killed; {remedy}") from error


def arcs(sentence: Any) -> list[Arc]:
    """Head and relation of each word."""
    return [(word.head, word.deprel) for word in list(sentence.words)[1:]]


def attachment(gold: list[Arc], parsed: list[Arc]) -> Attachment:
    """Shares of words with the right head, and with the right relation to it."""
    heads = [pair for pair in zip(gold, parsed, strict=True) if pair[0][0] == pair[1][0]]
    universal = sum(a[1].split(":")[0] == b[1].split(":")[0] for a, b in heads)
    whole = sum(a == b for a, b in heads)
    return Attachment(len(heads) / len(gold), universal / len(gold), whole / len(gold))


def score_parser(parser: Parser, gold: list[Any]) -> ParserScores:
    """Scores on sentences that read_treebank gave, however long they are."""
    gold_arcs: list[Arc] = []
    predicted: list[Arc] = []
    with_gold_tags: list[Arc] = []
    right = 0
    for sentence in gold:
        words = [(word.form, word.upostag) for word in list(sentence.words)[1:]]
        forms, tags = [form for form, _ in words], [tag for _, tag in words]
        tagged = parser.sentence(forms)
        right += sum(a == b.upostag for a, b in zip(tags, list(tagged.words)[1:], strict=True))
        gold_arcs += arcs(sentence)
        predicted += arcs(tagged)
        with_gold_tags += arcs(parser.sentence(forms, tags))
    scores = (attachment(gold_arcs, predicted), attachment(gold_arcs, with_gold_tags))
    return ParserScores(len(gold_arcs), right / len(gold_arcs), *scores)
