"""Every case of ../shared/cases: small files that were misread once, with the right value."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from alignmlm.corpus.readers import documents
from alignmlm.corpus.sources import SourceConfig
from alignmlm.data.text import words_of
from alignmlm.data.tokenizer import encode_words, load_tokenizer, train_tokenizer
from alignmlm.errors import ConfigError, DataError
from alignmlm.evaluation.examples.words import tokens_of_words
from alignmlm.tasks.examples import SplitFile
from alignmlm.tasks.formats import read_split
from alignmlm.tasks.task import Task
from alignmlm.tasks.validate import validate_task

BOM = "\ufeff"


def sentences(path, **settings):
    """The sentences of each document of a corpus file."""
    source = SourceConfig(language="qaa-Latn", files=[str(path)], **settings)
    return [[sentence.text for sentence in document] for document in documents(source)]


def split(path, form, text, **settings):
    """A split of a file with some text."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_split(SplitFile(path=str(path), form=form, **settings))


def conllu(*rows):
    """CoNLL-U lines of (id, form, MISC) rows."""
    lines = (f"{i}\t{form}\t_\tNOUN\t_\t_\t0\troot\t_\t{misc}" for i, form, misc in rows)
    return "\n".join(lines) + "\n\n"


# bom-txt, bom-jsonl, ner-bom-docstart, nli-bom


def test_a_byte_order_mark_is_no_word_of_a_text(tmp_path):
    (tmp_path / "part0.txt").write_text(f"{BOM}First words here.\n", "utf-8")
    (tmp_path / "part1.txt.gz").write_bytes(gzip.compress(f"{BOM}More words.\n".encode()))
    assert sentences(tmp_path / "part*") == [["First words here."], ["More words."]]


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    (tmp_path / "x.jsonl").write_text(BOM + '{"text": "our mostar"}\n', "utf-8")
    assert sentences(tmp_path / "x.jsonl") == [["our mostar"]]


def test_a_byte_order_mark_hides_no_docstart_line(tmp_path):
    text = f"{BOM}-DOCSTART- -X- -X- O\n\nBerlin NNP I-NP B-LOC\n"
    found = split(tmp_path / "t.txt", "conll_columns", text).examples
    assert [sentence.words for sentence in found] == [("Berlin",)]


def test_a_byte_order_mark_is_no_part_of_a_column_name(tmp_path):
    text = f"{BOM}gold_label\tsentence1\tsentence2\nneutral\tA b\tC d\n"
    columns = {"first": "sentence1", "second": "sentence2", "label": "gold_label"}
    (pair,) = split(tmp_path / "t.tsv", "pair_table", text, columns=columns).examples
    assert (pair.first, pair.second, pair.label) == ("A b", "C d", "neutral")


# ner-nbsp, ner-blank-token


def test_a_no_break_space_splits_no_line_of_columns(tmp_path):
    text = "Soldes CD I-NP O\n10\u00a0000 CD I-NP O\n\nNew\u00a0York NNP I-NP B-LOC\n"
    first, second = split(tmp_path / "t.txt", "conll_columns", text).examples
    assert (first.words, second.words) == (("Soldes", "10\u00a0000"), ("New\u00a0York",))
    assert second.labels == ("B-LOC",)


@pytest.mark.parametrize("blank", ["\u00a0", "\u3000", "\u2028", "\u0085"])
def test_a_word_of_white_space_is_unknown_and_keeps_its_label(tmp_path, blank):
    text = f"en:Hello\tO\nen:{blank}\tO\nen:\u200b\tO\nen:Berlin\tB-LOC\n"
    found = split(tmp_path / "t.tsv", "conll_columns", text, strip_prefix="en:").examples
    tokenizer = train_tokenizer(["Hello Berlin"], 261)
    unk = tokenizer.token_to_id("<unk>")
    ((hello, white, zero_width, berlin),) = tokens_of_words(tokenizer, found, unk)
    assert found[0].labels == ("O", "O", "O", "B-LOC")
    assert (white, [hello, zero_width, berlin]) == (
        (unk,),
        encode_words(tokenizer, ["Hello", "\u200b", "Berlin"]),
    )


# nli-int-label, nli-csv-bigfield, nli-dup-header


def test_a_null_is_no_text_and_is_counted(tmp_path):
    rows = [("A", "B", 1), ("A", None, 0), ("A", "C", -1)]
    lines = [json.dumps(dict(zip(("p", "h", "l"), row, strict=True))) for row in rows]
    columns = {"first": "p", "second": "h", "label": "l"}
    found = split(tmp_path / "t.jsonl", "pair_table", "\n".join(lines), columns=columns)
    assert [(pair.second, pair.label) for pair in found.examples] == [("B", "1"), ("C", "-1")]
    assert found.dropped == {"null": 1}


def test_a_long_cell_of_a_csv_file_is_read(tmp_path):
    text = "a,b,c\n" + '"' + "long words " * 20_000 + '",B,neutral\n'
    columns = {"first": "a", "second": "b", "label": "c"}
    (pair,) = split(tmp_path / "t.csv", "pair_table", text, columns=columns).examples
    assert len(pair.first) == 220_000


def test_a_column_name_that_is_repeated_is_refused(tmp_path):
    text = "label\tsentence1\tsentence2\tlabel\nneutral\tA\tB\tentailment\n"
    columns = {"first": "sentence1", "second": "sentence2", "label": "label"}
    with pytest.raises(DataError, match=r"t\.tsv:1: .*must differ, repeated are \['label'\]"):
        split(tmp_path / "t.tsv", "pair_table", text, columns=columns)


# special-strings


def test_the_name_of_a_special_token_is_ordinary_text(tmp_path):
    train_tokenizer(["see <s> and </s> and <mask>"], 270).save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    for name in ("<s>", "<pad>", "</s>", "<unk>", "<mask>"):
        ((*ids,),) = encode_words(tokenizer, [name])
        assert tokenizer.token_to_id(name) not in ids
        assert tokenizer.decode(ids, skip_special_tokens=False).strip() == name


def test_a_special_token_among_a_foreign_models_pieces_is_unknown_in_a_text(tmp_path):
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = [(name, 0.0) for name in names] + [("\u2581", -2.0), ("a", -3.0)]
    foreign = Tokenizer(models.Unigram(pieces, 3, byte_fallback=False))
    foreign.pre_tokenizer = pre_tokenizers.Metaspace()
    foreign.add_special_tokens(names)
    foreign.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path)
    assert encode_words(tokenizer, ["<mask>", "a"]) == [(5, 3), (5, 6)]


# emoji-vs


@pytest.mark.parametrize(
    "cluster",
    {
        "variation selector": "\u2764\ufe0f",
        "joined emoji": "\U0001f3f3\ufe0f\u200d\U0001f308",
        "skin tone": "\U0001f44d\U0001f3fb",
        "flag": "\U0001f1e9\U0001f1ea",
        "flag of a region": "\U0001f3f4\U000e0067\U000e0062\U000e007f",
        "keycap": "1\ufe0f\u20e3",
        "mark of a sign": "#\ufe0f\u20e3",
        "letters with marks": "e\u0301\u0323",
        "jamo": "\u1112\u1161\u11ab",
        "conjunct": "\u0915\u094d\u200d\u0937",
        "final joiner": "\u0645\u06cc\u200c",
    }.values(),
)
def test_a_grapheme_cluster_is_one_word_and_one_piece(cluster):
    text = f"we {cluster} day"
    sentence = words_of(text)
    assert sentence.word_starts == (0, 3, 4 + len(cluster))
    split_at = train_tokenizer(["we day"], 261).pre_tokenizer.pre_tokenize_str(f" {text}")
    assert [place for _, place in split_at] == [
        (0, 3),
        (3, 4 + len(cluster)),
        (4 + len(cluster), 8 + len(cluster)),
    ]


# surrogate-jsonl, conllu-range, conllu-reversed, glob-brackets, parquet-types


def test_a_lone_surrogate_is_refused_with_its_line(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "good \\ud83d\\ude00"}\n{"text": "\\ud83d"}\n')
    with pytest.raises(DataError, match=r"x\.jsonl:2: .*lone surrogate"):
        sentences(tmp_path / "x.jsonl")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1-2147483647", "names id 3, which has no word line"),
        ("2-1", "range 2-1 ends before it begins"),
        ("2-3", "names id 3"),
        ("0-1", "a word id must look like 3, 3-4 or 3.1"),
        ("1-" + "9" * 5000, "a word id must look like 3, 3-4 or 3.1"),
    ],
)
def test_a_range_of_words_that_are_not_there_is_refused_with_its_line(tmp_path, name, said):
    text = conllu((name, "del", "SpaceAfter=No"), ("1", "de", "_"), ("2", "el", "_"))
    (tmp_path / "x.conllu").write_text("# newdoc\n" + text)
    with pytest.raises(DataError, match=rf"x\.conllu:2: .*{said}"):
        sentences(tmp_path / "x.conllu")
    with pytest.raises(DataError, match=rf"t\.conllu:1: .*{said}"):
        split(tmp_path / "t.conllu", "conllu_upos", text)


def test_a_file_with_the_name_of_a_pattern_is_that_file(tmp_path):
    (tmp_path / "wiki[2020].txt").write_text("The file.\n")
    (tmp_path / "wiki2.txt").write_text("The match.\n")
    assert sentences(tmp_path / "wiki[2020].txt") == [["The file."]]
    assert sentences(tmp_path / "wiki[2].txt") == [["The match."]]


TEXTS = ["One row.", "Another."]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS, pa.string_view()),
        pa.array(TEXTS).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_any_column_of_text_is_read(tmp_path, column):
    pq.write_table(pa.table({"text": column}), tmp_path / "x.parquet")
    assert sentences(tmp_path / "x.parquet") == [[text] for text in TEXTS]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "null"),
        ({"a": "b"}, "an object, {'a': 'b'}"),
        (b"b", "bytes, b'b'"),
        (["b"], r"a list, \['b'\]"),
        (1.5, "a number, 1.5"),
        (True, "a truth value, True"),
    ],
)
def test_a_cell_that_is_no_text_is_refused_by_what_it_is(tmp_path, value, said):
    pq.write_table(pa.table({"text": [value, value]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=rf"x\.parquet, row 0: 'text' must be text, found {said}"):
        sentences(tmp_path / "x.parquet")


# D13: unknown names


@pytest.mark.parametrize("columns", [{"token": 2, "label": 3}, {"words": 1}, {"Word": 1}])
def test_a_column_that_no_form_has_is_refused(columns):
    with pytest.raises(ConfigError, match=r"columns: key = .*be one of \['word', 'label'\]"):
        Task(
            name="t",
            version=1,
            kind="token_classification",
            metric="accuracy",
            form="conll_columns",
            language="eng-Latn",
            columns=columns,
            files={"test": "t.tsv"},
        )


def test_many_unknown_labels_are_counted_not_listed(tmp_path):
    (tmp_path / "t.tsv").write_text("".join(f"w\tlabel{i}\n" for i in range(7671)))
    task = Task(
        name="t",
        version=1,
        kind="token_classification",
        metric="entity_f1",
        form="conll_columns",
        language="eng-Latn",
        files={"test": str(tmp_path / "t.tsv")},
    )
    error = validate_task(task, tmp_path).error
    assert "7,671, the first: ['label0'" in error
    assert len(error) < 600
