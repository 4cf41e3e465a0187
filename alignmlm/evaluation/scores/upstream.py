"""The paper's published results: BS, BZ, Delta and alignment of its twelve cells and three tasks.

Source: princeton-nlp/align-mlm at 711fdda, the table and the lists of its correlation plots.
"""

from dataclasses import dataclass
from pathlib import Path

from alignmlm.errors import DataError, quoted
from alignmlm.storage.cells import cell
from alignmlm.storage.tables import csv_rows, named_rows

PAPER_TABLE, PAPER_ALIGNMENT = "xlm.csv", "alignment.csv"
METHOD, CHANGE = "Pre-training method", "Transformation"
TASKS = {"XNLI": "xnli", "NER": "ner", "POS": "pos"}
OBJECTIVES = {"MLM": "mlm", "XLM": "tlm", "Dict-MLM": "dict_mlm", "Aligned-MLM": "align_mlm"}
SOURCE = "eng-Latn"
LANGUAGES = {
    "Trans": f"{SOURCE}-x-trans",
    "Trans + Inv": f"{SOURCE}-x-inv-trans",
    "Trans + Syn": f"{SOURCE}-x-syn-fra-trans",  # the paper orders nouns and verbs as in French
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperRecord:
    """One published cell of one task, in percent."""

    cell: tuple[str, str, str, str]  # objective, task, source language, language
    bs: float
    bz: float
    delta: float  # as printed, which may differ by 0.1 from BS - BZ as printed
    alignment_percent: float


def read_table(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The lines of a published table by method and transformation.

    Raises:
        DataError: there is no such file, or it lacks one of these columns.
    """
    rows = named_rows(csv_rows(path))
    return {
        (cell(line, METHOD, place), cell(line, CHANGE, place)): dict(line) for place, line in rows
    }


def paper_record(
    line: dict[str, str], plotted: dict[str, str], task: str, printed: str
) -> PaperRecord:
    """The record of one task, from the same cell's line in each of the two tables."""
    return PaperRecord(
        cell=(OBJECTIVES[line[METHOD]], task, SOURCE, LANGUAGES[line[CHANGE]]),
        bs=float(line[f"{printed} BS"]),
        bz=float(line[f"{printed} BZ"]),
        delta=float(plotted[f"{printed} BS-BZ"]),
        alignment_percent=float(plotted["Alignment"]),
    )


def paper_records(folder: Path) -> list[PaperRecord]:
    """The published cells, in the order of the paper's table, task by task.

    Raises:
        DataError: a file is missing, lacks a line or column, or holds something else.
    """
    table, plotted = (read_table(folder / name) for name in (PAPER_TABLE, PAPER_ALIGNMENT))
    try:
        return [
            paper_record(line, plotted[cell], task, printed)
            for printed, task in TASKS.items()
            for cell, line in table.items()
        ]
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{folder}: not the paper's published tables: {quoted(error)}") from error
