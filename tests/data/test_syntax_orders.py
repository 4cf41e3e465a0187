"""From a treebank to a syntax order beside the tokens, and into batches."""

import gzip
import json
import shutil
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import numpy as np
import pytest

from alignmlm.cli import dispatch, guarded
from alignmlm.config import load_recipe
from alignmlm.corpus.build import build_store
from alignmlm.corpus.parses import (
    PARSES,
    looked_up,
    parse_store,
    parsed_by,
    parses_path,
    read_blocks,
)
from alignmlm.corpus.reordering import find_model, model_languages, order_store
from alignmlm.data.inspect import damages
from alignmlm.data.store import TRAIN, VALIDATION, Store
from alignmlm.data.stored_orders import OrderShard, order_folder, write_order_shard
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.languages.orders import reorder
from alignmlm.storage.checksums import file_xxh3
from alignmlm.storage.locks import locked
from alignmlm.syntax.features import NOUN_HEADS
from alignmlm.syntax.fitting import fit_treebank
from alignmlm.syntax.ordering import write_orm

LANGUAGE, ORDER, NOUN_ORDER = "eng-Latn", "syn-fra", "syn-fra-N"
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


def conllu(words):
    """A tree of some words, all of which depend on the first."""
    rows = (
        f"{i}\t{word}\t_\tNOUN\t_\t_\t{int(i > 1)}\t{'dep' if i > 1 else 'root'}\t_\t_"
        for i, word in enumerate(words, start=1)
    )
    return "\n".join([*rows, "", ""])


SENTENCES = [[word, "cat", f"sat{n}", "."] for n in range(20) for word in ("Red", "Blue")]


@pytest.fixture(scope="module")
def small_parts(tmp_path_factory):
    """A store of 40 sentences, each a document, and the treebank that they come from."""
    folder = tmp_path_factory.mktemp("small")
    bank = folder / "bank.conllu"
    bank.write_text("".join(f"# newdoc\n{conllu(words)}" for words in SENTENCES))
    source = json.dumps([{"language": LANGUAGE, "files": [str(bank)]}])
    settings = [f"--data.sources={source}", f"--data.store={folder / 'store'}"]
    settings += ["--data.vocabulary_size=270", "--data.validation=0.3"]
    return build_store(load_recipe(None, settings).data), bank


@pytest.fixture
def small(small_parts, tmp_path):
    """A copy of the small store and its treebank."""
    store, bank = small_parts
    shutil.copytree(store, tmp_path / "store")
    shutil.copy(bank, tmp_path)
    return Store(tmp_path / "store"), tmp_path / bank.name


def parse(store, source, most=2**60):
    return parse_store(store, LANGUAGE, source, most, NO_PROGRESS)


@pytest.fixture(scope="module")
def noun_models(small_parts, tmp_path_factory):
    """A folder with a model of noun dependents, fitted to the small treebank."""
    folder = tmp_path_factory.mktemp("models")
    write_orm(folder / "fra@N.orm", fit_treebank([small_parts[1]], NOUN_HEADS))
    return folder


def file_states(folder, ending):
    """The inode of each file with an ending, and when it was written."""
    states = {path: path.stat() for path in sorted(folder.rglob(f"*{ending}"))}
    return {path: (state.st_ino, state.st_mtime_ns) for path, state in states.items()}


def test_the_same_parses_are_not_made_again(small):
    store, bank = small
    counts = parse(store, looked_up([bank]))
    made = file_states(store.path, ".conllu.gz")
    assert parse(store, looked_up([bank])) == counts
    assert file_states(store.path, ".conllu.gz") == made


def test_sentences_that_an_earlier_parse_was_not_asked_for_are_parsed(small):
    store, bank = small
    assert parse(store, looked_up([bank]), 10)["not asked for"]
    assert parse(store, looked_up([bank]))["parsed"] == len(SENTENCES)


def test_another_treebank_at_the_same_path_is_looked_up(small):
    store, bank = small
    parse(store, looked_up([bank]))
    bank.write_text(conllu(SENTENCES[0]))
    assert parse(store, looked_up([bank]))["parsed"] == 1


def toy_parses(path, batches):
    """What a parser would yield whose file holds nothing but a tag."""
    for batch in batches:
        yield [
            conllu(words).replace("NOUN", path.read_text()) if words else None for words in batch
        ]


def test_another_parser_at_the_same_path_parses_again(small, tmp_path):
    store, parser = small[0], tmp_path / "parser"
    for tag in ("VERB", "NOUN"):
        parser.write_text(tag)
        assert parse(store, parsed_by(partial(toy_parses, parser), parser))["parsed"] == len(
            SENTENCES
        )
        parses = parses_path(store.path, LANGUAGE, TRAIN, "shard-00000")
        assert f"\t{tag}\t" in gzip.decompress(parses.read_bytes()).decode()


def test_a_parser_that_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match=r"no parser at \S+none"):
        parsed_by(partial(toy_parses, tmp_path / "none"), tmp_path / "none")


def test_parses_without_a_record_of_what_made_them_are_made_again(small):
    store, bank = small
    counts = parse(store, looked_up([bank]))
    for record in store.path.rglob("shard-*.json"):
        record.write_text('{"parsed": 1}')
    assert parse(store, looked_up([bank])) == counts


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["parse", "--language=eng-Latn-x-inv", "--gold=bank.conllu"], "has no language"),
        (["order", "--language=fra-Latn", "--order=syn-fra-N", "--models=."], "has no language"),
        (["parse", "--language=eng-Latn", "--gold=bank.conllu", "--sentences=-1"], "be at least 0"),
        (["fit-order", "--language=French", "--output=models"], "--language = 'French'"),
    ],
)
def test_a_command_that_no_store_or_order_can_honour_is_an_error(small, capsys, words, said):
    store, bank = small
    place = bank if words[0] == "fit-order" else store.path
    assert guarded(dispatch, ["data", words[0], str(place), *words[1:]]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (store.path / PARSES).exists()


def test_an_order_says_which_parses_it_is_from(small, noun_models):
    store, bank = small
    parse(store, looked_up([bank]))
    manifest = order_store(store, LANGUAGE, NOUN_ORDER, noun_models, 0, NO_PROGRESS)
    assert manifest.provenance["parses"] == {
        split: [file_xxh3(parses_path(store.path, LANGUAGE, split, "shard-00000"))]
        for split in (TRAIN, VALIDATION)
    }


def test_an_order_that_fails_leaves_the_older_one_as_it_was(small, noun_models):
    store, bank = small
    parse(store, looked_up([bank]))
    order_store(store, LANGUAGE, NOUN_ORDER, noun_models, 0, NO_PROGRESS)
    folder = order_folder(store.path, NOUN_ORDER, LANGUAGE)
    made = file_states(folder, "")
    last = list(store.manifest.splits[LANGUAGE])[-1]
    parses_path(store.path, LANGUAGE, last, "shard-00000").unlink()
    with pytest.raises(DataError, match="there are no parses"):
        order_store(store, LANGUAGE, NOUN_ORDER, noun_models, 1, NO_PROGRESS)
    assert file_states(folder, "") == made
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [LANGUAGE]


def test_who_reads_an_order_reads_on_when_it_is_made_again(small):
    path = order_folder(small[0].path, ORDER, LANGUAGE) / TRAIN / "shard-00000.ord"
    first, second = (np.full(3000, value, np.uint8) for value in (1, 2))
    opened = OrderShard(path, 3000, write_order_shard(path, first))
    opened.verify_blocks(0, 2)
    write_order_shard(path, second)
    assert opened.ranks(0, 3000).tolist() == first.tolist()


def test_two_orders_of_one_name_are_made_one_after_the_other(small, noun_models):
    store, bank = small
    parse(store, looked_up([bank]))
    folder = order_folder(store.path, NOUN_ORDER, LANGUAGE)
    arguments = (store, LANGUAGE, NOUN_ORDER, noun_models, 0, NO_PROGRESS)
    with ThreadPoolExecutor(1) as pool:
        with locked(folder):
            making = pool.submit(order_store, *arguments)
            assert not wait([making], timeout=0.5).done
            assert not folder.exists()
        assert making.result().digests
    assert folder.exists()
