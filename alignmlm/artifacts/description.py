"""alignmlm.json: what an exported model is, and the hashes of the files beside it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from alignmlm.artifacts.model_files import model_files
from alignmlm.artifacts.names import DESCRIPTION, EXPORT
from alignmlm.errors import CheckpointError, quoted
from alignmlm.storage.atomic import replace_text
from alignmlm.storage.checksums import check_files, file_hashes, verified, with_checksum
from alignmlm.storage.plain_data import read_json
from alignmlm.storage.records import check_keys

SCHEMA_VERSION = 2
ANEW = "write it anew with `alignmlm export RUN`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the evaluation must know of a model: its languages and where their tokens lie."""

    objective: str
    languages: list[str]  # a language's place is its number in the model
    languages_seed: int  # of word permutations and overlaps
    language_embeddings: bool  # token types that say which language a token is of
    vocabulary: dict[str, Any]  # of the base languages: the fields of data.tokenizer.Vocabulary
    seq_len: int  # longest row, in tokens
    step: int
    data_id: str
    output: str = "separate"  # or "unified": one label for both words of a given pair


def write_description(folder: Path, description: Description) -> None:
    """Describe the model of a folder that holds all its other files."""
    names = [path.name for path in model_files(folder) if path.name != DESCRIPTION]
    document = {
        "schema_version": SCHEMA_VERSION,
        **asdict(description),
        "files": file_hashes(folder, names),
    }
    replace_text(folder / DESCRIPTION, json.dumps(with_checksum(document), indent=1))


def export_folder(model: Path) -> Path:
    """The export of a run folder, or the folder itself where it is an export.

    Raises:
        CheckpointError: neither.
    """
    for folder in (model, model / EXPORT):
        if (folder / DESCRIPTION).is_file():
            return folder
    raise CheckpointError(
        f"there is no export at {model}: neither {DESCRIPTION} nor {EXPORT}/{DESCRIPTION} is "
        f"there; a run writes its export when it ends"
    )


def read_description(folder: Path) -> Description:
    """The description in an export's folder, after its checksum and all its files are checked.

    Raises:
        CheckpointError: a file is missing, damaged, of another version or not listed; the message
            names it.
    """
    path = folder / DESCRIPTION
    document = read_json(path, CheckpointError)
    if (version := document.get("schema_version")) != SCHEMA_VERSION:
        raise CheckpointError(
            f"{path} has schema version {version}; this alignmlm reads {SCHEMA_VERSION}: {ANEW}"
        )
    content = verified(document, path, CheckpointError)
    check_keys(content, {"files": dict}, path, CheckpointError)
    try:
        recorded = content.pop("files")
        check_files(folder, recorded, CheckpointError)
        del content["schema_version"]
        check_types(content, path)
        described = Description(**content)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} does not describe an export: {quoted(error)}") from error
    names = {file.name for file in model_files(folder)} - {DESCRIPTION}
    if unknown := sorted(names - recorded.keys()):
        raise CheckpointError(f"{folder / unknown[0]} is not one of the files that {path} names")
    return described


def check_types(content: dict[str, Any], path: Path) -> None:
    """Raise unless each entry of a description is of its type.

    Raises:
        CheckpointError: one is not; the message names it.
    """
    for name, wanted in get_type_hints(Description).items():
        value, plain = content[name], get_origin(wanted) or wanted
        inner = value if wanted == list[str] and isinstance(value, list) else []
        in_range = plain is not int or (type(value) is int and 0 <= value < 2**63)
        if type(value) is not plain or not in_range or not all(type(i) is str for i in inner):
            requirement = f"be a {plain.__name__}" + (" in [0, 2**63)" if plain is int else "")
            raise CheckpointError(f"{path}: {name} = {quoted(value)}, but it must {requirement}")
