"""Kill, resume, and other numbers of ranks, workers and micro-batches: always the same batches.

Three sources, weights that change at a step, translation rows, and every order and script change.
"""

import json
import multiprocessing
import os
import signal
import time
from itertools import product

import numpy as np
import pytest
import torch
import xxhash

from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.data.batches import batch_samples, make_batch
from alignmlm.data.prefetch import in_order
from alignmlm.data.store import TRAIN, VALIDATION, Store
from alignmlm.data.stored_orders import (
    SCHEMA_VERSION,
    OrderManifest,
    order_folder,
    write_order_manifest,
    write_order_shard,
)
from alignmlm.pretraining.assembly import assemble

ROWS, KILLS = 24, 100
LANGUAGES = [
    "qaa-Latn",
    "qaa-Latn-x-inv-trans",
    "qaa-Latn-x-perm-rep20-ovl25",
    "qab-Latn",
    "qab-Latn-x-noise3-vperm",
    "qac-Latn",
    "qac-Latn-x-syn-fra-N-hin-V-trans",
]
SETTINGS = [
    "--data.vocabulary_size=500",
    "--train.seq_len=64",
    f"--train.batch_rows={ROWS}",
    f"--languages.ids={json.dumps(LANGUAGES)}",
    "--languages.weights=[4, 3, 2, 3, 2, 2, 1]",
    '--languages.weight_changes=[{"step": 40, "weights": [1, 1, 1, 1, 1, 1, 5]}]',
    "--objective.name=tlm",
]


def write_random_order(folder, order, language):
    """A syntax order with random ranks, stored as a real one is."""
    store = Store(folder)
    digests = {}
    for split in (TRAIN, VALIDATION):
        digests[split] = []
        for number, shard in enumerate(store.split(language, split).shards):
            text, _ = shard.sentences(0, shard.entry.tokens)
            drawn = np.random.default_rng(number).integers(0, 255, text.word_starts.sum(), np.uint8)
            path = order_folder(folder, order, language) / split / f"{shard.entry.name}.ord"
            digests[split].append(write_order_shard(path, drawn[text.word_of_token()]))
    manifest = OrderManifest(
        SCHEMA_VERSION, order, language, store.manifest.data_id, digests, {}, {}
    )
    write_order_manifest(folder, manifest)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elastic") / "store"
    counts = {"qaa-Latn": 3000, "qab-Latn": 2000, "qac-Latn": 1000}
    sources = [{"language": name, "files": [f"sample:{n}"]} for name, n in counts.items()]
    here = [*SETTINGS, f"--data.store={folder}", f"--data.sources={json.dumps(sources)}"]
    build_store(load_recipe(None, here).data)
    write_random_order(folder, "syn-fra-N-hin-V", "qac-Latn")
    return here


def load(settings):
    return assemble(load_recipe(None, settings)).loader


def rank_batches(loader, step, rank, world, micro):
    samples = batch_samples(loader, step, ROWS, rank, world, micro)
    return [make_batch(loader, part, TRAIN) for part in samples]


def global_hash(parts):
    """A hash of a whole step, however it was cut into parts."""
    digest = xxhash.xxh3_64()
    for name in ("input_ids", "position_ids", "language_ids", "labels", "languages", "terms"):
        digest.update(torch.cat([getattr(part, name) for part in parts]).numpy().tobytes())
    shifts = np.cumsum([0, *(part.input_ids.numel() for part in parts)])
    places = [part.masked + int(shift) for part, shift in zip(parts, shifts, strict=False)]
    digest.update(torch.cat(places).numpy().tobytes())
    return digest.hexdigest()


def write_hashes(settings, path, first, last, workers):
    """Append the hash of each step to a file, as training appends its metrics."""
    loader = load(settings)
    with path.open("a") as file:
        steps = in_order(lambda s: rank_batches(loader, s, 0, 1, ROWS), first, last, workers)
        for step, ready in enumerate(steps, start=first):
            file.write(f"{step} {global_hash(ready())}\n")
            file.flush()


def written(path):
    """Steps and hashes that were written whole."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [tuple(line.split()) for line in lines if line.endswith("\n")]


@pytest.mark.slow
def test_a_hundred_kills_change_no_batch(settings, tmp_path):
    rng, context = np.random.default_rng(0), multiprocessing.get_context("fork")
    path, last = tmp_path / "hashes", 3000
    for kill in range(KILLS):
        done = written(path)
        path.write_text("".join(" ".join(line) + "\n" for line in done))
        arguments = (settings, path, len(done), last, int(rng.integers(0, 5)))
        child = context.Process(target=write_hashes, args=arguments)
        child.start()
        target = len(done) + int(rng.integers(1, last // KILLS))
        while len(written(path)) < target and child.is_alive():
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert len(written(path)) >= target, f"kill {kill}"
    whole = tmp_path / "whole"
    resumed = written(path)
    write_hashes(settings, whole, 0, len(resumed), 0)
    assert resumed == written(whole)
    assert len(resumed) > KILLS


@pytest.mark.slow
def test_any_ranks_workers_and_micro_batches_give_the_same_batches(settings):
    first, last = 36, 44  # the weights change in between
    loader = load(settings)
    expected = [global_hash(rank_batches(loader, step, 0, 1, ROWS)) for step in range(first, last)]
    assert len(set(expected)) == last - first
    for saved, loaded in product((1, 2, 3, 4, 8), repeat=2):
        resumed = load(settings)  # what a rank knows after a resume is the step alone
        for world, steps in ((saved, range(first, 40)), (loaded, range(40, last))):
            share, workers = ROWS // world, (saved + loaded) % 5
            micro = max(1, share // (1 + (saved * loaded) % 3))
            by_rank = [
                in_order(
                    lambda s, r=rank, w=world, m=micro: rank_batches(resumed, s, r, w, m),  # noqa: B023
                    steps.start,
                    steps.stop,
                    workers,
                )
                for rank in range(world)
            ]
            for step, ready in zip(steps, zip(*by_rank, strict=True), strict=True):
                parts = [batch for made in ready for batch in made()]
                assert global_hash(parts) == expected[step - first], (saved, loaded, step)


def test_every_number_of_workers_gives_the_steps_in_order():
    for workers in range(5):
        made = [ready() for ready in in_order(lambda step: step * step, 3, 40, workers)]
        assert made == [step * step for step in range(3, 40)]


def test_an_error_is_raised_where_its_step_is_asked_for():
    def make(step):
        if step == 5:
            raise ValueError(step)
        return step

    for workers in (0, 3):
        steps = in_order(make, 0, 10, workers)
        assert [next(steps)() for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(ValueError, match="5"):
            next(steps)()


def test_a_syntax_order_is_read_beside_the_tokens(settings):
    from alignmlm.data.reference import reference_batch

    loader = load([*settings, "--objective.name=tlm", "--objective.translation_rows=0.5"])
    for step in (0, 41):
        samples = batch_samples(loader, step, ROWS, 0, 1, ROWS)[0]
        found, expected = (
            make_batch(loader, samples, TRAIN),
            reference_batch(loader, samples, TRAIN, 0),
        )
        assert torch.equal(found.input_ids, expected.input_ids)
