import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alignmlm.errors import ConfigError, DataError
from alignmlm.tasks.examples import Answer, ParallelPair, SentencePair, SplitFile, WordPair
from alignmlm.tasks.formats import label_names, read_split
from tests.toys import conllu, read_sentences

CONTRACTION = "\n".join(
    "\t".join([number, form, "_", tag, *"_____", misc])
    for number, form, tag, misc in [
        ("1-2", "don't", "_", "SpaceAfter=No"),
        ("1", "do", "AUX", "_"),
        ("2", "n't", "PART", "_"),
        ("3", "!", "PUNCT", "_"),
        ("3.1", "go", "VERB", "_"),
        ("4-5", "du", "_", "_"),
        ("4", "de", "ADP", "_"),
        ("5", "le", "DET", "_"),
    ]
)


def written(tmp_path, text):
    path = tmp_path / "some.conllu"
    path.write_text(text, encoding="utf-8")
    return path


def test_words_and_tags_come_in_the_order_of_the_file(tmp_path):
    path = written(tmp_path, "# a comment\n" + conllu(["the/DET dog/NOUN +./PUNCT", "go/VERB"]))
    first, second = read_sentences(path)
    assert (first.words, first.labels) == (("the", "dog", "."), ("DET", "NOUN", "PUNCT"))
    assert (second.words, second.labels) == (("go",), ("VERB",))


def test_a_tag_has_no_space_around_it(tmp_path):
    (sentence,) = read_sentences(written(tmp_path, conllu(["a/DET b/X"]).replace("DET", "DET ")))
    assert sentence.labels == ("DET", "X")
    (sentence,) = split(tmp_path, "conll_columns", "a\tDET\xa0\nb\tX\n").examples
    assert sentence.labels == ("DET", "X")


def test_a_word_knows_whether_a_space_stands_before_it(tmp_path):
    (sentence,) = read_sentences(written(tmp_path, conllu(["a/DET b/X +./PUNCT"])))
    assert sentence.joined == (False, False, True)


def test_parts_of_a_contraction_are_joined_where_they_spell_it(tmp_path):
    (sentence,) = read_sentences(written(tmp_path, CONTRACTION))
    assert sentence.words == ("do", "n't", "!", "de", "le")
    assert sentence.joined == (False, True, True, False, False)


def test_a_gzip_file_reads_like_a_plain_one(tmp_path):
    path = tmp_path / "some.conllu.gz"
    path.write_bytes(gzip.compress(conllu(["go/VERB"]).encode()))
    assert read_sentences(path)[0].words == ("go",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (conllu(["the/DET dog/_"]), r":2: word 'dog' has no part of speech"),
        ("1\tdog\n", r":1: a CoNLL-U line has 10 columns"),
        (conllu(["go/VERB"]).replace("1\t", "one\t", 1), r"a word id must look like 3, 3-4 or"),
        ("\n", "has no examples"),
    ],
)
def test_a_wrong_file_says_where_it_is_wrong(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_sentences(written(tmp_path, text))


def test_a_cut_gzip_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "cut.conllu.gz"
    path.write_bytes(gzip.compress(conllu(["go/VERB"] * 50).encode())[:-12])
    with pytest.raises(DataError, match="not a complete gzip file"):
        read_sentences(path)


def test_a_label_that_train_lacks_is_an_error_that_names_the_split(tmp_path):
    train = read_sentences(written(tmp_path, conllu(["a/DET"])))
    test = read_sentences(written(tmp_path, conllu(["a/DET go/VERB"])))
    with pytest.raises(DataError, match=r"test has labels that train lacks: \['VERB'\]"):
        label_names(train, {"test": test})


def split(tmp_path, form, text, name="some.tsv", **how):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_split(SplitFile(path=str(path), form=form, **how))


def test_columns_are_words_and_labels_with_blank_lines_between_sentences(tmp_path):
    found = split(
        tmp_path, "conll_columns", "en:a\tO\nen:b:c\tB-X\n\n\nen:d\tO\n", strip_prefix="en:"
    )
    assert [(s.words, s.labels) for s in found.examples] == [
        (("a", "b:c"), ("O", "B-X")),
        (("d",), ("O",)),
    ]
    assert [s.id for s in found.examples] == ["line 1", "line 5"]


def test_a_sentence_final_mark_of_a_file_without_spaces_is_joined_to_the_word_before(tmp_path):
    (sentence,) = split(tmp_path, "conll_columns", "?\tO\nyes\tO\n,\tO\n?!\tO\n").examples
    assert sentence.joined == (False, False, False, True)


def test_columns_of_conll_2003_are_read_by_their_numbers(tmp_path):
    text = "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n"
    found = split(tmp_path, "conll_columns", text)
    assert [s.labels for s in found.examples] == [("B-ORG", "O")]
    found = split(tmp_path, "conll_columns", text, columns={"label": 2})
    assert [s.labels for s in found.examples] == [("NNP", "VBZ")]


def test_a_line_between_documents_ends_a_sentence(tmp_path):
    found = split(tmp_path, "conll_columns", "I O\n-DOCSTART- O\nYou O\n")
    assert [s.words for s in found.examples] == [("I",), ("You",)]


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        ("a\tO\nb\n", {}, r":2: 'b' has no label"),
        ("a\tO\nb\t\n", {}, r":2: .* lacks its label"),
        ("\tO\n", {}, r":1: .* lacks its word"),
        ("a\tO\n", {"strip_prefix": "en:"}, "does not begin with 'en:'"),
        ("a NN O\nPeter NNP\n", {}, ":2: 2 columns, but the first row has 3"),
        ("a O\n\n# a comment\n", {"columns": {"label": 2}}, ":3: 3 columns, but .* has 2"),
        ("\n\n", {}, "has no examples"),
    ],
)
def test_columns_that_lack_something_say_where(tmp_path, text, how, message):
    with pytest.raises(DataError, match=message):
        split(tmp_path, "conll_columns", text, **how)


TOKENS = {"id": "x", "tokens": ["a", "b"], "ner_tags": [0, 3]}


def test_a_table_of_lists_is_labelled_sentences(tmp_path):
    how = {"columns": {"labels": "ner_tags"}, "label_values": {"0": "O", "3": "B-ORG"}}
    found = split(tmp_path, "token_table", json.dumps(TOKENS), "some.jsonl", **how)
    (sentence,) = found.examples
    assert (sentence.words, sentence.labels, sentence.id) == (("a", "b"), ("O", "B-ORG"), "x")


def test_a_hub_dataset_is_a_table(tmp_path):
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "train.jsonl").write_text(json.dumps(TOKENS) + "\n", encoding="utf-8")
    how = {"columns": {"labels": "ner_tags"}}
    file = SplitFile(path=f"hub:{tmp_path / 'hub'}", form="token_table", **how)
    assert read_split(file).examples[0].labels == ("0", "3")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**TOKENS, "ner_tags": [0]}, "2 words, but 1 labels"),
        ({**TOKENS, "tokens": "a b"}, "words must be a list"),
        ({**TOKENS, "ner_tags": ["N", ""]}, "some.jsonl.*: a word has no label"),
        ({**TOKENS, "ner_tags": [" ", "N"]}, "some.jsonl.*: a word has no label"),
        ({"tokens": []}, "no column 'ner_tags'"),
        ([1], "a row must be an object"),
    ],
)
def test_a_wrong_row_of_lists_says_what_is_wrong(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        how = {"columns": {"labels": "ner_tags"}}
        split(tmp_path, "token_table", json.dumps(row), "some.jsonl", **how)


def test_every_word_of_a_table_of_lists_has_the_prefix(tmp_path):
    row = json.dumps({"tokens": ["en:a", "b"], "labels": ["X", "Y"]})
    with pytest.raises(DataError, match=r"some\.jsonl:1: word 'b' does not begin with 'en:'"):
        split(tmp_path, "token_table", row, "some.jsonl", strip_prefix="en:")


def test_pairs_are_the_first_three_columns_where_none_are_named(tmp_path):
    found = split(tmp_path, "pair_table", 'He said "no\tHe spoke\tentailment\n')
    assert found.examples == [SentencePair('He said "no', "He spoke", "entailment", "0")]


PAIRS = "n\tpremise\thypothesis\tgold\n1\ta\tb\t0\n2\tc\td\t-\n3\te\t \t1\n"
BY_NAME = {"id": "n", "first": "premise", "second": "hypothesis", "label": "gold"}


def test_pairs_are_read_by_the_names_of_columns_and_what_is_left_out_is_counted(tmp_path):
    how = {"columns": BY_NAME, "label_values": {"0": "yes"}, "drop_labels": ["-"]}
    found = split(tmp_path, "pair_table", PAIRS, **how)
    assert found.examples == [SentencePair("a", "b", "yes", "1")]
    assert found.dropped == {"labelled -": 1, "empty": 1}


def test_csv_files_may_quote_their_cells(tmp_path):
    found = split(tmp_path, "pair_table", '"a, b",c,x\n', "some.csv")
    assert found.examples == [SentencePair("a, b", "c", "x", "0")]


def test_a_label_is_the_same_with_space_around_it(tmp_path):
    found = split(tmp_path, "pair_table", "a\tb\t x\u00a0\nc\td\tx\n")
    assert {pair.label for pair in found.examples} == {"x"}


def test_columns_of_a_table_may_be_counted_from_the_last(tmp_path):
    how = {"columns": {"first": 2, "second": -2, "label": -1}}
    found = split(tmp_path, "pair_table", "7,a,b,x\n", "some.csv", **how)
    assert found.examples == [SentencePair("a", "b", "x", "0")]


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        ("a\tb\n", {}, r":1: no column 3"),
        ("a\tb\t \n", {}, "the pair has no label"),
        ("a\tb\tx\n\nc\td\there\ty\n", {}, ":3: 4 columns, but the first row has 3"),
        (PAIRS, {"columns": {"first": "prem"}}, "no column 'prem'"),
        ("p\tq\na\n", {"columns": {"first": "p"}}, "1 cells, but the header has 2"),
        (PAIRS.replace("2\tc", "1\tc"), {"columns": BY_NAME}, "id '1' is of two different"),
    ],
)
def test_wrong_pairs_say_what_is_wrong(tmp_path, text, how, message):
    with pytest.raises(DataError, match=message):
        split(tmp_path, "pair_table", text, **how)


def test_the_same_example_a_second_time_is_left_out_and_counted(tmp_path):
    found = split(tmp_path, "pair_table", PAIRS + "1\ta\tb\t0\n", columns=BY_NAME)
    assert [pair.id for pair in found.examples] == ["1", "2"]
    assert found.dropped["repeated"] == 1


def test_rows_may_be_numbered_in_place_of_their_ids(tmp_path):
    text = PAIRS.replace("2\tc", "1\tc")
    found = split(tmp_path, "pair_table", text, columns=BY_NAME, ids="rows")
    assert [pair.id for pair in found.examples] == ["0", "1"]


def test_a_split_may_be_some_rows_of_a_file(tmp_path):
    text = "".join(f"a{i}\tb\tx\n" for i in range(9))
    assert [p.first for p in split(tmp_path, "pair_table", text, rows=[2, 4]).examples] == [
        "a2",
        "a3",
    ]


def test_what_was_dropped_before_and_after_the_rows_is_not_counted(tmp_path):
    text = "".join(f"a{i}\tb\tx\n\tempty\tx\n" for i in range(9))
    parts = [split(tmp_path, "pair_table", text, rows=rows) for rows in ([0, 2], [2, 7], [7, 9])]
    assert [part.dropped["empty"] for part in parts] == [1, 5, 2]


@pytest.mark.parametrize(
    ("form", "name", "text"),
    [
        ("conllu_upos", "some.conllu", conllu(["a/X b/N", "c/N d/O"])),
        ("conll_columns", "some.tsv", "a\tX\nb\tN\n\nc\tN\nd\tO\n"),
        (
            "token_table",
            "some.jsonl",
            '{"tokens": ["a", "b"], "labels": ["X", "N"]}\n'
            '{"tokens": ["c", "d"], "labels": ["N", "O"]}\n',
        ),
    ],
)
def test_a_sentence_with_a_label_to_be_dropped_is_left_out_and_counted(tmp_path, form, name, text):
    how = {"drop_labels": ["X"], "label_values": {"N": "X"}}
    found = split(tmp_path, form, text, name, **how)
    assert [sentence.labels for sentence in found.examples] == [("X", "O")]
    assert found.dropped == {"labelled X": 1}


def squad(answers, **more):
    qas = [{"id": "q", "question": "Who?", "answers": answers, **more}]
    return json.dumps({"data": [{"paragraphs": [{"context": "Ann met Bob.", "qas": qas}]}]})


BOB = {"text": "Bob", "answer_start": 8}


def test_questions_have_their_answers_once_each(tmp_path):
    (question,) = split(tmp_path, "squad_json", squad([BOB, BOB]), "some.json").examples
    assert (question.context, question.question, question.id) == ("Ann met Bob.", "Who?", "q")
    assert question.answers == (Answer("Bob", 8),)


def test_a_table_of_questions_is_read_like_squads_json(tmp_path):
    row = {"id": "q", "question": "Who?", "context": "Ann met Bob."}
    row |= {"answers": {"text": ["Bob"], "answer_start": [8]}}
    found = split(tmp_path, "question_table", json.dumps(row), "some.jsonl")
    assert found.examples == split(tmp_path, "squad_json", squad([BOB]), "some.json").examples


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (squad([{**BOB, "answer_start": 7}]), r"answer 'Bob' is not at 7, .* it stands at 8"),
        (squad([{**BOB, "text": "Eve"}]), "the context does not have it"),
        (squad([{"text": "", "answer_start": 0}]), "empty answer"),
        (squad([{"text": " ", "answer_start": 7}]), "empty answer"),
        (squad([BOB], is_impossible=True), r"has no examples: all were left out"),
        (squad([]), r"\{'without answer': 1\}"),
        ("{", "must be JSON"),
        ('{"data": [{}]}', "SQuAD's JSON is"),
        ("[]", "SQuAD's JSON is"),
    ],
)
def test_wrong_questions_say_what_is_wrong(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        split(tmp_path, "squad_json", text, "some.json")


def test_two_files_are_translations_line_by_line(tmp_path):
    other = tmp_path / "other"
    other.write_text("un\ndeux\n\n", encoding="utf-8")
    found = split(tmp_path, "line_files", "one\ntwo\nthree\n", other=str(other))
    assert found.examples[1] == ParallelPair("two", "deux", "line 2")
    assert (len(found.examples), found.dropped) == (2, {"empty": 1})


def test_files_of_different_lengths_are_no_translations(tmp_path):
    other = tmp_path / "other"
    other.write_text("un\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"has 2 lines, but .*other has 1"):
        split(tmp_path, "line_files", "one\ntwo\n", other=str(other))


def test_a_table_of_sentences_is_translations(tmp_path):
    found = split(tmp_path, "sentence_table", "one\tun\n\tdeux\n")
    assert (found.examples, found.dropped) == ([ParallelPair("one", "un", "0")], {"empty": 1})


def test_a_translation_with_a_tab_too_many_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r":2: 3 columns, but the first row has 2"):
        split(tmp_path, "sentence_table", "one\tun\nhe said\tthe tab\there\n")


def test_a_date_out_of_pythons_range_is_an_error_that_names_its_column(tmp_path):
    dates = pa.array([2**31 - 1], pa.int32()).view(pa.date32())
    path = tmp_path / "some.parquet"
    pq.write_table(pa.table({"source": ["one"], "target": ["un"], "seen": dates}), path)
    file = SplitFile(
        path=str(path), form="sentence_table", columns={"source": "source", "target": "target"}
    )
    with pytest.raises(DataError, match=r"some\.parquet: column 'seen' has a value that cannot"):
        read_split(file)


def test_word_pairs_are_kept_once_each(tmp_path):
    found = split(tmp_path, "word_pairs", "the le\nthe la\nthe le\n", "some.txt")
    assert [(p.source, p.target) for p in found.examples] == [("the", "le"), ("the", "la")]
    assert isinstance(found.examples[0], WordPair)
    assert found.dropped == {"repeated": 1}


@pytest.mark.parametrize("name", ["some.CSV", "some.Csv"])
def test_the_ending_of_a_table_has_capitals_or_not(tmp_path, name):
    (pair,) = split(tmp_path, "pair_table", '"a, b",c,1\n', name).examples
    assert (pair.first, pair.second, pair.label) == ("a, b", "c", "1")


@pytest.mark.parametrize("rows", [[3, 5], [0, 2], [1, 2]])
def test_rows_past_the_end_are_an_error_and_not_fewer_examples(tmp_path, rows):
    told = rf"has 1 examples, but rows = \[{rows[0]}, {rows[1]}\]"
    with pytest.raises(DataError, match=told):
        split(tmp_path, "pair_table", "a\tb\tyes\n", rows=rows)


@pytest.mark.parametrize("name", ["label", "gold_label", "Label"])
def test_a_header_is_no_pair(tmp_path, name):
    text = f"premise\thypothesis\t{name}\na\tb\tyes\n"
    with pytest.raises(DataError, match=r":1: the label is '\w+', so this is a header; name the"):
        split(tmp_path, "pair_table", text)
    assert len(split(tmp_path, "pair_table", text, drop_labels=[name]).examples) == 1


@pytest.mark.parametrize(
    ("form", "columns"),
    [
        ("pair_table", {"label": 1}),
        ("sentence_table", {"source": 2}),
        ("conll_columns", {"label": 1}),
    ],
)
def test_two_roles_of_one_column_are_refused(tmp_path, form, columns):
    with pytest.raises(ConfigError, match=r"columns of .*be different for each role"):
        split(tmp_path, form, "a\tb\tc\n", columns=columns)


@pytest.mark.parametrize("label", ["", " yes"])
def test_a_new_name_of_a_label_has_no_space_around_it(tmp_path, label):
    with pytest.raises(ConfigError, match=r"label_values of .*labels without space around them"):
        split(tmp_path, "pair_table", "a\tb\t1\n", label_values={"1": label})
