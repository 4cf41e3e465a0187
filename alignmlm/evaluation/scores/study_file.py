"""study.json: the rows of a study, the runs that it lacks, and a checksum of them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from alignmlm.errors import DataError, quoted
from alignmlm.evaluation.scores.results import STUDY_ROW, UNITS, check_rows
from alignmlm.storage.checksums import verified, with_checksum
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import check_keys

SCHEMA_VERSION = 2
UNCHECKED_VERSION = 1  # of older studies, which have no checksum
MISSING_RUN = {"objective": str, "seed": int, "reason": str}
REMEDY = "delete it and run the study again, which repeats no finished run"


def study_text(
    name: str, rows: list[dict[str, Any]], missing: Sequence[dict[str, Any]] = ()
) -> str:
    """The text of study.json with these rows, and objective, seed and reason of missing runs."""
    document = {"schema_version": SCHEMA_VERSION, "name": name, "units": UNITS, "rows": rows}
    document["missing"] = list(missing)
    return json.dumps(with_checksum(document), indent=1, ensure_ascii=False) + "\n"


def study_document(path: Path) -> dict[str, Any]:
    """What study.json says, its name and rows at least.

    Raises:
        DataError: it is damaged, has another schema version, or is not that of a study.
    """
    document = read_json(path, nan=True)
    version = document.get("schema_version")
    if version not in (UNCHECKED_VERSION, SCHEMA_VERSION) or isinstance(version, bool):
        requirement = f"this alignmlm reads {UNCHECKED_VERSION} and {SCHEMA_VERSION}"
        raise DataError(f"{path} has schema version {quoted(version)}; {requirement}; {REMEDY}")
    if version == SCHEMA_VERSION:
        try:
            document = verified(document, path, DataError)
        except DataError as error:
            raise DataError(f"{error}; {REMEDY}") from error
    check_keys(document, {"rows": list}, path, optional={"missing": list})
    check_study_rows(document["rows"], path)
    for number, each in enumerate(document.get("missing", [])):
        check_keys(each, MISSING_RUN, f"{path}: missing {number}")
    check_keys(document, {"name": str}, path)
    return document


def check_study_rows(rows: Iterable[Any], place: str | Path) -> None:
    """Raise unless a study's transfer rows have all scores.

    Raises:
        DataError: one has not.
    """
    check_rows(rows, place)
    for number, row in enumerate(rows):
        if "retrieved" not in row:
            check_keys(row, STUDY_ROW, f"{place}: row {number}")
