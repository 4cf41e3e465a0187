"""The text that the tokenizer is trained on: training documents, sampled if there are many.

A document is in the sample if its hash is small enough. So the sample is the same for any number
of ranks and does not depend on the order of the documents.
"""

import logging
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Int, Shaped

from alignmlm.corpus.duplicates import Duplicates
from alignmlm.corpus.mpi import Ranks
from alignmlm.corpus.parts import Part, is_validation, read_documents, read_records
from alignmlm.corpus.settings import DataConfig
from alignmlm.corpus.workspace import Workspace
from alignmlm.data.text import LONGEST_RUN, cut_runs, plain_line

log = logging.getLogger(__name__)

STEPS = 2**16  # in which the sample grows to all documents


def steps_of(records: Shaped[np.ndarray, " document"]) -> Int[np.ndarray, " document"]:
    """The step at which each document joins the sample."""
    return (records["high"] >> np.uint64(48)).astype(np.int64)


def training_records(
    place: Workspace, parts: list[Part], index: int, duplicates: Duplicates, validation: float
) -> tuple[Shaped[np.ndarray, " document"], Bool[np.ndarray, " document"]]:
    """The records of a part, and which of them belong to training documents that are kept."""
    records = read_records(place, parts[index])
    kept_mask = duplicates.kept(index, len(records))
    return records, kept_mask & ~is_validation(records, validation)


def sample_steps(
    place: Workspace, parts: list[Part], duplicates: Duplicates, config: DataConfig, ranks: Ranks
) -> tuple[int, int]:
    """How many steps the sample takes to grow to data.tokenizer_bytes, and its size in bytes."""
    sizes = np.zeros(STEPS, np.int64)
    for index in ranks.mine(range(len(parts))):
        records, training = training_records(place, parts, index, duplicates, config.validation)
        chosen = records[training]
        np.add.at(sizes, steps_of(chosen), chosen["bytes"].astype(np.int64))
    grown = np.cumsum(np.sum(ranks.gathered(sizes), axis=0))
    steps = int(np.searchsorted(grown, config.tokenizer_bytes, side="right"))
    if steps == 0 or grown[steps - 1] == 0:  # a document larger than the whole sample
        steps = int(np.searchsorted(grown, 0, side="right")) + 1
    return steps, int(grown[min(steps, STEPS) - 1])


def training_sentences(
    place: Workspace,
    parts: list[Part],
    duplicates: Duplicates,
    config: DataConfig,
    steps: int,
    report: Callable[[int], None],
) -> Iterator[str]:
    """Sentences of the sample in corpus order; overlong words are cut into pieces."""
    read = cut = 0
    for index, part in enumerate(parts):
        records, chosen = training_records(place, parts, index, duplicates, config.validation)
        chosen &= steps_of(records) < steps
        if not chosen.any():
            continue
        for wanted, document in zip(chosen, read_documents(place, part), strict=True):
            for text in map(plain_line, document if wanted else ()):
                pieces = cut_runs(text)
                cut += len(pieces) > 1
                yield from pieces
        read += int(records["bytes"][chosen].sum())
        report(read)
    if cut:
        said = f"more than {LONGEST_RUN:,} characters without a space"
        log.warning("%s sentences have %s; the tokenizer learns from pieces", f"{cut:,}", said)
