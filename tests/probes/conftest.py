from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedModel

from alignmlm.evaluation.evaluated_model import Export, open_export
from alignmlm.probes.encoder import load_encoder
from alignmlm.probes.parallel import Reading
from tests.evaluation.conftest import LANGUAGES, write_export


@pytest.fixture(scope="session")
def export(tmp_path_factory) -> Export:
    return open_export(write_export(tmp_path_factory.mktemp("probed") / "export", LANGUAGES))


@pytest.fixture(scope="session")
def encoder(export) -> PreTrainedModel:
    return load_encoder(export.path)


@pytest.fixture(scope="session")
def readings(export) -> list[Reading]:
    """How each language of the export reads sentences."""
    return [
        Reading(language, np.asarray(table), export.vocabulary, export.languages_seed, 24)
        for language, table in zip(export.parsed_languages(), export.script_tables(), strict=True)
    ]


@pytest.fixture
def tatoeba(shared_data) -> tuple[Path, Path]:
    """Sentences in French and in English, line by line."""
    folder = shared_data / "tatoeba"
    return folder / "tatoeba.fra-eng.fra", folder / "tatoeba.fra-eng.eng"
