from collections import defaultdict
from itertools import chain, pairwise

import conllu as conllu_package
import pytest

from alignmlm.corpus import sample_world
from alignmlm.corpus.sample_world import (
    conllu,
    pairs,
    plain_text,
    sample_documents,
    write_tasks,
)
from alignmlm.data.text import split_sentences, words_of
from alignmlm.errors import ConfigError

SPLITS = ("train", "dev", "test")
FIRST_SENTENCES = [
    "our mostar was misan on Toro Group.",
    "if he seems domot, the sofim dubrom and two klugi kiru is drilur.",
    "rerar some vustut who nebu Diklen Bank!",
]


def sample_pairs(count, seed=0):
    return pairs(count, seed, "corpus")


def sentences_of(documents):
    return list(chain.from_iterable(documents))


@pytest.fixture(scope="module")
def documents():
    return list(sample_documents(2400, seed=3))


@pytest.fixture(scope="module")
def sentences(documents):
    return sentences_of(documents)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    write_tasks(folder, seed=3, train=60, dev=20, test=20)
    return folder


def test_same_seed_gives_the_same_sentences(sentences):
    assert sentences_of(sample_documents(60, seed=3)) == sentences[:60]


def test_another_seed_gives_another_text(sentences):
    other = {plain_text(s) for s in sentences_of(sample_documents(300, seed=4))}
    assert len(other & set(map(plain_text, sentences))) < 10


def test_the_text_of_seed_0_never_changes():
    first = next(sample_documents(3))
    assert list(map(plain_text, first)) == FIRST_SENTENCES


@pytest.mark.parametrize("count", [1, 11, 12, 13, 40])
def test_a_sentence_does_not_depend_on_how_many_are_asked_for(count, sentences):
    assert sentences_of(sample_documents(count, seed=3)) == sentences[:count]


def test_a_document_has_one_topic_and_at_most_its_size():
    documents = list(sample_documents(40, sentences_per_document=9))
    assert [len(document) for document in documents] == [9, 9, 9, 9, 4]
    assert all(len({s.topic for s in document}) == 1 for document in documents)


def test_every_topic_occurs(sentences):
    assert {s.topic for s in sentences} == set(range(sample_world.TOPICS))


def test_every_column_has_one_entry_a_word(sentences):
    for s in sentences:
        columns = (s.words, s.upos, s.heads, s.relations, s.entities)
        assert len({len(column) for column in columns}) == 1


def test_a_tree_has_exactly_one_root_and_no_cycle(sentences):
    for s in sentences:
        assert s.heads.count(0) == 1
        assert [r for r, head in zip(s.relations, s.heads, strict=True) if head == 0] == ["root"]
        for i in range(1, len(s.heads) + 1):
            above = {i}
            while i := s.heads[i - 1]:
                assert i not in above
                above.add(i)


def test_trees_are_projective(sentences):
    for s in sentences:
        arcs = [tuple(sorted(arc)) for arc in enumerate(s.heads, start=1)]
        assert not any(a < c < b < d for a, b in arcs for c, d in arcs)


def test_no_word_depends_on_a_function_word(sentences):
    for s in sentences:
        heads = {s.upos[head - 1] for head in s.heads if head}
        assert heads <= {"NOUN", "VERB", "ADJ", "PROPN"}


def test_entities_are_valid_iob2(sentences):
    for s in sentences:
        for before, tag in zip(("O", *s.entities), s.entities, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_entities_are_the_proper_nouns(sentences):
    for s in sentences:
        assert [upos == "PROPN" for upos in s.upos] == [tag != "O" for tag in s.entities]


def test_all_three_kinds_of_entity_are_frequent(sentences):
    tags = list(chain.from_iterable(s.entities for s in sentences))
    assert min(tags.count(f"{b}-{k}") for b in "BI" for k in ("PER", "LOC", "ORG")) > 50


def tags_of_words(sentences):
    tags = defaultdict(lambda: defaultdict(int))
    for s in sentences:
        for word, upos in zip(s.words, s.upos, strict=True):
            tags[word][upos] += 1
    return tags


def test_some_words_are_often_noun_and_often_verb(sentences):
    tags = tags_of_words(sentences).values()
    assert sum(min(tag["NOUN"], tag["VERB"]) >= 5 for tag in tags) >= 20


def test_some_names_are_both_person_and_place(sentences):
    kinds = defaultdict(set)
    for s in sentences:
        for word, tag in zip(s.words, s.entities, strict=True):
            kinds[word].add(tag)
    assert sum({"B-PER", "B-LOC"} <= kind for kind in kinds.values()) >= 4


def test_the_lexicon_has_about_600_words(sentences):
    assert 550 <= len(tags_of_words(sentences)) <= 650


def test_lengths_are_5_to_18_words(sentences):
    lengths = [len(s.words) for s in sentences]
    assert (min(lengths), max(lengths)) == (5, 18)
    assert 10.5 < sum(lengths) / len(lengths) < 13


def test_topics_differ_in_their_nouns(sentences):
    counts = [defaultdict(int) for _ in range(sample_world.TOPICS)]
    for s in sentences:
        for word, upos in zip(s.words, s.upos, strict=True):
            counts[s.topic][word] += upos == "NOUN"
    frequent = [set(sorted(count, key=count.get)[-20:]) for count in counts]
    assert all(len(a & b) <= 6 for a in frequent for b in frequent if a is not b)


def test_verbs_keep_company_with_objects(sentences):
    objects = defaultdict(lambda: defaultdict(int))
    for s in sentences:
        for word, head, relation in zip(s.words, s.heads, s.relations, strict=True):
            if relation == "obj":
                objects[s.words[head - 1]][word] += 1
    frequent = [count for count in objects.values() if sum(count.values()) >= 40]
    assert sum(max(count.values()) > 0.15 * sum(count.values()) for count in frequent) >= 10


def test_plain_text_has_no_space_before_a_mark(sentences):
    text = "\n".join(map(plain_text, sentences))
    assert ", " in text
    assert not any(f" {mark}" in text for mark in ".,?!")


def test_plain_text_is_split_into_the_same_words(sentences):
    for s in sentences[:300]:
        starts = [*words_of(plain_text(s)).word_starts, None]
        text = plain_text(s)
        found = [text[a:b].strip() for a, b in pairwise(starts)]
        assert tuple(found) == s.words


def test_a_document_is_split_into_the_same_sentences(documents):
    for document in documents[:50]:
        texts = list(map(plain_text, document))
        assert [s.text for s in split_sentences(" ".join(texts), "qaa")] == texts


def test_conllu_parses_to_the_same_labels(sentences):
    parsed = conllu_package.parse("".join(conllu(sentences[:200])))
    for tokens, s in zip(parsed, sentences, strict=False):
        assert tuple(t["form"] for t in tokens) == s.words
        assert tuple(t["upos"] for t in tokens) == s.upos
        assert tuple(t["head"] for t in tokens) == s.heads
        assert tuple(t["deprel"] for t in tokens) == s.relations
        assert tuple((t["misc"] or {}).get("Entity", "O") for t in tokens) == s.entities


def test_conllu_text_comes_back_from_its_spaces(sentences):
    for tokens in conllu_package.parse("".join(conllu(sentences[:200]))):
        close = ["" if (t["misc"] or {}).get("SpaceAfter") == "No" else " " for t in tokens]
        text = "".join(t["form"] + space for t, space in zip(tokens, close, strict=True))
        assert text.strip() == tokens.metadata["text"]


def test_labels_of_pairs_are_balanced():
    labels = [label for _, _, label in sample_pairs(99)]
    assert {labels.count(label) for label in sample_world.LABELS} == {33}


def test_a_pair_does_not_depend_on_how_many_are_asked_for():
    assert list(sample_pairs(7, seed=3)) == list(sample_pairs(20, seed=3))[:7]


def test_premise_and_hypothesis_differ():
    assert all(premise != hypothesis for premise, hypothesis, _ in sample_pairs(300))


def test_negation_alone_does_not_give_the_label_away():
    labels = {label for _, text, label in sample_pairs(100) if " not " in text}
    assert labels == set(sample_world.LABELS)


def test_entailed_text_drops_words_or_adds_them_after_not():
    for premise, hypothesis, label in sample_pairs(300):
        before, after = premise.strip(".").split(), hypothesis.strip(".").split()
        if label == "entailment":
            longer, shorter = (after, before) if "not" in before else (before, after)
            assert len(longer) > len(shorter)
            rest = iter(longer)
            assert all(word in rest for word in shorter)


def task_texts(folder, split):
    text = (folder / f"pos-{split}.conllu").read_text(encoding="utf-8")
    return {tokens.metadata["text"] for tokens in conllu_package.parse(text)}


def test_task_splits_are_disjoint_from_the_corpus(tasks, sentences):
    corpus = set(map(plain_text, sentences))
    assert not any(task_texts(tasks, split) & corpus for split in SPLITS)


def test_task_splits_are_disjoint_from_one_another(tasks):
    texts = [task_texts(tasks, split) for split in SPLITS]
    assert len(set.union(*texts)) == sum(map(len, texts))


def test_premises_are_in_one_split_only(tasks):
    files = [(tasks / f"nli-{split}.tsv").read_text("utf-8").splitlines() for split in SPLITS]
    premises = [{line.split("\t")[0] for line in lines} for lines in files]
    assert len(set.union(*premises)) == sum(map(len, premises))


def test_task_files_have_the_sizes_asked_for(tasks):
    for split, size in zip(SPLITS, (60, 20, 20), strict=True):
        pos, ner, nli = (
            (tasks / name).read_text("utf-8")
            for name in (f"pos-{split}.conllu", f"ner-{split}.tsv", f"nli-{split}.tsv")
        )
        assert (pos.count("\n\n"), ner.count("\n\n"), nli.count("\n")) == (size, size, size)


def test_ner_files_hold_a_token_and_a_tag_a_line(tasks):
    lines = (tasks / "ner-dev.tsv").read_text("utf-8").split("\n")
    assert {len(line.split("\t")) for line in lines if line} == {2}


def test_only_whole_task_files_are_left(tasks):
    names = {f"{task}-{split}" for task in ("pos", "ner", "nli") for split in SPLITS}
    assert {path.stem for path in tasks.iterdir()} == names


def test_task_files_are_the_same_when_written_again(tasks, tmp_path):
    write_tasks(tmp_path, seed=3, train=60, dev=20, test=20)
    for path in tasks.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "call",
    [
        lambda: sample_documents(0),
        lambda: sample_documents(5, sentences_per_document=0),
    ],
)
def test_a_size_below_1_is_an_error_at_once(call):
    with pytest.raises(ConfigError, match=r"sample\.\w+ = (0|-1), but it must be at least 1"):
        call()


def test_an_empty_split_is_an_error_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match=r"sample\.dev"):
        write_tasks(tmp_path / "new", dev=0)
    assert not (tmp_path / "new").exists()
