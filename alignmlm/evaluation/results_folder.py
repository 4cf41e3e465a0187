"""The folder of a model's results, which several evaluations may add to at once."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignmlm.errors import DataError
from alignmlm.evaluation.results import RESULTS, Document, empty, read_results, write_results
from alignmlm.evaluation.samples import Sample
from alignmlm.storage.locks import locked

log = logging.getLogger(__name__)

PATH = "path"  # in the document's model: its location, which is not part of its identity


def identity_of(document: Document | None) -> dict[str, Any] | None:
    """The identity of a document's model; None without a document."""
    return None if document is None else {k: v for k, v in document["model"].items() if k != PATH}


@dataclass(frozen=True, slots=True)
class ResultsFolder:
    """results.json and samples of one model in a folder."""

    path: Path
    model: dict[str, Any]  # its identity and path
    before: dict[str, Any] | None  # identity of the results in the folder when it was opened

    def document(self) -> Document:
        """The current results of the model, from any process; empty if there are none.

        Raises:
            DataError: results.json is damaged, or holds the results of another model since this
                folder was opened.
        """
        document, own = read_results(self.path), identity_of({"model": self.model})
        known = identity_of(document)
        if document is not None and known == own:
            return document
        if known != self.before:
            raise DataError(
                f"{self.path / RESULTS} holds the results of another model since this evaluation "
                f"began: {known}; name another output"
            )
        return empty(self.model)

    def add(
        self,
        change: Callable[[Document], Document],
        samples: dict[str, dict[str, list[Sample]]] | None = None,
    ) -> Document:
        """Apply a change to the current document and write it; returns the new document.

        `samples` are those of tasks that the change adds, by task and language.

        Raises:
            DataError: as document() does.
        """
        with locked(self.path / RESULTS):
            return write_results(self.path, change(self.document()), samples)


def open_results(path: Path, model: dict[str, Any]) -> ResultsFolder:
    """The results of a model in a folder; those of another model there will be replaced.

    Raises:
        DataError: results.json is damaged.
    """
    return ResultsFolder(path, model, identity_of(read_results(path)))
