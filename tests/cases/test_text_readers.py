"""What every reader of text has in common: marks, encodings, ends of lines, white space, places."""

import gzip
import json
import re
from collections import Counter
from itertools import pairwise
from time import perf_counter

import pytest
import zstandard

from alignmlm.commands.build import data_build
from alignmlm.corpus.build import build_store
from alignmlm.corpus.readers import documents
from alignmlm.corpus.settings import DataConfig
from alignmlm.corpus.sources import SourceConfig
from alignmlm.data.text import normalise, sentence_texts
from alignmlm.data.tokenizer import train_tokenizer
from alignmlm.doctor.hostfile import read_hostfile
from alignmlm.errors import AlignMLMError, ConfigError, DataError
from alignmlm.languages.dictionary import file_words
from alignmlm.probes.parallel import read_parallel_lines
from alignmlm.storage.compression import open_stream
from alignmlm.syntax.ordering import read_orm
from alignmlm.syntax.parser import treebank_text
from alignmlm.syntax.trees import read_conllu
from alignmlm.tasks.examples import SplitFile
from alignmlm.tasks.formats import FORMATS


def corpus(path):
    source = SourceConfig(language="qaa-Latn", files=[str(path)])
    return [[sentence.text for sentence in document] for document in documents(source)]


def examples(form, **settings):
    def read(path):
        other = str(path) if form == "line_files" else ""
        file = SplitFile(path=str(path), form=form, other=other, **settings)
        return list(FORMATS[form].read(file, Counter()))

    return read


CONLLU = "1\tBerlin\t_\tPROPN\t_\t_\t0\troot\t_\t_\n\n"
SQUAD = {"context": "Ann.", "qas": [{"id": 1, "question": "?", "answers": []}]}
QUESTION = {"context": "Ann.", "question": "?", "answers": {"text": ["A"], "answer_start": [0]}}
READERS = {
    "x.txt": (corpus, "One two.\nThree.\n\nFour.\n"),
    "x.jsonl": (corpus, '{"text": "One."}\n{"text": "Two."}\n'),
    "x.json": (corpus, '[{"text": "One."},\n {"text": "Two."}]\n'),
    "x.conllu": (corpus, CONLLU),
    "upos.conllu": (examples("conllu_upos"), CONLLU),
    "columns.tsv": (examples("conll_columns"), "one\tO\ntwo\tB-X\n\nthree\tO\n"),
    "columns.txt": (examples("conll_columns"), "one NN O\ntwo NN B-X\n"),
    "lists.jsonl": (examples("token_table"), '{"tokens": ["a"], "labels": ["O"]}\n'),
    "pairs.tsv": (examples("pair_table"), "a\tb\tx\nc\td\ty\n"),
    "named.tsv": (examples("pair_table", columns={"first": "p", "second": "q", "label": "r"}),
                  "p\tq\tr\nx\ty\tz\n"),
    "pairs.csv": (examples("pair_table"), '"a, b",b,x\n'),
    "pairs.json": (examples("pair_table", columns={"first": "a", "second": "b", "label": "c"}),
                   '{"a": "x", "b": "y", "c": 1}\n'),
    "squad.json": (examples("squad_json"), json.dumps({"data": [{"paragraphs": [SQUAD]}]})),
    "questions.jsonl": (examples("question_table"), json.dumps(QUESTION) + "\n"),
    "parallel.tsv": (examples("sentence_table"), "one\tun\n"),
    "lines.txt": (examples("line_files"), "one\ntwo\n"),
    "words.txt": (examples("word_pairs"), "the le\n"),
    "muse.txt": (file_words, "the le\ncat chat\n"),
    "freedict.tsv": (file_words, "ice cream\tglace\n"),
    "probe.txt": (lambda path: read_parallel_lines(path, path), "one\ntwo\n"),
    "tree.conllu": (lambda path: list(read_conllu(path)), CONLLU),
    "treebank.conllu": (treebank_text, CONLLU),
    "order.orm": (lambda path: read_orm(path).weights, "BI_a_b 0.5\n"),
    "hostfile": (read_hostfile, "node1 slots=8\n"),
}  # fmt: skip
by_reader = pytest.mark.parametrize("name", READERS)


def value(read, path, data):
    """What a reader makes of some bytes, an error too."""
    path.write_bytes(data)
    try:
        return read(path)
    except AlignMLMError as error:
        return str(error)


@by_reader
def test_a_byte_order_mark_and_the_ends_of_lines_change_nothing(name, tmp_path):
    read, text = READERS[name]
    plain = value(read, tmp_path / name, text.encode())
    assert value(read, tmp_path / name, f"\ufeff{text}".encode()) == plain
    assert value(read, tmp_path / name, text.replace("\n", "\r\n").encode()) == plain
    packed = gzip.compress(f"\ufeff{text}".encode())
    if name != "hostfile" and not isinstance(plain, str):
        assert value(read, tmp_path / f"{name}.gz", packed) == plain


@by_reader
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_another_encoding_is_named(name, encoding, tmp_path):
    read, text = READERS[name]
    data = f"\ufeff{text}".encode(encoding) if encoding.endswith("be") else text.encode(encoding)
    said = value(read, tmp_path / name, data)
    assert f"{name} is {encoding[:6].upper()}" in said
    assert "save it as UTF-8" in said


@by_reader
def test_a_byte_that_is_no_utf_8_is_named_with_its_line(name, tmp_path):
    read, text = READERS[name]
    said = value(read, tmp_path / name, text.encode() + b"ab\xe9\n")
    assert f"{name}:{text.count(chr(10)) + 1}: byte 0xe9 at column" in said


@by_reader
def test_a_missing_file_is_said_to_be_missing(name, tmp_path):
    with pytest.raises(AlignMLMError, match="does not exist"):
        READERS[name][0](tmp_path / name)


SEPARATORS = ["\u00a0", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\x1e", "\u3000"]


@pytest.mark.parametrize("blank", SEPARATORS)
def test_only_the_formats_own_separators_separate(blank, tmp_path):
    word, place = f"a{blank}b", tmp_path / "x"
    place.write_text(f"{word} NN O\nc NN O\n", "utf-8")
    assert [s.words for s in examples("conll_columns")(place)] == [(word, "c")]
    place.write_text(CONLLU.replace("Berlin", word), "utf-8")
    assert [s.words for s in examples("conllu_upos")(place)] == [(word,)]
    assert [tree.words for tree in read_conllu(place)] == [(word,)]
    place.write_text(f"{word} c\n", "utf-8")
    assert file_words(place) == [(word, "c")]
    place.write_text(f"{word}\tc\tx\n", "utf-8")
    assert [(p.first, p.second) for p in examples("pair_table")(place)] == [(word, "c")]
    place.write_text(f"{word}\nc\n", "utf-8")
    assert [pair.source for pair in examples("line_files")(place)] == [word, "c"]
    place.write_text(f"node1{blank}slots=8\n", "utf-8")
    with pytest.raises(ConfigError, match="look like `node1 slots=8`"):
        read_hostfile(place)
    assert sentence_texts(f"no{blank}end\nhere", "eng") == ["no end", "here"]


LISTS, PAIR, QA = "token_table", "pair_table", "question_table"
NAMED = {"columns": {"first": "a", "second": "b", "label": "c"}}
GOOD = {
    LISTS: {"tokens": ["a", "b"], "labels": ["x", "y"]},
    PAIR: {"a": "x", "b": "y", "c": "z"},
    QA: {"context": "Ann.", "question": "?", "answers": {"text": ["A"], "answer_start": [0]}},
}


@pytest.mark.parametrize(
    ("form", "change", "said"),
    [
        (LISTS, {"tokens": ["a", None]}, "each word must be text, found null"),
        (LISTS, {"tokens": ["a", ["b"]]}, "each word must be text, found a list"),
        (LISTS, {"tokens": ["a", True]}, "each word must be text, found a truth value"),
        (LISTS, {"labels": ["x", None]}, "each label must be text or a whole number, found null"),
        (LISTS, {"labels": [0, 0.5]}, "found a number, 0.5"),
        (LISTS, {"labels": "xy"}, "labels must be a list, found text"),
        (LISTS, {"id": ["x"]}, "id must be text or a whole number, found a list"),
        (PAIR, {"a": {"b": "c"}}, r"first \('a'\) must be text, found an object"),
        (PAIR, {"a": 1.5}, "must be text, found a number"),
        (PAIR, {"c": None}, "the label must be text or a whole number, found null"),
        (PAIR, {"c": ""}, "the pair has no label"),
        (QA, {"context": None}, "context must be text, found null"),
        (QA, {"question": 1.5}, "question must be text"),
        (QA, {"answers": None}, "answers must be an object, found null"),
        (QA, {"answers": {"text": "A", "answer_start": [0]}}, "text must be a list"),
        (QA, {"answers": {"text": ["A"], "answer_start": [0, 1]}}, "1 answers, but 2 values"),
        (QA, {"answers": {"text": ["A"], "answer_start": ["0"]}}, "must be a whole number"),
        (QA, {"answers": {"text": [None], "answer_start": [0]}}, "an answer must be text"),
    ],
)
def test_a_cell_of_another_type_is_refused_with_its_line(form, change, said, tmp_path):
    rows = [GOOD[form], {**GOOD[form], **change}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = NAMED if form == PAIR else {}
    with pytest.raises(DataError, match=rf"x\.jsonl:2: .*{said}"):
        examples(form, **settings)(tmp_path / "x.jsonl")


def test_numbers_and_truth_values_are_labels_by_their_name(tmp_path):
    rows = [{"tokens": ["a", 5, "c", "d"], "labels": [1, 2.0, True, "x"]}]
    (tmp_path / "x.jsonl").write_text(json.dumps(rows[0]))
    (sentence,) = examples("token_table")(tmp_path / "x.jsonl")
    assert (sentence.words, sentence.labels) == (("a", "5", "c", "d"), ("1", "2", "true", "x"))


@pytest.mark.parametrize("name", ["x.jsonl", "lists.jsonl", "pairs.json", "questions.jsonl"])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "\\ud83d"}', "lone surrogate"),
        ('{"text": "a", "text": "b"}', "occur only once in its object"),
        ("[" * 100_000, "nesting"),
        ('{"n": ' + "9" * 5000 + "}", "digits"),
        ('{"text": ', "must be JSON"),
        ('{"tetx": "a"}', "there are"),
    ],
)
def test_a_row_that_is_no_plain_json_is_refused_with_its_line(name, line, said, tmp_path):
    read, text = READERS[name]
    path = tmp_path / name
    path.write_text(text + line + "\n")
    with pytest.raises(DataError, match=said) as caught:
        read(path)
    assert f"{name}:{text.count(chr(10)) + 1}" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,"b\nc\nd', r"x\.csv:1: not a row of a CSV file: unexpected end of data"),
        ('a,b,c\n"a"b,c,d\n', r"x\.csv:2: not a row"),
        ("a,b,c\nd,e\n", r"x\.csv:2: 2 cells, but the header has 3"),
        ("a,b,b\nd,e,f\n", r"x\.csv:1: .* repeated are \['b'\]"),
        ("a,b,lable\nd,e,f\n", r"no column 'c'"),
    ],
)
def test_a_wrong_csv_file_is_refused_with_its_line(text, said, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        examples("pair_table", **NAMED)(tmp_path / "x.csv")


def test_a_missing_column_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "x.tsv").write_text("premise\thypothesis\tlabel\na\tb\tc\n")
    columns = {"first": "premis", "second": "hypothesis", "label": "label"}
    with pytest.raises(DataError, match=r"no column 'premis'; .*did you mean 'premise'\?"):
        examples("pair_table", columns=columns)(tmp_path / "x.tsv")


def test_a_file_that_unpacks_to_much_takes_linear_time_and_little_memory(tmp_path):
    frame = zstandard.compress(b"a\n" * 2**24)
    (tmp_path / "x.zst").write_bytes(frame * 8)  # 24 KB that hold 256 MiB
    started, size = perf_counter(), 0
    with open_stream(tmp_path / "x.zst") as (stream, _):
        while data := stream.read(2**20):
            size += len(data)
    assert size == 2**28
    assert perf_counter() - started < 60  # of 0.5 s on one core; 200 s when it was quadratic


@pytest.mark.parametrize("text", ["ab" * 10**6, "a" * 10**6, "\u0301\u0316" * 10**5])
def test_one_long_run_of_letters_builds_a_store_in_linear_time(text, tmp_path, caplog):
    lines = [f"the cat {i} sat on the mat.\n" for i in range(300)]
    (tmp_path / "x.txt").write_text("".join([*lines, text + "\n"]), "utf-8")
    source = SourceConfig(language="qaa-Latn", files=[str(tmp_path / "x.txt")], documents="line")
    sources, store = [source], str(tmp_path / "store")
    started = perf_counter()
    build_store(DataConfig(store=store, sources=sources, vocabulary_size=300, validation=0.2))
    assert perf_counter() - started < 120  # seconds on one core; hours when it was quadratic


def test_a_tokenizer_is_trained_on_long_runs_in_pieces_and_counts_them(tmp_path, caplog):
    lines = [f"the cat {i} sat\n" + "ab" * 5000 + f" {i}\n" for i in range(20)]
    (tmp_path / "x.txt").write_text("".join(lines))
    source = SourceConfig(language="qaa-Latn", files=[str(tmp_path / "x.txt")], documents="line")
    settings = {"sources": [source], "vocabulary_size": 265, "validation": 0.2}
    build_store(DataConfig(store=str(tmp_path / "store"), **settings))
    assert re.search(r"1\d sentences have more than 1,000 characters without a", caplog.text)


def test_ordinary_text_has_the_pieces_that_it_always_had():
    hindi = "\u0935\u0939 \u0939\u093f\u0928\u094d\u0926\u0940 \u0939\u0948\u0964"
    text = f" The cat's 5,000 mats (or so)! {hindi}"
    pieces = train_tokenizer(["a"], 261).pre_tokenizer.pre_tokenize_str(text)
    bounds = [0, 4, 8, 10, 12, 13, 16, 21, 23, 25, 28, 29, 30, 33, 40, 43, 44]
    assert [place for _, place in pieces] == list(pairwise(bounds))


def test_many_marks_on_one_letter_are_normalised_in_linear_time():
    started = perf_counter()
    assert len(normalise("a" + "\u0301\u0316" * 10**5)) >= 2 * 10**5
    assert perf_counter() - started < 30  # of 0.5 s; 300 s when it was quadratic


def test_a_corpus_of_blank_lines_is_said_to_have_no_text(tmp_path):
    (tmp_path / "x.txt").write_text("\n \n\t\n\u00a0\n")
    source = SourceConfig(language="qaa-Latn", files=[str(tmp_path / "x.txt")])
    with pytest.raises(DataError, match="has no text to train a tokenizer on: it is blank"):
        build_store(DataConfig(store=str(tmp_path / "store"), sources=[source]))


def test_a_build_refuses_languages_that_its_sources_lack(tmp_path):
    (tmp_path / "x.txt").write_text("one\n\ntwo\n")
    (tmp_path / "recipe.yaml").write_text(
        f"data: {{store: {tmp_path}/store, sources: [{{language: eng-Latn, files: [x.txt]}}]}}\n"
        "languages: {ids: [en-Latn, en-Latn-x-inv]}\n"
    )
    with pytest.raises(ConfigError, match=r"languages\.ids = 'en-Latn'.*\['eng-Latn'\]"):
        data_build(["--config", str(tmp_path / "recipe.yaml")])
    assert not (tmp_path / "store").exists()
