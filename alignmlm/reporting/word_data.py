"""The words of runs for the page: words.json of each, thinned where all would be too much."""

import json
from collections.abc import Iterable
from typing import Any

from alignmlm.artifacts.names import WORDS
from alignmlm.errors import DataError
from alignmlm.reporting.run_facts import RunFacts
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import check_keys

SCHEMA_VERSION = 2
MOST_BYTES = 6_000_000  # of all runs together
PAIR: dict[str, Any] = {"source": str, "target": str, "texts": list, "words": list}
PAIR |= {"shown_percent": list}
WORD: dict[str, Any] = {"word": str, "part": str, "band": str, "count": int, "answers": list}
WORD |= {"ranks": list, "cosine": list, "csls": list, "points": list}


def read_words(run: RunFacts) -> dict[str, Any] | None:
    """The words of a run; None where it has no words.json.

    Raises:
        DataError: words.json is damaged.
    """
    path = run.folder / WORDS
    if not path.is_file():
        return None
    document = read_json(path)
    check_keys(document, {"schema_version": int, "steps": list, "pairs": list}, path)
    if document["schema_version"] != SCHEMA_VERSION:
        raise DataError(f"{path} has another schema version; delete it to have it made again")
    for pair in document["pairs"]:
        check_keys(pair, PAIR, path)
        for word in pair["words"]:
            check_keys(word, WORD, path)
    return {"steps": document["steps"], "pairs": document["pairs"]}


def thinned(words: dict[str, Any], keep: int) -> dict[str, Any]:
    """Every `keep`-th word of each pair."""
    pairs = [{**pair, "words": pair["words"][::keep]} for pair in words["pairs"]]
    return {**words, "pairs": pairs}


def word_data(runs: Iterable[RunFacts]) -> dict[str, Any]:
    """The words of each run that has some, by its place; every `kept`-th word is kept.

    Raises:
        DataError: a words.json is damaged.
    """
    by_run = {
        str(place): words
        for place, run in enumerate(runs)
        if (words := read_words(run)) is not None and words["pairs"]
    }
    size = sum(len(json.dumps(words)) for words in by_run.values())
    keep = -(-size // MOST_BYTES) or 1
    if keep > 1:
        by_run = {place: thinned(words, keep) for place, words in by_run.items()}
    return {"runs": by_run, "kept": keep}
