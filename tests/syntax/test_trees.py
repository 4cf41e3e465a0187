import gzip
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.errors import DataError
from alignmlm.syntax.trees import (
    ROOT,
    Tree,
    children,
    conllu_text,
    is_projective,
    labels_version_1,
    parse_conllu,
    permuted,
    read_conllu,
    top_down,
    ud_version,
    version_1,
    write_conllu,
    yields,
)

bounded = settings(deadline=None, max_examples=60)


@st.composite
def trees(draw, most=9):
    """Columns of any tree, projective or not: each word hangs on one that was placed before it."""
    count = draw(st.integers(1, most))
    placed = draw(st.permutations(range(count)))
    heads = [ROOT] * count
    for number, word in enumerate(placed[1:], start=1):
        heads[word] = placed[draw(st.integers(0, number - 1))]
    upos = draw(st.lists(st.sampled_from(["NOUN", "VERB", "ADP"]), min_size=count, max_size=count))
    relations = tuple("root" if head == ROOT else "dep" for head in heads)
    return tuple(f"w{i}" for i in range(count)), tuple(upos), tuple(heads), relations


def tree(*rows):
    """A tree from (word, upos, head from 1, relation) rows."""
    words, upos, heads, relations = zip(*(row[:4] for row in rows), strict=True)
    feats = tuple(row[4] if len(row) > 4 else "_" for row in rows)
    return Tree(words, upos, tuple(head - 1 for head in heads), relations, feats)


def line(number, head, relation="dep", upos="NOUN"):
    return f"{number}\tw{number}\t_\t{upos}\t_\t_\t{head}\t{relation}\t_\t_\n"


def read(*lines):
    return list(parse_conllu(lines, "file.conllu"))


@bounded
@given(trees())
def test_a_written_tree_is_read_back(columns):
    any_tree = Tree(*columns)
    (back,) = parse_conllu(conllu_text(any_tree).splitlines(keepends=True), "text")
    assert (back.words, back.upos, back.heads, back.relations) == (
        any_tree.words, any_tree.upos, any_tree.heads, any_tree.relations,
    )  # fmt: skip


def test_a_file_and_its_gzip_hold_the_same_trees(tmp_path):
    kept = [tree(("a", "NOUN", 0, "root")), tree(("b", "DET", 2, "det"), ("c", "NOUN", 0, "root"))]
    write_conllu(tmp_path / "x.conllu", kept)
    (tmp_path / "x.conllu.gz").write_bytes(gzip.compress((tmp_path / "x.conllu").read_bytes()))
    assert list(read_conllu(tmp_path / "x.conllu")) == kept
    assert list(read_conllu(tmp_path / "x.conllu.gz")) == kept


def test_multiword_tokens_empty_nodes_and_comments_are_left_out():
    extra = ["# text = ab\n", "1-2\tab" + "\t_" * 8 + "\n", "1.1\te" + "\t_" * 8 + "\n"]
    (found,) = read(extra[0], extra[1], line(1, 2), extra[2], line(2, 0, "root"))
    assert found.words == ("w1", "w2")
    assert found.heads == (1, ROOT)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["1\tw\n"], r"file\.conllu:1: .*10 columns"),
        ([line(1, "_")], r"file\.conllu:1: HEAD must be a number, found '_'"),
        ([line(1, 0, "_")], r"file\.conllu:1: DEPREL .*found '_'"),
        ([line(1, 0, "root ")], r"file\.conllu:1: DEPREL .*without _ or a space, found 'root '"),
        ([line(1, 0, upos="PROPN X")], r"file\.conllu:1: UPOS .*found 'PROPN X'"),
        ([line(1, 0), "\n", line(1, 0), line(3, 1)], r"file\.conllu:4: .*numbered in order"),
        ([line(1, 2), line(2, 1)], r"file\.conllu:1: .*one root .*found 0"),
        ([line(1, 0), line(2, 0)], r"file\.conllu:1: .*one root .*found 2"),
        ([line(1, 0), line(2, 7)], r"file\.conllu:1: HEAD 7 is not a word, allowed are 0 to 2"),
        ([line(1, 0), line(2, 3), line(3, 2)], r"file\.conllu:1: .*above word 2 form a cycle"),
    ],
)
def test_a_damaged_tree_is_an_error_that_names_its_line(lines, said):
    with pytest.raises(DataError, match=said):
        read(*lines)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00 not text", gzip.compress(b"cut off" * 99, mtime=0)[:40]]
)
def test_an_unreadable_file_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / ("x.conllu.gz" if content[0] == 0x1F else "x.conllu")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.conllu"):
        list(read_conllu(path))


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match=r"gone\.conllu does not exist"):
        list(read_conllu(tmp_path / "gone.conllu"))


@bounded
@given(trees())
def test_a_tree_is_projective_when_all_yields_are_whole(columns):
    any_tree = Tree(*columns)
    whole = all(part == list(range(part[0], part[-1] + 1)) for part in yields(any_tree))
    assert is_projective(any_tree) == whole


@bounded
@given(trees())
def test_every_word_comes_once_and_after_its_head_from_the_top_down(columns):
    any_tree = Tree(*columns)
    order = top_down(any_tree, children(any_tree))
    assert sorted(order) == list(range(len(any_tree.words)))
    place = {word: number for number, word in enumerate(order)}
    assert all(h == ROOT or place[h] < place[w] for w, h in enumerate(any_tree.heads))


@bounded
@given(trees(), st.randoms(use_true_random=False))
def test_a_permuted_tree_has_the_same_arcs(columns, random):
    any_tree = Tree(*columns)
    order = random.sample(range(len(any_tree.words)), len(any_tree.words))

    def arcs(of):
        heads = [of.words[head] if head != ROOT else None for head in of.heads]
        return set(zip(of.words, heads, of.relations, of.upos, strict=True))

    assert arcs(permuted(any_tree, order)) == arcs(any_tree)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (("NOUN", "obj", "_"), ("NOUN", "dobj")),
        (("NOUN", "obl:mod", "_"), ("NOUN", "nmod")),
        (("NOUN", "obl:tmod", "_"), ("NOUN", "nmod:tmod")),
        (("PROPN", "nsubj:pass", "_"), ("PROPN", "nsubjpass")),
        (("AUX", "aux:pass", "_"), ("AUX", "auxpass")),
        (("AUX", "aux:tense", "_"), ("AUX", "aux")),
        (("AUX", "cop", "_"), ("VERB", "cop")),
        (("CCONJ", "cc", "_"), ("CONJ", "cc")),
        (("PART", "advmod", "Polarity=Neg"), ("PART", "neg")),
        (("ADV", "advmod", "_"), ("ADV", "advmod")),
        (("DET", "det", "Number=Sing|Poss=Yes"), ("DET", "nmod:poss")),
        (("PROPN", "flat:name", "_"), ("PROPN", "name")),
        (("X", "flat:foreign", "_"), ("X", "foreign")),
        (("ADP", "fixed", "_"), ("ADP", "mwe")),
        (("VERB", "acl:relcl", "_"), ("VERB", "acl:relcl")),
    ],
)
def test_labels_become_those_of_version_1(word, expected):
    assert labels_version_1(*word) == expected


def test_conjunctions_and_commas_hang_on_the_first_conjunct_in_version_1():
    row = tree(
        ("apples", "NOUN", 0, "root"),
        (",", "PUNCT", 3, "punct"),
        ("pears", "NOUN", 1, "conj"),
        ("and", "CCONJ", 6, "cc"),
        ("ripe", "ADJ", 6, "amod"),
        ("plums", "NOUN", 1, "conj"),
    )
    assert version_1(row).heads == (ROOT, 0, 0, 0, 5, 0)


@bounded
@given(trees())
def test_version_1_of_a_projective_tree_is_a_projective_tree(columns):
    any_tree = Tree(*columns)
    relations = tuple(
        "root" if head == ROOT else ["conj", "cc", "punct"][word % 3]
        for word, head in enumerate(any_tree.heads)
    )
    old = version_1(Tree(any_tree.words, any_tree.upos, any_tree.heads, relations))
    assert len(top_down(old, children(old))) == len(old.words)
    assert is_projective(old) or not is_projective(any_tree)


def test_the_version_is_told_by_the_labels():
    assert ud_version([tree(("a", "VERB", 0, "root"), ("b", "NOUN", 1, "dobj"))]) == 1
    assert ud_version([tree(("a", "VERB", 0, "root"), ("b", "NOUN", 1, "obl:agent"))]) == 2


def test_labels_of_both_versions_are_an_error():
    mixed = tree(("a", "VERB", 0, "root"), ("b", "NOUN", 1, "dobj"), ("c", "NOUN", 1, "obj"))
    with pytest.raises(DataError, match=r"version 1 \['dobj'\] and of version 2 \['obj'\]"):
        ud_version([mixed])


@pytest.mark.parametrize(
    ("name", "version", "sentences"),
    [
        ("UD_English-EWT/en_ewt-ud-dev", 2, 2001),
        ("UD_French-Sequoia/fr_sequoia-ud-dev", 2, 412),
        ("UD_Hindi-HDTB-v1/hi-ud-dev", 1, 1659),
        ("UD_Arabic-PADT-v1/ar-ud-dev", 1, 786),
    ],
)
def test_a_real_treebank_is_read_whole_and_its_version_told(shared_data, name, version, sentences):
    found = list(read_conllu(shared_data / "ud" / f"{name}.conllu.gz"))
    assert len(found) == sentences
    assert ud_version(found) == version


def test_version_1_of_a_real_treebank_has_only_labels_of_version_1(shared_data):
    path = shared_data / "ud/UD_English-EWT/en_ewt-ud-dev.conllu.gz"
    assert ud_version(map(version_1, islice(read_conllu(path), 500))) == 1
