"""UDPipe parsers: trained on a slice of a treebank, quiet, exact about words, equal on workers."""

import gzip
import subprocess
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from alignmlm.data.text import split_sentences
from alignmlm.errors import AlignMLMError, ConfigError, DataError
from alignmlm.syntax.parser import (
    Attachment,
    Effort,
    Parser,
    attachment,
    load_parser,
    parse_many,
    read_treebank,
    train_parser,
)
from alignmlm.syntax.trees import read_conllu
from tests.limits import HANG_S

pytest.importorskip("ufal.udpipe", reason="needs the extra alignmlm[syntax]")

TINY = Effort(
    tagger_iterations=3, parser_iterations=3, hidden_units=16, form_units=16, structured_interval=0
)
TREEBANK = "ud/UD_English-EWT/en_ewt-ud-{}.conllu.gz"


def first_sentences(path: Path, count: int) -> str:
    """The first sentences of a treebank."""
    blocks = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n\n")
    return "\n\n".join(blocks[:count]) + "\n\n"


@pytest.fixture(scope="module")
def slices(tmp_path_factory) -> tuple[Path, Path]:
    """400 sentences to train on, 200 to score on."""
    from alignmlm.corpus.sources import expand_path

    data = expand_path("$ALIGNMLM_DATA")
    if not data.is_dir():
        pytest.skip(f"NO REAL DATA: set ALIGNMLM_DATA (looked in {data.absolute()})")
    folder = tmp_path_factory.mktemp("treebank")
    train, dev = folder / "train.conllu", folder / "dev.conllu.gz"
    train.write_text(first_sentences(data / TREEBANK.format("train"), 400), "utf-8")
    dev.write_bytes(gzip.compress(first_sentences(data / TREEBANK.format("dev"), 200).encode()))
    return train, dev


@pytest.fixture(scope="module")
def trained(slices, tmp_path_factory):
    """A tiny model's file, its scores, and what was told of the training."""
    told = []
    output = tmp_path_factory.mktemp("model") / "en.udpipe"
    scores = train_parser([slices[0]], [slices[1]], output, TINY, lambda *one: told.append(one))
    return output, scores, told


@pytest.fixture(scope="module")
def parser(trained) -> Parser:
    return load_parser(trained[0])


def columns(block: str) -> list[list[str]]:
    return [line.split("\t") for line in block.rstrip("\n").split("\n")]


def test_little_training_beats_the_baselines_on_held_out_sentences(trained, slices):
    scores = trained[1]
    text = gzip.decompress(slices[1].read_bytes()).decode("utf-8")
    words = [line.split("\t") for line in text.split("\n") if line.split("\t")[0].isdigit()]
    to_the_left = sum(int(word[6]) == int(word[0]) - 1 for word in words) / len(words)
    nouns = sum(word[3] == "NOUN" for word in words) / len(words)
    assert scores.words == len(words)
    assert scores.upos > 2 * nouns
    assert scores.predicted_tags.uas > to_the_left + 0.1
    assert scores.gold_tags.las > scores.predicted_tags.las > 0.3
    assert scores.gold_tags.las_subtypes <= scores.gold_tags.las <= scores.gold_tags.uas


def test_progress_tells_of_every_iteration(trained):
    told = trained[2]
    assert [message.split(":")[0] for message, _ in told] == [
        *("tagger 1/3", "tagger 2/3", "tagger 3/3", "parser 1/3", "parser 2/3", "parser 3/3")
    ]
    assert [share for _, share in told] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])


def test_training_twice_gives_the_same_bytes_and_a_silent_terminal(
    trained, slices, tmp_path, capfd
):
    again = tmp_path / "again.udpipe"
    assert train_parser([slices[0]], [slices[1]], again, TINY) == trained[1]
    assert again.read_bytes() == trained[0].read_bytes()
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["again.udpipe"]


def test_scores_are_those_of_the_parses_that_come_out(trained, slices, parser):
    text = gzip.decompress(slices[1].read_bytes()).decode("utf-8").rstrip("\n")
    gold = [
        [row for line in block.split("\n") if (row := line.split("\t"))[0].isdigit()]
        for block in text.split("\n\n")
    ]
    found = parser.parse([[row[1] for row in rows] for rows in gold])
    pairs = [
        pair
        for rows, block in zip(gold, found, strict=True)
        for pair in zip(rows, columns(block), strict=True)
    ]
    scores = trained[1]
    right_heads = [pair for pair in pairs if pair[0][6] == pair[1][6]]
    assert scores.predicted_tags.uas == len(right_heads) / len(pairs)
    right = sum(a[7].split(":")[0] == b[7].split(":")[0] for a, b in right_heads)
    assert scores.predicted_tags.las == right / len(pairs)
    assert scores.upos == sum(a[3] == b[3] for a, b in pairs) / len(pairs)


def test_attachment_counts_subtypes_only_in_its_own_share():
    gold = [(2, "nsubj:pass"), (0, "root"), (2, "obl:agent"), (2, "punct")]
    found = [(2, "nsubj"), (0, "root"), (2, "obj"), (3, "punct")]
    assert attachment(gold, found) == Attachment(uas=0.75, las=0.5, las_subtypes=0.25)


def test_wikipedia_sentences_keep_their_words_and_become_trees(shared_data, parser):
    path = shared_data / "corpora/en/wikipedia_en_2014.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as text:
        lines = [next(text) for _ in range(40)]
    raw = [sentence for line in lines for sentence in split_sentences(line, "eng")][:150]
    sentences = []
    for one in raw:
        ends = (*one.word_starts[1:], len(one.text))
        sentences.append(
            [one.text[a:b].rstrip(" ") for a, b in zip(one.word_starts, ends, strict=True)]
        )
    for words, block in zip(sentences, parser.parse(sentences), strict=True):
        rows = columns(block)
        assert [row[1] for row in rows] == words
        assert all(len(row) == 10 for row in rows)
        heads = [int(row[6]) for row in rows]
        assert heads.count(0) == 1
        for place in range(1, len(rows) + 1):
            for _ in rows:
                place = heads[place - 1] if place else 0
            assert place == 0, "a cycle"


def test_white_space_inside_words_does_not_break_lines(parser):
    words = ["New\u00a0York", "a\tb", "c\nd", "e\u2028f", " g ", "", "h\0i", "\u00a0", "#", "1-2"]
    rows = columns(parser.parse([words])[0])
    assert [row[1] for row in rows] == [
        *(
            "New\u00a0York",
            "a\u00a0b",
            "c\u00a0d",
            "e\u00a0f",
            "g",
            "_",
            "h\u00a0i",
            "_",
            "#",
            "1-2",
        )
    ]
    assert {len(row) for row in rows} == {10}


def test_empty_and_over_long_sentences_have_no_parse(trained):
    short = load_parser(trained[0], max_words=3)
    blocks = short.parse([[], ["We", "see", "it"], ["We", "see", "it", "."]])
    assert [block is None for block in blocks] == [True, False, True]


def test_any_number_of_workers_gives_the_same_blocks_in_order(trained, parser):
    batches = [[["Word", str(number), "is", "here", "."]] * (number % 4) for number in range(11)]
    expected = [parser.parse(batch) for batch in batches]
    for workers in (1, 2, 3):
        assert list(parse_many(trained[0], iter(batches), workers)) == expected


@pytest.mark.parametrize(
    "content", [b"", b"\x80" * 40, b"\x12morphodita_parsito\x03\x7f\x7f", b"some text\n" * 100]
)
def test_a_file_that_is_no_model_is_refused(content, tmp_path):
    path = tmp_path / "bad.udpipe"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no UDPipe 1 model"):
        load_parser(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_cut_model_is_refused(kept, trained, tmp_path):
    path = tmp_path / "cut.udpipe"
    whole = trained[0].read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(DataError, match="no UDPipe 1 model"):
        load_parser(path)


def test_a_model_without_a_parser_is_refused(slices, tmp_path):
    import ufal.udpipe

    sentences = ufal.udpipe.Sentences(read_treebank(slices[1]))
    nothing = ("none", "none", "none")
    held_out = ufal.udpipe.Sentences()
    path = tmp_path / "empty.udpipe"
    path.write_bytes(ufal.udpipe.Trainer.train("morphodita_parsito", sentences, held_out, *nothing))
    with pytest.raises(DataError, match="cannot parse: No tagger"):
        load_parser(path)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_parser(tmp_path / "none.udpipe")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("1\tGo\tgo\t_\t_\t_\t0\troot\t_\t_", r"bad\.conllu:1: UPOS must be a label"),
        ("1\tGo\tgo\tVERB\t_\t_\t_\troot\t_\t_", r"bad\.conllu:1: HEAD must be a number"),
        ("1\tGo\tgo\tVERB", r"bad\.conllu:1: a CoNLL-U line has 10 columns"),
        ("", "holds no sentence"),
        ("1\tGo\tgo\tVERB\t_\t_\t0\tdep\t_\t_", "every root node must have 'root'"),
    ],
)
def test_a_treebank_that_cannot_be_learned_is_refused(line, told, slices, tmp_path):
    path, output = tmp_path / "bad.conllu", tmp_path / "out.udpipe"
    path.write_text(f"{line}\n\n", "utf-8")
    with pytest.raises(DataError, match=told):
        train_parser([path], [slices[1]], output, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.conllu"]


CYCLE = "".join(
    f"{number}\tw\t_\t{upos}\t_\t_\t{head}\t{relation}\t_\t_\n"
    for number, upos, head, relation in (
        (1, "VERB", 0, "root"),
        (2, "X", 3, "dep"),
        (3, "X", 2, "dep"),
    )
)


@pytest.mark.parametrize("bad", ["train", "dev"])
def test_heads_that_form_a_cycle_are_neither_learned_nor_scored(bad, slices, tmp_path):
    path, good = tmp_path / "bad.conllu", first_sentences(slices[1], 30)
    path.write_text(good + CYCLE, "utf-8")
    paths = {"train": [slices[0]], "dev": [slices[1]]} | {bad: [path]}
    line = good.count("\n") + 1
    with pytest.raises(DataError, match=rf"bad\.conllu:{line}: .*above word 2 form a cycle"):
        train_parser(**paths, output=tmp_path / "out.udpipe", effort=TINY)


def test_a_treebank_has_the_same_sentences_for_every_reader(tmp_path):
    words = CYCLE.replace("\t3\tdep", "\t1\tdep").replace("\t2\tdep", "\t1\tdep")
    path = tmp_path / "blank.conllu"
    path.write_text(f"{words}\t\n# a comment\n{words}", "utf-8")
    trees = [[word.form for word in list(one.words)[1:]] for one in read_treebank(path)]
    assert trees == [list(tree.words) for tree in read_conllu(path)] == [["w"] * 3] * 2


def test_a_damaged_treebank_is_refused(tmp_path):
    path = tmp_path / "bad.conllu.gz"
    path.write_bytes(gzip.compress(b"1\tGo\n" * 500)[:30])
    with pytest.raises(DataError, match="not a complete gzip file"):
        train_parser([path], [path], tmp_path / "out.udpipe", TINY)


@pytest.mark.parametrize("empty", ["train", "dev"])
def test_empty_lists_are_refused(empty, slices, tmp_path):
    paths = {"train": [slices[0]], "dev": [slices[1]]} | {empty: []}
    with pytest.raises(ConfigError, match="at least one treebank"):
        train_parser(**paths, output=tmp_path / "out", effort=TINY)


def test_a_parser_of_no_workers_is_refused(trained):
    with pytest.raises(ConfigError, match="workers = 0"):
        next(parse_many(trained[0], [[["Go"]]], workers=0))


def test_a_worker_that_is_killed_is_an_error_with_a_remedy(trained, monkeypatch):
    killed = BrokenProcessPool("A process in the process pool was terminated abruptly")

    def submit(pool, *task):
        future = Future()
        future.set_exception(killed)
        return future

    monkeypatch.setattr("alignmlm.syntax.parser.ProcessPoolExecutor.submit", submit)
    with pytest.raises(AlignMLMError, match=r"process of the parser was killed.*--workers"):
        list(parse_many(trained[0], [[["Go"]]] * 5, workers=2))


def test_without_the_library_the_extra_is_named():
    code = (
        "import sys; from pathlib import Path; sys.modules['ufal.udpipe'] = None\n"
        "from alignmlm.syntax.parser import load_parser\n"
        "load_parser(Path('model'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S
    )
    assert "pip install 'alignmlm[syntax]'" in done.stderr


def test_importing_the_parser_does_not_import_udpipe():
    code = "import sys, alignmlm.syntax.parser; assert 'ufal.udpipe' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=HANG_S)
