"""Any bytes in any reader are read or refused; ALIGNMLM_FUZZ_INPUTS=10000 tries more."""

import bz2
import gzip
import io
import json
import lzma
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from alignmlm.corpus.readers import documents
from alignmlm.corpus.sources import SourceConfig
from alignmlm.data.tokenizer import train_tokenizer
from alignmlm.doctor.hostfile import read_hostfile
from alignmlm.errors import AlignMLMError
from alignmlm.evaluation.examples.words import tokens_of_words
from alignmlm.languages.dictionary import file_words
from alignmlm.probes.parallel import read_parallel_lines
from alignmlm.storage.plain_data import read_json, read_yaml
from alignmlm.syntax.ordering import read_orm
from alignmlm.syntax.parser import treebank_text
from alignmlm.syntax.trees import read_conllu
from alignmlm.tasks.examples import LabelledSentence, SplitFile, texts_of
from alignmlm.tasks.formats import FORMATS

INPUTS = int(os.environ.get("ALIGNMLM_FUZZ_INPUTS", "100"))
QUICK = INPUTS <= 100
fuzzed = settings(
    max_examples=INPUTS,
    deadline=None,
    derandomize=QUICK,
    database=None,
    phases=[Phase.generate] if QUICK else [Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
TOKENIZER = train_tokenizer(["the cat sat . <mask>"], 261)

HOSTILE = [
    *(mark.encode("utf-16-le") for mark in ("\ufeff",)),
    *("\ufeff", "\u00a0", "\u2028", "\u0085", "\x0b", "\x0c", "\x1c", "\x1f", "\0", "\u200b"),
    *("\n", "\r", "\r\n", "\n\n", "\t", " ", '"', "'", "\\", "#", "-", ",", ":", "&a", "*a", "!!"),
    *("\\ud83d", "\\udc00", "null", "true", "1.0", "NaN", "-1", "9" * 5000, "[", "]", "{", "}"),
    *("2-1", "1-2147483647", "3.1", "0-0", "-DOCSTART-", "<mask>", "</s>", "_", "SpaceAfter=No"),
    *("\u2764\ufe0f", "e\u0301", "\u0915\u094d\u0937", b"\xff", b"\xed\xa0\x80", b"\xc3", b"\x00"),
]
BYTES = [part if isinstance(part, bytes) else part.encode() for part in HOSTILE]

CONLLU = """# newdoc
1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tdo\tdo\tVERB\t_\t_\t0\troot\t_\t_
2\tn't\tnot\tPART\t_\t_\t1\tadvmod\t_\tSpaceAfter=No
2.1\tgo\t_\t_\t_\t_\t_\t_\t_\t_

1\tYes\tyes\tINTJ\t_\t_\t0\troot\t_\t_

"""
SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "Ann met Bob.",
                    "qas": [
                        {
                            "id": "q",
                            "question": "Who?",
                            "answers": [{"text": "Bob", "answer_start": 8}],
                        }
                    ],
                }
            ]
        }
    ]
}
PAIRS = [{"p": "a b", "h": "c d", "l": 1}, {"p": "e", "h": None, "l": 0}]
LISTS = [{"tokens": ["a", "b"], "labels": [0, 1]}, {"tokens": ["c"], "labels": ["x"]}]
QUESTION = {"context": "Ann met Bob.", "question": "Who?", "id": "q"} | {
    "answers": {"text": ["Bob"], "answer_start": [8]}
}


def lines_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def parquet(rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def corpus(path):
    for document in documents(SourceConfig(language="eng-Latn", files=[str(path)])):
        for sentence in document:
            sentence.text.encode()
            assert all(0 <= start < len(sentence.text) for start in sentence.word_starts)


def task(form, **how):
    """A reader of labelled examples; a file of its own when a form has two."""

    def read(path):
        file = SplitFile(path=str(path), form=form, other=how.get("other", ""), **columns)
        for example in FORMATS[form].read(file, Counter()):
            "".join(texts_of(example)).encode()
            if isinstance(example, LabelledSentence):
                (tokens,) = tokens_of_words(TOKENIZER, [example], unk=3)
                assert len(tokens) == len(example.words) == len(example.labels)
                assert all(tokens)

    columns = {"columns": how["columns"]} if "columns" in how else {}
    return read


BY_NAME = {"columns": {"first": "p", "second": "h", "label": "l"}}
NLI = "p\th\tl\na b\tc\tx\n"
READERS = {
    "x.txt": (corpus, "The cat sat.\nIt slept.\n\nWas it red?\n"),
    "x.jsonl": (corpus, lines_of([{"text": "The cat sat."}, {"text": "It slept."}])),
    "x.json": (corpus, json.dumps([{"text": "The cat sat."}, {"text": "It slept."}])),
    "x.conllu": (corpus, CONLLU),
    "x.parquet": (corpus, parquet([{"text": "The cat sat."}, {"text": None}])),
    "x.txt.gz": (corpus, gzip.compress(b"The cat sat.\n\nIt slept.\n" * 9, mtime=0)),
    "x.txt.bz2": (corpus, bz2.compress(b"The cat sat.\n\nIt slept.\n" * 9)),
    "x.txt.xz": (corpus, lzma.compress(b"The cat sat.\n\nIt slept.\n" * 9)),
    "x.txt.zst": (corpus, zstandard.compress(b"The cat sat.\n\nIt slept.\n" * 9) * 2),
    "upos.conllu": (task("conllu_upos"), CONLLU),
    "two.tsv": (task("conll_columns"), "the\tO\ncat\tB-X\n\nsat\tO\n"),
    "four.txt": (task("conll_columns"), "-DOCSTART- -X- -X- O\n\nthe DT I-NP O\n\ncat NN B O\n"),
    "lists.jsonl": (task("token_table"), lines_of(LISTS)),
    "lists.json": (task("token_table"), json.dumps(LISTS)),
    "lists.parquet": (task("token_table"), parquet([{"tokens": ["a"], "labels": [0]}])),
    "pairs.tsv": (task("pair_table", **BY_NAME), NLI),
    "numbered.tsv": (task("pair_table"), "a b\tc\tx\nd\te\ty\n"),
    "pairs.csv": (task("pair_table", **BY_NAME), 'p,h,l\n"a, b","c\nd",x\n'),
    "pairs.jsonl": (task("pair_table", **BY_NAME), lines_of(PAIRS)),
    "pairs.parquet": (task("pair_table", **BY_NAME), parquet(PAIRS)),
    "squad.json": (task("squad_json"), json.dumps(SQUAD)),
    "questions.jsonl": (task("question_table"), lines_of([QUESTION])),
    "parallel.tsv": (task("sentence_table"), "one cat\tun chat\ntwo\tdeux\n"),
    "words.txt": (task("word_pairs"), "the le\nthe la\ncat chat\n"),
    "muse.txt": (file_words, "the le\nthe la\ncat chat\n"),
    "freedict.tsv": (file_words, "ice cream\tglace\ncat\tchat\n"),
    "lines.txt": (lambda path: read_parallel_lines(path, path), "one\ntwo\n"),
    "tree.conllu": (lambda path: list(read_conllu(path)), CONLLU),
    "treebank.conllu": (treebank_text, CONLLU),
    "order.orm": (read_orm, "BI_a_b 0.5\nHI_a_b_c -1e-3\n"),
    "hostfile": (read_hostfile, "node1 slots=8\nnode2 slots=4 # second\n"),
    "x.yaml": (read_yaml, "name: t\nfiles: {test: [a, b]}\nlabels:\n- x\n- 'y'\n"),
    "summary.json": (read_json, json.dumps({"a": [1, 2.5, None], "b": {"c": "d"}})),
}


def edits(size):
    """Changes of a file: where, how many bytes go, what comes, and how often."""
    parts = [*BYTES, *(bytes([byte]) for byte in range(0, 256, 5))]
    edit = (st.integers(0, size), st.integers(0, 8), st.sampled_from(parts), st.integers(1, 3))
    return st.lists(st.tuples(*edit), max_size=4)


def changed(data, changes):
    """A file after some edits."""
    for place, gone, come, times in changes:
        data = data[:place] + come * times + data[place + gone :]
    return data


@pytest.mark.parametrize("name", READERS)
def test_any_bytes_are_read_or_refused_in_a_few_lines(name, tmp_path):
    read, sample = READERS[name]
    whole = sample if isinstance(sample, bytes) else sample.encode()
    path = tmp_path / name

    @fuzzed
    @given(st.one_of(edits(len(whole)).map(lambda made: changed(whole, made)), st.binary()))
    def attempt(data):
        path.write_bytes(data)
        try:
            read(path)
        except AlignMLMError as error:
            assert name in str(error)
            assert str(error).count("\n") < 10
            assert len(str(error)) < 1000 + 3 * len(str(path))

    path.write_bytes(whole)
    try:
        read(path)
    except AlignMLMError as error:
        assert "null" in str(error)  # the one row of a sample that is refused
    attempt()


ALPHABET = "ab\u00a0\u2028\u0085\x0b\x0c\x1c\u200b\ufeff\u2764\ufe0f\u0301\u0915\u094d<mask>,.\"'#-"
WORDS = st.tuples(st.sampled_from("ab\u00a0\u200b<"), st.text(ALPHABET, max_size=4)).map("".join)
ROWS = st.lists(st.tuples(WORDS, st.sampled_from(["O", "B-X", "I-X"])), min_size=1, max_size=5)


def write_tabs(path, sentences):
    blocks = ("".join(f"{word}\t{tag}\n" for word, tag in rows) + "\n" for rows in sentences)
    path.write_text("".join(blocks), "utf-8")


def write_spaces(path, sentences):
    text = "".join("".join(f"{w} NN I-NP {t}\n" for w, t in s) + "\n" for s in sentences)
    path.write_text(text, "utf-8")


def write_conllu(path, sentences):
    blocks = (
        "".join(f"{i}\t{w}\t_\t{t}\t_\t_\t0\troot\t_\t_\n" for i, (w, t) in enumerate(s, 1)) + "\n"
        for s in sentences
    )
    path.write_text("".join(blocks), "utf-8")


def as_lists(sentences):
    return [{"tokens": [w for w, _ in s], "labels": [t for _, t in s]} for s in sentences]


LABELLED = {
    "x.tsv": ("conll_columns", write_tabs),
    "x.tsv.gz": ("conll_columns", None),
    "x.txt": ("conll_columns", write_spaces),
    "x.conllu": ("conllu_upos", write_conllu),
    "x.jsonl": ("token_table", lambda path, s: path.write_text(lines_of(as_lists(s)))),
    "x.json": ("token_table", lambda path, s: path.write_text(json.dumps(as_lists(s)))),
    "x.parquet": ("token_table", lambda path, s: path.write_bytes(parquet(as_lists(s)))),
}


@pytest.mark.parametrize("name", LABELLED)
def test_words_and_labels_come_back_aligned(name, tmp_path):
    form, write = LABELLED[name]
    path = tmp_path / name

    @fuzzed
    @given(st.lists(ROWS, min_size=1, max_size=3), st.booleans())
    def attempt(sentences, mark):
        if write is None:
            write_tabs(tmp_path / "plain", sentences)
            path.write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
        else:
            write(path, sentences)
        if mark and write not in (None, LABELLED["x.parquet"][1]):
            path.write_bytes("\ufeff".encode() + path.read_bytes())
        found = list(FORMATS[form].read(SplitFile(path=str(path), form=form), Counter()))
        assert [list(zip(s.words, s.labels, strict=True)) for s in found] == sentences
        for sentence, tokens in zip(found, tokens_of_words(TOKENIZER, found, unk=3), strict=True):
            assert len(tokens) == len(sentence.labels)

    attempt()


def test_the_files_of_this_page_name_every_form():
    assert {Path(name).suffix for name in READERS} >= {".txt", ".tsv", ".csv", ".json", ".parquet"}
