"""Sentences of a store are looked up in treebanks by their words."""

import pytest

from alignmlm.corpus.build import build_store
from alignmlm.corpus.parses import MISSING, looked_up, parse_store
from alignmlm.corpus.settings import DataConfig
from alignmlm.corpus.sources import SourceConfig
from alignmlm.data.store import Store


def conllu(words):
    rows = (f"{i}\t{word}\t_\tX\t_\t_\t{i - 1}\tx\t_\t_\n" for i, word in enumerate(words, 1))
    return "".join(rows) + "\n"


@pytest.mark.parametrize("word", ["cafe\u0301", "10\u00a0000", "10\u202f000", "hợp tác"])
def test_a_store_of_a_treebank_finds_all_its_sentences_there(word, tmp_path):
    bank = tmp_path / "bank.conllu"
    words = [[word, f"word{i}", "."] for i in range(20)]
    bank.write_text("".join(f"# newdoc\n{conllu(sentence)}" for sentence in words), "utf-8")
    source = SourceConfig(language="fra-Latn", files=[str(bank)])
    settings = {"vocabulary_size": 270, "validation": 0.3}
    store = build_store(DataConfig(store=str(tmp_path / "store"), sources=[source], **settings))
    counts = parse_store(
        Store(store), "fra-Latn", looked_up([bank]), 2**60, lambda done, total: None
    )
    assert counts == {"parsed": 20, "end of a document": 20}


def test_the_same_letters_in_other_words_are_another_sentence(tmp_path):
    bank = tmp_path / "bank.conllu"
    bank.write_text(conllu(["a", "rose"]) + conllu(["ice", "cream"]))
    found = looked_up([bank]).blocks(iter([["aro", "se"], ["ice", "cream"]]), 2)
    assert [block.startswith(MISSING) for _, block in found] == [True, False]


def test_as_many_sentences_are_looked_up_as_asked_for_whatever_documents_they_are_in(tmp_path):
    bank = tmp_path / "bank.conllu"
    bank.write_text(conllu(["ice", "cream"]))
    sentences = [["ice", "cream"], []] * 3  # the empty ones end documents
    found = looked_up([bank]).blocks(iter(sentences), 2)
    assert [block.startswith(MISSING) for words, block in found if words] == [False, False, True]
