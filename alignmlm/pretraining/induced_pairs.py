"""The induced pairs of a run.

Those from text are computed once and kept in the run's folder, where a resumed run reads them;
those from embeddings change during training, and belong to its checkpoints.
"""

import json
import logging
from pathlib import Path
from typing import Any

from scipy.sparse import csr_array

from alignmlm.errors import CheckpointError
from alignmlm.languages.dictionary import Dictionary, from_pairs, merged
from alignmlm.languages.settings import DictionaryConfig
from alignmlm.objectives.registry import objective_of
from alignmlm.pretraining.assembly import Assembly, LanguagePair
from alignmlm.pretraining.contents import dictionary_contents, order_contents
from alignmlm.pretraining.metrics import Metrics
from alignmlm.pretraining.recipe import Recipe
from alignmlm.probes.induction import (
    Candidates,
    Induction,
    Round,
    candidates,
    induce_from_text,
    neighbour_counts,
)
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.checksums import verified, with_checksum
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import check_keys

log = logging.getLogger(__name__)

INDUCED = "induced_pairs.json"
Record = dict[str, Any]


def induced_pairs(recipe: Recipe, assembly: Assembly, folder: Path) -> Dictionary:
    """The pairs of a run induced from text, read from its folder or recorded there, by rank 0.

    Raises:
        CheckpointError: the record is damaged, or of other data or settings.
        DataError: a damaged block of a shard.
    """
    config, path = recipe.dictionary, folder / INDUCED
    if config.induction != "contexts" or not objective_of(recipe.objective).needs_pairs:
        return from_pairs([])
    basis = basis_of(recipe, assembly)
    if path.exists():
        return read_induced(path, basis)
    records, inductions = [], []
    for pair in assembly.pairs:
        inductions.append(induction_of(pair, assembly, config))
        records.append(record_of(pair, assembly, inductions[-1]))
        log.info("%s", message(records[-1]))
    pairs = merged([induction.pairs for induction in inductions])
    document = {"basis": basis, "inductions": records, "pairs": pairs.words()}
    replace_text(path, json.dumps(with_checksum(document)))
    return pairs


def basis_of(recipe: Recipe, assembly: Assembly) -> Record:
    """What the induced pairs depend on, besides the languages, which are fixed with the model."""
    config = recipe.dictionary
    return {
        "data_id": assembly.store.manifest.data_id,
        "fraction": config.fraction,
        "seed": config.seed,
        "tokens": config.induction_tokens,
        "languages_seed": recipe.languages.seed,
        "files": [[file.source, file.target] for file in config.files],
        **dictionary_contents(file.path for file in config.files),
        **order_contents(recipe.data.store, recipe.languages.ids),
    }


def read_induced(path: Path, basis: Record) -> Dictionary:
    """The recorded pairs.

    Raises:
        CheckpointError: the record is damaged, or of other data or settings.
    """
    remedy = "delete it to induce its pairs again"
    document = read_json(path, CheckpointError)
    try:
        document = verified(document, path, CheckpointError)
        check_keys(document, {"basis": dict, "pairs": list}, path, CheckpointError)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {remedy}") from error
    if document["basis"] != basis:
        raise CheckpointError(f"{path} is of {document['basis']}, not of {basis}; {remedy}")
    return pairs_of(document["pairs"])


def pairs_of(pairs: list[list[list[int]]]) -> Dictionary:
    """A dictionary from what a JSON file has of it."""
    return from_pairs((tuple(source), tuple(target)) for source, target in pairs)


def listed_pairs(dictionary: Dictionary) -> list[list[list[int]]]:
    """A dictionary for a JSON file."""
    return [[list(word) for word in pair] for pair in dictionary.words()]


def counts_of(
    pair: LanguagePair, assembly: Assembly, config: DictionaryConfig
) -> tuple[csr_array, csr_array]:
    """The neighbour counts of two languages."""
    source, target = (
        neighbour_counts(assembly.loader, language, config.induction_tokens, config.seed)
        for language in (pair.source, pair.target)
    )
    return source, target


def candidates_of(assembly: Assembly, config: DictionaryConfig) -> list[Candidates]:
    """The words of each language pair that pairs may be induced for."""
    return [candidates(*counts_of(pair, assembly, config), pair.used) for pair in assembly.pairs]


def induction_of(pair: LanguagePair, assembly: Assembly, config: DictionaryConfig) -> Induction:
    """The pairs of two languages induced from text."""
    source, target = counts_of(pair, assembly, config)
    return induce_from_text(source, target, pair.used, pair.held_out)


def record_of(pair: LanguagePair, assembly: Assembly, induction: Induction) -> Record:
    """Statistics of an induction; precision and recall in percent, None without known answers."""
    last, languages, asked = induction.rounds[-1], assembly.loader.languages, len(pair.held_out)
    return {
        "source": str(languages[pair.source]),
        "target": str(languages[pair.target]),
        "given": len(pair.used),
        "induced": len(induction.pairs),
        "control_words": induction.control.known,
        "control_precision_percent": precision_percent(induction.control),
        "precision_percent": precision_percent(last),
        "recall_percent": 100 * last.right / asked if asked else None,
        "rounds": [induced._asdict() for induced in induction.rounds],
    }


def precision_percent(induced: Round) -> float | None:
    """The share of the induced pairs with a known answer that are right, in percent."""
    return 100 * induced.right / induced.known if induced.known else None


def induction_metrics(record: Record) -> Metrics:
    """What metrics.jsonl has of an induction."""
    place = f"induction/{record['source']}/{record['target']}"
    names = ("induced", "control_precision_percent", "precision_percent", "recall_percent")
    return {f"{place}/{name}": record[name] for name in names if record[name] is not None}


def message(record: Record) -> str:
    """One line about an induction."""
    pair = f"{record['source']} and {record['target']}: {record['given']} given pairs"
    control = record["control_precision_percent"]
    if not record["induced"]:
        if control is None:
            return f"{pair}, no other could be induced"
        share = f"{control:.1f} % of {record['control_words']}"
        return f"{pair}; none induced, as too few control words were right: {share}"
    shares = {
        "precision on given pairs set aside": control,
        "precision on held-out pairs": record["precision_percent"],
        "recall of held-out pairs": record["recall_percent"],
    }
    measured = [f"{name} {share:.1f} %" for name, share in shares.items() if share is not None]
    return f"{pair}, {record['induced']} induced; {', '.join(measured)}"
