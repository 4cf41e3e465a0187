"""One flipped bit in each kind of file that is kept: whether reading notices it.

A flip is silent where the file is read without an error and says something else than before. The
table goes to standard output and, with --output, as JSON Lines to a file.

    python benchmarks/flipped_bits.py --flips 200
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignmlm.artifacts.description import Description, write_description
from alignmlm.artifacts.names import STUDY
from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.corpus.sample_world import plain_text, sample_documents
from alignmlm.data.store import TOKENIZER, Store
from alignmlm.data.stored_orders import (
    SCHEMA_VERSION,
    OrderManifest,
    order_folder,
    write_order_manifest,
    write_order_shard,
)
from alignmlm.data.tokenizer import describe, load_tokenizer, train_tokenizer
from alignmlm.errors import AlignMLMError
from alignmlm.evaluation.evaluated_model import open_export
from alignmlm.evaluation.fine_tuning.model_cache import read_model, write_model
from alignmlm.evaluation.fine_tuning.training import classifier, model_class
from alignmlm.evaluation.scores.results import empty, read_results, with_task, write_results
from alignmlm.evaluation.scores.scoring import Sample, Scores, recorded_samples
from alignmlm.evaluation.scores.study_file import study_document, study_text
from alignmlm.languages.language import lay_out_scripts, parse_language
from alignmlm.pretraining.checkpoints import (
    LATEST,
    Progress,
    Rotation,
    load_state,
    read_progress,
    save_checkpoint,
)
from alignmlm.pretraining.run_folder import open_folder

LANGUAGES = ["qaa-Latn", "qaa-Latn-x-inv-trans"]
SEED = 12
Read = Callable[[], Any]  # raises AlignMLMError, or gives what is compared


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of files, and what reading them comes to."""

    name: str
    files: list[Path]
    read: Read


@dataclass(slots=True)
class Outcome:
    """How many flips were noticed."""

    kind: str
    flips: int = 0
    noticed: int = 0
    same: int = 0  # read as before: what was flipped says nothing
    silent: int = 0


@contextmanager
def flipped(path: Path, place: int, bit: int) -> Iterator[None]:
    """A file with one other bit while the block runs."""
    whole = path.read_bytes()
    data = bytearray(whole)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(whole)


def measure(kind: Kind, flips: int) -> Outcome:
    """Flip random bits, each byte of all files being as likely as any other."""
    drawn, outcome = random.Random(f"{SEED} {kind.name}"), Outcome(kind.name)
    sizes = [path.stat().st_size for path in kind.files]
    before = kind.read()
    for number in range(flips):
        # every second flip in a file that is drawn whatever its size: manifests are small
        weights = sizes if number % 2 else None
        path = drawn.choices(kind.files, weights)[0]
        place, bit = drawn.randrange(path.stat().st_size), drawn.randrange(8)
        outcome.flips += 1
        with flipped(path, place, bit):
            try:
                found = kind.read()
            except AlignMLMError:
                outcome.noticed += 1
                continue
        if found == before:
            outcome.same += 1
        else:
            outcome.silent += 1
            sys.stderr.write(f"silent: {kind.name}: {path} byte {place} bit {bit}\n")
    return outcome


def files_of(folder: Path, *left_out: str) -> list[Path]:
    """All files below a folder besides some names."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if path.name not in left_out and not path.name.startswith(".")]


def tensors_of(state: dict[str, torch.Tensor]) -> dict[str, bytes]:
    """Tensors as something that can be compared."""
    return {name: tensor.contiguous().numpy().tobytes() for name, tensor in state.items()}


def checkpoint_kind(folder: Path) -> Kind:
    """A checkpoint's state and manifest."""
    folder.mkdir()
    state = {"parameter/w": torch.arange(500.0), "exp_avg/w": torch.ones(500)}
    progress = Progress(8, 800, 1.5, "abc", 0, {"train.steps": 8, "model.seed": 1}, 3.25)
    path = save_checkpoint(folder, state, progress, Rotation())

    def read() -> Any:
        return asdict(read_progress(path)), tensors_of(load_state(path))

    return Kind("checkpoint folder", files_of(path, LATEST), read)


def write_export(folder: Path) -> Path:
    """A small model with its tokenizer and description."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    folder.mkdir()
    texts = [plain_text(s) for document in sample_documents(300) for s in document]
    tokenizer = train_tokenizer(texts, 400)
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary = describe(tokenizer)
    scripts = lay_out_scripts([parse_language(n) for n in LANGUAGES], vocabulary.alphabet(), 0)
    shape = RobertaConfig(
        vocab_size=scripts.vocabulary_size, num_hidden_layers=1, hidden_size=16,
        num_attention_heads=2, intermediate_size=16, max_position_embeddings=40,
        pad_token_id=vocabulary.pad,
    )  # fmt: skip
    torch.manual_seed(SEED)
    RobertaForMaskedLM(shape).save_pretrained(folder)
    described = Description(
        objective="mlm", languages=LANGUAGES, languages_seed=0, language_embeddings=False,
        vocabulary=asdict(vocabulary), seq_len=24, step=8, data_id="abc",
    )  # fmt: skip
    write_description(folder, described)
    return folder


def export_kind(folder: Path) -> Kind:
    """An export: description, configuration, tokenizer, weights."""
    write_export(folder)

    def read() -> Any:
        return open_export(folder), [path.read_bytes() for path in files]

    files = files_of(folder, "generation_config.json")
    return Kind("export", files, read)


def cache_kind(folder: Path, export: Path) -> Kind:
    """A fine-tuned model as the cache keeps it."""
    kind, key = "token_classification", "0123456789abcdef"
    write_model(folder, classifier(open_export(export), kind, ["a", "b"], 0), key)

    def read() -> Any:
        model = read_model(folder, model_class(kind), key)
        return tensors_of(model.state_dict()), str(model.config)

    return Kind("fine-tuned model in the cache", files_of(folder), read)


def results_kind(folder: Path) -> Kind:
    """results.json and samples."""
    config = {"task": {"name": "toy", "version": 1, "metric": "accuracy"}, "source": "qaa-Latn"}
    target = LANGUAGES[1]
    score = Scores(
        seed=0, source="qaa-Latn", target=target, source_dev=1.0, source_test=90.0, bs=80.5,
        bz=70.25,
    )  # fmt: skip
    samples = [
        Sample(seed=0, arm="bz", doc_id=str(n), doc_hash=f"{n:016x}", target=["A"],
               filtered_resps=["B"], gained=0.0, possible=1.0)
        for n in range(20)
    ]  # fmt: skip
    model = {"objective": "mlm", "model_xxh3": "0" * 16}
    document = with_task(empty(model), config, [score], {}, 1.0)
    write_results(folder, document, {"toy": {target: samples}})

    def read() -> Any:
        found = read_results(folder)
        return found, recorded_samples(folder, (found or {})["samples"], "toy", target)

    return Kind("results.json and samples", files_of(folder), read)


def study_kind(folder: Path) -> Kind:
    """study.json: the rows of some runs."""
    folder.mkdir()
    rows = [
        {
            "objective": objective, "seed": seed, "task": "toy", "steps": 600,
            "source_language": LANGUAGES[0], "language": LANGUAGES[1], "source": 95.5,
            "bs": 90.25, "bz": 50.5 + seed, "delta": 39.75 - seed, "n_seeds": 1,
            "validation_loss_nats": {LANGUAGES[0]: 3.125}, "alignment_held_out_percent": None,
        }
        for objective in ("mlm", "align_mlm") for seed in range(3)
    ]  # fmt: skip
    path = folder / STUDY
    path.write_text(study_text("toy", rows), encoding="utf-8")
    return Kind("study.json", [path], lambda: study_document(path))


def store_settings(store: Path) -> list[str]:
    """The settings of a small store."""
    source = '--data.sources=[{"language": "qaa-Latn", "files": ["sample:300"]}]'
    return [source, "--data.vocabulary_size=400", "--data.validation=0.1", f"--data.store={store}"]


def orders_kind(store: Path) -> Kind:
    """A syntax order of a store: shards of ranks and their manifest."""
    opened, order, language = Store(store), "syn-fra-N-hin-V", "qaa-Latn"
    digests: dict[str, list[str]] = {}
    for split, entries in opened.manifest.splits[language].items():
        digests[split] = []
        for entry in entries:
            path = order_folder(store, order, language) / split / f"{entry.name}.ord"
            ranks = (np.arange(entry.tokens) % 7).astype(np.uint8)
            digests[split].append(write_order_shard(path, ranks))
    data_id = opened.manifest.data_id
    counts, provenance = {"sentences": 300, "parsed": 280}, {"seed": 0}
    manifest = OrderManifest(SCHEMA_VERSION, order, language, data_id, digests, counts, provenance)
    write_order_manifest(store, manifest)

    def read() -> Any:
        again = Store(store)
        return [
            shard.orders[0].ranks(0, shard.entry.tokens).tobytes()
            for split in again.manifest.splits[language]
            for shard in again.split(language, split, [order]).shards
        ]

    return Kind("stored orders", files_of(store / "orders"), read)


def tokenizer_kind(store: Path) -> Kind:
    """The tokenizer of a store."""

    def read() -> Any:
        return load_tokenizer(Store(store).path / TOKENIZER).to_str()

    return Kind("tokenizer", [store / TOKENIZER], read)


def dictionary_kind(folder: Path, store: Path) -> Kind:
    """A dictionary file of a run that goes on: its folder remembers the content."""
    path, run = folder / "dictionary.txt", folder / "run"
    path.write_text("".join(f"word{n} wort{n}\n" for n in range(200)))
    file = {"path": str(path), "source": LANGUAGES[0], "target": LANGUAGES[1]}
    settings = [f"--dictionary.files={json.dumps([file])}", f"--run.dir={run}"]
    recipe = load_recipe(None, [*store_settings(store), *settings])

    def read() -> Any:
        open_folder(run, recipe).release()
        return path.read_bytes()

    return Kind("dictionary", [path], read)


def kinds_in(folder: Path) -> Iterator[Kind]:
    """All kinds of files, each written anew below a folder."""
    export = folder / "export"
    yield checkpoint_kind(folder / "checkpoints")
    yield export_kind(export)
    yield cache_kind(folder / "model", export)
    yield results_kind(folder / "results")
    yield study_kind(folder / "study")
    store = build_store(load_recipe(None, store_settings(folder / "store")).data)
    yield dictionary_kind(folder, store)
    yield orders_kind(store)
    yield tokenizer_kind(store)


def table(outcomes: list[Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    rows = [f"| {o.kind} | {o.flips} | {o.noticed} | {o.same} | {o.silent} |" for o in outcomes]
    head = ["| kind | flips | noticed | read as before | silent |", "|---|--:|--:|--:|--:|"]
    return "\n".join([*head, *rows])


def main() -> None:
    """Exit code 1 where a flip was silent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=200, help="in each kind")
    parser.add_argument("--smoke", action="store_true", help="10 flips in each kind")
    parser.add_argument("--output", type=Path, help="JSON Lines, one row a kind")
    values = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [
            measure(kind, 10 if values.smoke else values.flips) for kind in kinds_in(Path(folder))
        ]
    sys.stdout.write(table(outcomes) + "\n")
    if values.output:
        lines = "".join(json.dumps(asdict(outcome)) + "\n" for outcome in outcomes)
        values.output.write_text(lines, encoding="utf-8")
    sys.exit(any(outcome.silent for outcome in outcomes))


if __name__ == "__main__":
    main()
