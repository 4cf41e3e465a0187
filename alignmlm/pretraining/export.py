"""Exporting checkpoints for AutoModelForMaskedLM and AutoTokenizer, with a model card."""

from dataclasses import asdict
from pathlib import Path

from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from alignmlm.artifacts.description import Description, write_description
from alignmlm.artifacts.names import DESCRIPTION
from alignmlm.data.store import TOKENIZER
from alignmlm.data.tokenizer import SPECIAL, load_tokenizer
from alignmlm.errors import AlignMLMError, CheckpointError, ConfigError
from alignmlm.models.masked_lm import MaskedLanguageModel
from alignmlm.objectives.registry import objective_of
from alignmlm.pretraining.assembly import Assembly, assemble, make_model
from alignmlm.pretraining.checkpoints import (
    CHECKPOINTS,
    Progress,
    load_state,
    newest_checkpoint,
    read_progress,
    saved_steps,
)
from alignmlm.pretraining.metrics import Metrics
from alignmlm.pretraining.model_card import model_card
from alignmlm.pretraining.recipe import Recipe
from alignmlm.pretraining.run_folder import check_store
from alignmlm.pretraining.run_records import validation_at
from alignmlm.pretraining.state import check_state
from alignmlm.storage.atomic import new_folder, replace_text
from alignmlm.storage.locks import locked

CARD = "README.md"
PREFIX = "masked_model."  # of parameter names: the model's place in the training module


def trained_model(
    recipe: Recipe, assembly: Assembly, state: dict[str, Tensor]
) -> MaskedLanguageModel:
    """The model of a checkpoint's state, on the CPU in float32.

    Raises:
        CheckpointError: the state is of another model.
    """
    model = make_model(recipe, assembly)
    check_state(model, state, PREFIX)
    for name, parameter in model.named_parameters():
        parameter.data.copy_(state[f"parameter/{PREFIX}{name}"])
    return model.eval()


def export_tokenizer(assembly: Assembly, seq_len: int) -> PreTrainedTokenizerFast:
    """The tokenizer of the base languages, for transformers."""
    path, ids = assembly.store.path / TOKENIZER, assembly.store.vocabulary
    backend = load_tokenizer(path)
    names = {role: backend.id_to_token(getattr(ids, role)) for role in SPECIAL}
    bos, eos = names["bos"], names["eos"]
    backend.post_processor = TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, ids.bos), (eos, ids.eos)],
    )
    special = {f"{role}_token": name for role, name in names.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=seq_len,
        cls_token=bos,
        sep_token=eos,
        **special,
    )


def description(recipe: Recipe, assembly: Assembly, progress: Progress) -> Description:
    """What the evaluation needs of the model: its languages and where their tokens are."""
    return Description(
        objective=recipe.objective.name,
        output=recipe.objective.output,
        languages=list(recipe.languages.ids),
        languages_seed=recipe.languages.seed,
        language_embeddings=objective_of(recipe.objective).language_embeddings,
        vocabulary=asdict(assembly.store.vocabulary),
        seq_len=recipe.train.seq_len,
        step=progress.step,
        data_id=progress.data_id,
    )


def export(
    recipe: Recipe,
    assembly: Assembly,
    state: dict[str, Tensor],
    progress: Progress,
    metrics: Metrics,
    folder: Path,
) -> Path:
    """Write model, tokenizer, card and alignmlm.json to a folder that appears atomically.

    Raises:
        ConfigError: the folder exists and is not an export.
    """
    disable_progress_bar()
    with locked(folder):
        if folder.exists() and not (folder / DESCRIPTION).is_file():
            raise ConfigError("output", str(folder), "be new, or an export to replace")
        with new_folder(folder) as partial:
            trained_model(recipe, assembly, state).model.save_pretrained(partial)
            export_tokenizer(assembly, recipe.train.seq_len).save_pretrained(partial)
            replace_text(partial / CARD, model_card(recipe, progress, metrics))
            write_description(partial, description(recipe, assembly, progress))
    return folder


def export_run(recipe: Recipe, folder: Path, output: Path, step: int | None) -> Path:
    """Export a run's checkpoint: that of a step, or the newest whole one.

    Raises:
        CheckpointError: there is none, it is damaged, or its data is not that of data.store.
    """
    checkpoints = folder / CHECKPOINTS
    if step is None:
        newest = newest_checkpoint(checkpoints)
        if newest is None:
            raise CheckpointError(f"{folder} has no checkpoint to export")
        path, progress = newest
    else:
        path = checkpoints / f"step-{step}"
        if not path.is_dir():
            raise CheckpointError(
                f"{folder} has checkpoints {sorted(saved_steps(checkpoints))}, not {step}"
            )
        progress = read_progress(path)
    assembly = assemble(recipe)
    check_store(folder, progress, assembly.store.manifest)
    state, metrics = load_state(path), validation_at(folder, progress.step)
    return export(recipe, assembly, state, progress, metrics, output)


def push(folder: Path, name: str, public: bool = False) -> str:
    """Upload an export to the Hugging Face hub as "ORG/NAME"; returns its address.

    A new repository is private unless `public`; an existing one keeps its visibility, and gets a
    commit.

    Raises:
        AlignMLMError: the hub cannot be reached or refuses; huggingface_hub raises many kinds of
            errors.
    """
    from huggingface_hub import HfApi

    hub = HfApi()
    try:
        address = hub.create_repo(name, private=not public, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder, commit_message=f"From {folder.name}")
    except Exception as error:
        said = str(error).strip() or type(error).__name__
        remedy = "log in by `hf auth login` or HF_TOKEN; the export itself is whole"
        raise AlignMLMError(f"{folder} is not pushed to {name}: {said} ({remedy})") from error
    return str(address)
