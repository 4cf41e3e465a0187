"""From a treebank to a syntax order beside the tokens, and into batches."""

import json

import numpy as np
import pytest

from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.corpus.parses import looked_up, parse_store, read_blocks
from alignmlm.corpus.reordering import find_model, model_languages, order_store
from alignmlm.data.inspect import damages
from alignmlm.data.store import TRAIN, Store
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.orders import reorder

LANGUAGE, ORDER = "eng-Latn", "syn-fra"
NO_PROGRESS = lambda done, total: None  # noqa: E731


@pytest.fixture(scope="module")
def treebank(request):
    from alignmlm.corpus.sources import expand_path

    path = expand_path("$ALIGNMLM_DATA/ud/UD_English-EWT/en_ewt-ud-dev.conllu.gz")
    if not path.is_file():
        pytest.skip(f"NO REAL DATA: set ALIGNMLM_DATA (looked for {path.absolute()})")
    return path


@pytest.fixture(scope="module")
def models(treebank):
    return treebank.parents[2] / "galactic_dependencies" / "models"


@pytest.fixture(scope="module")
def ordered(treebank, models, tmp_path_factory):
    """A store of EWT dev with its gold parses and French word order."""
    folder = tmp_path_factory.mktemp("syntax") / "store"
    source = json.dumps([{"language": LANGUAGE, "files": [str(treebank)]}])
    settings = [f"--data.sources={source}", f"--data.store={folder}", "--data.vocabulary_size=3000"]
    build_store(load_recipe(None, [*settings, "--data.validation=0.2"]).data)
    store = Store(folder)
    parsed = parse_store(store, LANGUAGE, looked_up([treebank]), 2**60, NO_PROGRESS)
    manifest = order_store(store, LANGUAGE, ORDER, models, 0, NO_PROGRESS)
    return store, parsed, manifest


def sentences_of(store, split=TRAIN):
    shard = store.split(LANGUAGE, split, [ORDER]).shards[0]
    return shard.sentences(0, shard.entry.tokens, 0)[0]


def test_every_sentence_is_parsed_or_counted_with_its_reason(ordered):
    store, parsed, manifest = ordered
    entries = [e for entries in store.manifest.splits[LANGUAGE].values() for e in entries]
    assert sum(parsed.values()) == sum(entry.sentences for entry in entries)
    assert parsed["end of a document"] == sum(entry.documents for entry in entries)
    assert parsed["parsed"] > 0.98 * (sum(parsed.values()) - parsed["end of a document"])
    assert manifest.counts["trees"] == parsed["parsed"]
    assert manifest.counts["trees_not_projective"] > 0


def test_ranks_are_a_permutation_of_each_sentence(ordered):
    text = sentences_of(ordered[0])
    ranks, sentence = text.stored_ranks(), text.sentence_of_word()
    for part in np.split(ranks, np.flatnonzero(np.diff(sentence)) + 1)[:500]:
        assert sorted(part.tolist()) == list(range(len(part)))


def test_adjectives_follow_their_nouns_more_often(ordered):
    store, *_ = ordered
    tokenizer = load_tokenizer(store.path / "tokenizer.json")
    text = sentences_of(store)
    moved = reorder(text, ORDER, 0, np.array(store.vocabulary.final))
    before, after = (tokenizer.decode(ids.tolist()) for ids in (text.ids, moved))
    assert len(before) == pytest.approx(len(after), rel=0.01)
    assert "a very knowledgeable staff" in before
    assert "a staff very knowledgeable" in after


def test_a_store_that_has_the_order_can_train_on_it(ordered):
    from alignmlm.data.batches import batch_samples, make_batch
    from alignmlm.data.reference import reference_batch
    from alignmlm.pretraining.assembly import assemble

    names = f"[{LANGUAGE}, {LANGUAGE}-x-{ORDER}-trans]"
    settings = [f"--data.store={ordered[0].path}", f"--languages.ids={names}"]
    loader = assemble(load_recipe(None, [*settings, "--objective.name=tlm"])).loader
    samples = batch_samples(loader, 3, 16, 0, 1, 16)[0]
    batch, expected = make_batch(loader, samples, TRAIN), reference_batch(loader, samples, TRAIN, 0)
    assert batch.input_ids.tolist() == expected.input_ids.tolist()


def test_damage_of_an_order_is_found(ordered, tmp_path):
    import shutil

    copy = shutil.copytree(ordered[0].path, tmp_path / "copy")
    path = copy / "orders" / ORDER / LANGUAGE / TRAIN / "shard-00000.ord"
    data = bytearray(path.read_bytes())
    data[2000] ^= 4
    path.write_bytes(data)
    assert [line for line in damages(Store(copy)) if "shard-00000.ord is damaged" in line]
    path.write_bytes(data[:-1])
    with pytest.raises(DataError, match=r"shard-00000\.ord has \d+ bytes"):
        Store(copy).split(LANGUAGE, TRAIN, [ORDER])


def test_an_order_that_was_not_made_says_how_to_make_it(ordered):
    with pytest.raises(DataError, match=r"no order 'syn-hin'.*alignmlm data order --order syn-hin"):
        ordered[0].split(LANGUAGE, TRAIN, ["syn-hin"])


def test_parses_that_are_missing_say_how_to_make_them(ordered):
    with pytest.raises(DataError, match="make them with `alignmlm data parse`"):
        next(read_blocks(ordered[0].path / "nothing.conllu.gz"))


@pytest.mark.parametrize(
    ("order", "languages"),
    [
        ("syn-fra", ("fra", "fra")),
        ("syn-fra-N", ("fra", "")),
        ("syn-fra-V", ("", "fra")),
        ("syn-fra-N-hin-V", ("fra", "hin")),
    ],
)
def test_an_order_names_its_noun_and_verb_models(order, languages):
    assert model_languages(order) == languages


def test_another_order_or_a_missing_model_is_an_error(models):
    with pytest.raises(ConfigError, match="syn-fra-N-hin-V"):
        model_languages("inv")
    with pytest.raises(DataError, match=r"no ordering model zzz@N\.orm"):
        find_model(models, "zzz", "N")
