"""Tokens of Megatron-LM and datatrove become stores; damaged files are errors that name them."""

import gzip
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from alignmlm.corpus.token_bounds import Importer, find_bounds, make_importer, sentence_parts
from alignmlm.data.inspect import damages
from alignmlm.data.shards import Shard
from alignmlm.data.store import TOKENIZER, TRAIN, VALIDATION, Store
from alignmlm.data.text import sentence_texts, split_sentences
from alignmlm.data.tokenizer import encode_flat, train_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.interchange.foreign import TokenFile, open_tokens
from alignmlm.interchange.imports import import_tokens

Documents = list[list[list[int]]]  # of sequences of tokens


@cache
def importer_of(tokenizer: Tokenizer) -> Importer:
    """The importer of a tokenizer."""
    with TemporaryDirectory() as folder:
        tokenizer.save(f"{folder}/tokenizer.json")
        return make_importer(Path(folder), "eng-Latn", 0.1)


def write_megatron(
    stem: Path, documents: Documents, dtype: str = "<u2", code: int = 8, modes: bool = False
) -> Path:
    """An indexed dataset as Megatron-LM lays it out; the path of its .bin."""
    sequences = [sequence for document in documents for sequence in document]
    lengths = np.array([len(sequence) for sequence in sequences], "<i4")
    width = np.dtype(dtype).itemsize
    pointers = (np.cumsum(lengths, dtype="<i8") - lengths) * width
    groups = np.cumsum([0, *(len(document) for document in documents)], dtype="<i8")
    header = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, code, len(sequences), len(groups))
    index = header + lengths.tobytes() + pointers.astype("<i8").tobytes() + groups.tobytes()
    index += bytes(len(sequences)) if modes else b""
    Path(f"{stem}.idx").write_bytes(index)
    flat = [token for sequence in sequences for token in sequence]
    Path(f"{stem}.bin").write_bytes(np.array(flat, dtype).tobytes())
    return Path(f"{stem}.bin")


def write_datatrove(path: Path, documents: Documents, width: int = 2) -> Path:
    """A .ds file with its index and metadata as datatrove writes them."""
    flat = [[token for sequence in document for token in sequence] for document in documents]
    ends = np.cumsum([len(document) for document in flat], dtype="<u8")
    path.write_bytes(np.concatenate(flat).astype(f"<u{width}").tobytes())
    Path(f"{path}.index").write_bytes(ends.tobytes())
    Path(f"{path}.metadata").write_text(f"a/tokenizer|{width}\n{ends[-1]}\n1 T")
    return path


def texts_of(store: Store, language: str, split: str) -> list[list[int]]:
    """The documents of a split as token ids, without </s>."""
    eos, found = store.vocabulary.eos, []
    for shard in store.split(language, split).shards:
        ids = shard.tokens(0, shard.entry.tokens)
        found += [part.tolist() for part in np.split(ids, np.flatnonzero(ids == eos) + 1)]
    return [part[:-1] for part in found if part]


def starts_of(shard: Shard) -> tuple[np.ndarray, np.ndarray]:
    """Word and sentence starts of a shard."""
    text, _ = shard.sentences(0, shard.entry.tokens)
    return text.word_starts, text.sentence_starts


@pytest.fixture(scope="module")
def sample(small_store: Path) -> tuple[Path, Documents]:
    """The tokenizer of the small store, and its documents as Megatron's, each one sequence."""
    store = Store(small_store)
    found = [texts_of(store, "qaa-Latn", split) for split in (TRAIN, VALIDATION)]
    return small_store / TOKENIZER, [[document] for part in found for document in part]


def test_a_store_comes_back_from_megatron_in_the_same_splits_with_the_same_bounds(
    sample: tuple[Path, Documents], small_store: Path, tmp_path: Path
) -> None:
    tokenizer, documents = sample
    path = write_megatron(tmp_path / "text_document", documents)
    total = import_tokens(path, tokenizer, "qaa-Latn", tmp_path / "store", validation=0.1)
    assert (total.documents, total.documents_changed) == (len(documents), 0)
    assert total.tokens_left_out == 0
    old, new = Store(small_store), Store(tmp_path / "store")
    assert damages(new) == []
    for split in (TRAIN, VALIDATION):
        pairs = zip(
            old.split("qaa-Latn", split).shards, new.split("qaa-Latn", split).shards, strict=True
        )
        for before, now in pairs:
            assert before.entry == now.entry
            np.testing.assert_array_equal(starts_of(before), starts_of(now))


@pytest.mark.parametrize("width", [2, 4])
def test_datatrove_and_megatron_give_the_same_shards(
    sample: tuple[Path, Documents], tmp_path: Path, width: int
) -> None:
    tokenizer, documents = sample
    stem = write_megatron(tmp_path / "a.b_document", documents, "<i4", 4, modes=True)
    paths = [stem.with_suffix(""), write_datatrove(tmp_path / "0.ds", documents, width)]
    stores = []
    for number, path in enumerate(paths):
        output = tmp_path / f"store{number}"
        import_tokens(path, tokenizer, "qaa-Latn", output, validation=0.1, shard_tokens=1024)
        stores.append(Store(output))
    assert stores[0].manifest.splits == stores[1].manifest.splits
    assert len(stores[0].manifest.splits["qaa-Latn"][TRAIN]) > 2


def test_a_folder_is_read_file_by_file(sample: tuple[Path, Documents], tmp_path: Path) -> None:
    _, documents = sample
    (tmp_path / "files").mkdir()
    write_datatrove(tmp_path / "files/b.ds", documents[:5])
    write_megatron(tmp_path / "files/a", documents[5:8])
    assert [file.documents for file in open_tokens(tmp_path / "files")] == [3, 5]


@pytest.mark.parametrize("lost", ["b.idx", "b.bin", "c.ds", "c.ds.index"])
def test_a_file_of_a_folder_whose_other_half_was_not_copied_is_told(
    sample: tuple[Path, Documents], tmp_path: Path, lost: str
) -> None:
    for name in ("a", "b"):
        write_megatron(tmp_path / name, sample[1][:3])
    write_datatrove(tmp_path / "c.ds", sample[1][:3])
    (tmp_path / lost).unlink()
    with pytest.raises(DataError, match=rf"/{lost} is missing"):
        open_tokens(tmp_path)


def test_special_tokens_part_documents_and_sequences_part_sentences(
    sample: tuple[Path, Documents], tmp_path: Path
) -> None:
    tokenizer, documents = sample
    first, second, third = (document[0] for document in documents[:3])
    vocabulary = Store(tokenizer.parent).vocabulary
    packed = [[vocabulary.bos, *first, vocabulary.eos, *second, vocabulary.eos], third]
    rest = [[[*document[0], vocabulary.eos]] for document in documents[3:]]
    path = write_megatron(tmp_path / "packed", [packed, *rest])
    total = import_tokens(path, tokenizer, "qaa-Latn", tmp_path / "store", validation=0.1)
    assert total.documents == len(documents)
    assert total.tokens_left_out == 3 + len(rest)
    store = Store(tmp_path / "store")
    found = [texts_of(store, "qaa-Latn", split) for split in (TRAIN, VALIDATION)]
    assert sorted(found[0] + found[1]) == sorted(document[0] for document in documents)


def test_imported_bounds_are_those_of_the_builder_on_real_text(shared_data: Path) -> None:
    path = shared_data / "corpora/en/wikitext-2.valid.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = [line.replace("<unk>", "x") for line in file if len(line) > 100][:300]
    sentences = [sentence for line in lines for sentence in split_sentences(line, "eng")]
    tokenizer = train_tokenizer((sentence.text for sentence in sentences), 2000)
    for sentence in sentences:
        expected = encode_flat(tokenizer, [sentence])
        found = find_bounds(importer_of(tokenizer), expected.ids)
        assert found is not None
        if len(sentence_texts(found.text, "eng")) == 1:
            np.testing.assert_array_equal(found.word_starts, expected.word_starts, sentence.text)


@pytest.fixture(scope="module")
def plain_tokenizer() -> Tokenizer:
    """A byte-level tokenizer whose every token is one byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *alphabet]
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(names[:5])
    return tokenizer


def byte_ids(tokenizer: Tokenizer, text: str | bytes) -> np.ndarray:
    """The tokens of a text, one a byte."""
    surfaces = importer_of(tokenizer).surfaces
    wanted = text.encode() if isinstance(text, str) else text
    return np.array([surfaces.index(bytes([byte]), 5) for byte in wanted], np.int64)


def shown(tokenizer: Tokenizer, text: str | bytes) -> str:
    """The text with | before each word and || before each sentence."""
    found = find_bounds(importer_of(tokenizer), byte_ids(tokenizer, text))
    assert found is not None
    marks = found.word_starts.astype(int) + found.sentence_starts
    raw = b"".join(
        b"|" * mark + importer_of(tokenizer).surfaces[i]
        for mark, i in zip(marks, found.ids, strict=True)
    )
    return raw.decode(errors="replace")


def test_words_and_sentences_are_found_between_bytes(plain_tokenizer: Tokenizer) -> None:
    text = " Élan don't\n\nstop. Why (now)?  Yes"
    expected = "|| Élan| don't\n\n||stop|.|| Why| (|now|)|? || Yes"
    assert shown(plain_tokenizer, text) == expected


def test_leading_blanks_belong_to_the_first_word(plain_tokenizer: Tokenizer) -> None:
    assert shown(plain_tokenizer, "\n\n  One two") == "||\n\n  One| two"


def test_bytes_that_are_no_text_keep_their_places(plain_tokenizer: Tokenizer) -> None:
    text = b"a\xff\xfe b \xe2\x82 c"
    found = find_bounds(importer_of(plain_tokenizer), byte_ids(plain_tokenizer, text))
    assert found is not None
    assert np.flatnonzero(found.word_starts).tolist() == [0, 1, 3, 5, 8]


def test_blank_tokens_are_no_document(plain_tokenizer: Tokenizer) -> None:
    assert find_bounds(importer_of(plain_tokenizer), byte_ids(plain_tokenizer, " \n\t")) is None


@given(st.text(min_size=1, max_size=60))
def test_sentences_keep_every_character_but_blanks(text: str) -> None:
    assert "".join("".join(sentence_parts(text, "eng")).split()) == "".join(text.split())


@pytest.fixture
def wordpiece() -> Tokenizer:
    """A tokenizer of BERT's kind with ten tokens, special ones first."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "chess", ".", "he"]
    tokenizer = Tokenizer(
        models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(names[:5])
    return tokenizer


def test_wordpiece_tokens_have_words(wordpiece: Tokenizer) -> None:
    found = find_bounds(importer_of(wordpiece), np.array([9, 5, 6, 7, 8, 9, 5, 6]))
    assert found is not None
    assert np.flatnonzero(found.word_starts).tolist() == [0, 1, 3, 4, 5, 6]
    assert np.flatnonzero(found.sentence_starts).tolist() == [0, 5]


def test_an_unknown_word_of_wordpiece_is_a_word_of_its_own(wordpiece: Tokenizer) -> None:
    found = find_bounds(importer_of(wordpiece), np.array([9, 1, 1, 5, 6, 7, 8]))
    assert found is not None
    assert found.text == " he [UNK] [UNK] playing chess ."
    assert np.flatnonzero(found.word_starts).tolist() == [0, 1, 2, 3, 5, 6]


def test_documents_with_unknown_words_are_those_of_their_tokenizer(
    wordpiece: Tokenizer, tmp_path: Path
) -> None:
    wordpiece.save(str(tmp_path / "tokenizer.json"))
    documents = [[[9, 1, 5 + i % 2, 7, 8] * (i + 1)] for i in range(40)]
    path = write_megatron(tmp_path / "bert", documents)
    total = import_tokens(
        path, tmp_path / "tokenizer.json", "eng-Latn", tmp_path / "store", validation=0.2
    )
    assert total.documents_changed == 20  # those in which "##ing" follows an unknown word
    assert total.documents == 40


def test_documents_that_the_tokenizer_would_cut_otherwise_are_counted(
    sample: tuple[Path, Documents], tmp_path: Path
) -> None:
    tokenizer, documents = sample
    cut = Tokenizer.from_file(str(tokenizer))
    letters = [cut.token_to_id(character) for character in "abc"]
    path = write_megatron(tmp_path / "odd", [[[*letters, *letters]], *documents])
    total = import_tokens(path, tokenizer, "qaa-Latn", tmp_path / "store", validation=0.1)
    assert total.documents_changed == 1
    assert Store(tmp_path / "store").manifest.provenance["imported"]["documents_changed"] == 1


def test_documents_whose_first_word_has_no_space_are_those_of_their_tokenizer(
    sample: tuple[Path, Documents], tmp_path: Path
) -> None:
    tokenizer = Tokenizer.from_file(str(sample[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # as RoBERTa's
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    texts = [f"{'every dofor ' * (i + 1)}kiru." for i in range(30)]
    ids = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    path = write_megatron(tmp_path / "plain", [[each] for each in ids])
    total = import_tokens(
        path, tmp_path / "tokenizer.json", "qaa-Latn", tmp_path / "store", validation=0.2
    )
    assert (total.documents, total.documents_changed) == (30, 0)


def test_a_token_beyond_the_vocabulary_names_document_and_token(
    sample: tuple[Path, Documents], tmp_path: Path
) -> None:
    tokenizer, documents = sample
    path = write_megatron(tmp_path / "wrong", [*documents[:7], [[3, 40000]]])
    with pytest.raises(DataError, match=r"wrong.bin: document 7 has token 40000.* 0 to 399"):
        import_tokens(path, tokenizer, "qaa-Latn", tmp_path / "store")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wrong.bin", "wrong.idx"]


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def put(path: Path, place: int, new: bytes) -> None:
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place : place + len(new)] = new
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda b, i: i.unlink(), "idx is missing"),
        (lambda b, i: b.unlink(), "bin is missing"),
        (lambda b, i: cut(b, 100), "bin is damaged or cut off: sequence"),
        (lambda b, i: cut(b, 101), "bin has 101 bytes"),
        (lambda b, i: b.write_bytes(b.read_bytes() + b"\0\0"), "bin is damaged or cut off"),
        (lambda b, i: cut(i, 20), "idx is damaged or cut off: 20 bytes"),
        (lambda b, i: cut(i, 200), "idx is damaged or cut off: 200 bytes"),
        (lambda b, i: cut(i, 5), "idx is no index of Megatron-LM"),
        (lambda b, i: put(i, 0, b"TNTIDX\0\0"), "idx is no index of Megatron-LM"),
        (lambda b, i: put(i, 9, b"\2"), "version 2"),
        (lambda b, i: put(i, 17, b"\6"), "token type 6"),
        (lambda b, i: put(i, 34, b"\1\0"), "sequence 0 has .* tokens, and 1 by"),
        (lambda b, i: put(i, -8, b"\0" * 8), "document bounds"),
    ],
)
def test_damaged_megatron_files_are_named(
    sample: tuple[Path, Documents], tmp_path: Path, damage: Callable, told: str
) -> None:
    path = write_megatron(tmp_path / "text", sample[1][:20])
    damage(path, path.with_suffix(".idx"))
    with pytest.raises(DataError, match=rf"{tmp_path}/text\.{told}" if "." in told[:4] else told):
        open_tokens(path)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda d: Path(f"{d}.index").unlink(), "0.ds.index is missing"),
        (lambda d: d.unlink(), "0.ds is missing"),
        (lambda d: cut(d, 100), "0.ds is damaged or cut off: 100 bytes"),
        (lambda d: cut(Path(f"{d}.index"), 80), "0.ds is damaged or cut off"),
        (lambda d: cut(Path(f"{d}.index"), 79), "0.ds.index has 79 bytes"),
        (lambda d: put(Path(f"{d}.index"), 0, b"\xff\xff\xff"), "sequence 1 has -"),
        (lambda d: Path(f"{d}.metadata").write_text("a|4\n12\n"), "says 12 tokens of 4 bytes"),
    ],
)
def test_damaged_datatrove_files_are_named(
    sample: tuple[Path, Documents], tmp_path: Path, damage: Callable, told: str
) -> None:
    path = write_datatrove(tmp_path / "0.ds", sample[1][:20])
    damage(path)
    with pytest.raises(DataError, match=told):
        open_tokens(path)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"language": "english"}, "language = 'english'"),
        ({"validation": 1.0}, "validation = 1.0"),
        ({"shard_tokens": 10}, "shard_tokens = 10"),
    ],
)
def test_settings_out_of_range_are_told(
    sample: tuple[Path, Documents], tmp_path: Path, settings: dict, told: str
) -> None:
    language = settings.pop("language", "qaa-Latn")
    with pytest.raises(ConfigError, match=told):
        import_tokens(tmp_path / "none", sample[0], language, tmp_path / "store", **settings)


def test_a_split_without_documents_is_an_error(
    sample: tuple[Path, Documents], tmp_path: Path
) -> None:
    path = write_megatron(tmp_path / "one", sample[1][:1])
    with pytest.raises(DataError, match=r"gives no (train|validation) document"):
        import_tokens(path, sample[0], "qaa-Latn", tmp_path / "store")


def test_a_folder_in_use_is_left_alone(sample: tuple[Path, Documents], tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(DataError, match="store exists"):
        import_tokens(tmp_path / "x.bin", sample[0], "qaa-Latn", tmp_path / "store")


def test_a_store_that_another_import_made_meanwhile_is_left_alone(
    sample: tuple[Path, Documents], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = write_megatron(tmp_path / "a", sample[1]), tmp_path / "store"

    def opened_slowly(path: Path) -> list[TokenFile]:
        output.mkdir()
        (output / "manifest.json").touch()
        return open_tokens(path)

    monkeypatch.setattr("alignmlm.interchange.imports.open_tokens", opened_slowly)
    with pytest.raises(DataError, match="store exists; name another folder"):
        import_tokens(path, sample[0], "qaa-Latn", output, validation=0.1)
    assert [p.name for p in output.iterdir()] == ["manifest.json"]


def test_what_a_killed_import_has_left_is_no_hindrance(
    sample: tuple[Path, Documents], tmp_path: Path
) -> None:
    left = tmp_path / "store.importing/store/qaa-Latn/train"
    left.mkdir(parents=True)
    (left / "shard-00000.bin").write_bytes(b"half")
    path = write_megatron(tmp_path / "text", sample[1])
    import_tokens(path, sample[0], "qaa-Latn", tmp_path / "store", validation=0.1)
    assert damages(Store(tmp_path / "store")) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store", "text.bin", "text.idx"]
