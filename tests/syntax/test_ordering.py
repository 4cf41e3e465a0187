import math
from collections import Counter
from functools import cache
from itertools import islice, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignmlm.errors import DataError
from alignmlm.syntax.features import (
    MAX_NODES,
    is_head,
    ngrams,
    order_number,
    order_tables,
    orders_with,
)
from alignmlm.syntax.ordering import (
    Counts,
    OrderingModel,
    blend,
    head_orders,
    read_orm,
    reorder_tree,
    word_draws,
    write_orm,
)
from alignmlm.syntax.trees import (
    ROOT,
    Tree,
    is_projective,
    permuted,
    read_conllu,
    version_1,
    yields,
)

bounded = settings(deadline=None, max_examples=40)
LABELS = ["DET&det", "ADJ&amod", "NOUN&nmod", "ADP&case", "DET&neg"]
signatures = st.lists(st.sampled_from(LABELS), min_size=1, max_size=4).map(
    lambda labels: ("@NOUN&@", *sorted(labels))
)
EMPTY = OrderingModel({})


def fired(labels):
    """Names of an order's features, one by one: what the paper says, slowly."""
    names = Counter()
    head = next(place for place, label in enumerate(labels) if is_head(label))
    split = [label.split("&") for label in labels]
    for form in ([part[0] for part in split], [part[1] for part in split], labels):
        for first, second in zip(["BOS", *form], [*form, "EOS"], strict=True):
            names[f"BI_{first}_{second}"] += 1
        for i, first in enumerate(form):
            for j in range(i + 1, len(form)):
                names[f"PRE_{first}_{form[j]}"] += 1
                if head not in (i, j):
                    kind = "AFT" if head < i else "BFR" if head > j else "BTW"
                    names[f"{kind}_{first}_{form[j]}"] += 1
    for size in (3, 4, 5):
        if size <= len(labels):
            padded = ["BOS"] * (size - 1) + list(labels) + ["EOS"] * (size - 1)
            for start in range(len(padded) - size + 1):
                names["_".join(["HI", *padded[start : start + size]])] += 1
    return names


def all_orders(signature):
    return [[signature[node] for node in order] for order in permutations(range(len(signature)))]


@cache
def rich_model():
    """A model with a weight for whatever the orders of one or two nodes of a label can fire."""
    phrases = [("@NOUN&@", *LABELS), *[("@NOUN&@", label, label) for label in LABELS]]
    names = sorted(
        {n for phrase in phrases for labels in all_orders(phrase) for n in fired(labels)}
    )
    weights = np.random.default_rng(0).normal(size=len(names))
    return OrderingModel(dict(zip(names, weights.tolist(), strict=True)))


@st.composite
def projective_trees(draw, most=14):
    """Columns of any tree read off from left to right, with noun, verb and other heads."""
    count = draw(st.integers(1, most))
    above = [draw(st.integers(0, word - 1)) for word in range(1, count)]
    place, order = {}, []

    def lay_out(word):
        below = [child + 1 for child, head in enumerate(above) if head == word]
        cut = draw(st.integers(0, len(below)))
        for child in below[:cut]:
            lay_out(child)
        place[word] = len(order)
        order.append(word)
        for child in below[cut:]:
            lay_out(child)

    lay_out(0)
    heads = tuple(place[above[word - 1]] if word else ROOT for word in order)
    tags = st.sampled_from(["NOUN", "VERB", "ADJ", "PRON"])
    upos = tuple(draw(tags) for _ in order)
    relations = tuple(draw(st.sampled_from(["det", "amod", "nmod"])) for _ in order)
    return tuple(f"w{word}" for word in order), upos, heads, relations


def star(dependents, upos="NOUN"):
    """A head before so many dependents."""
    count = dependents + 1
    heads = (ROOT, *[0] * dependents)
    words = tuple(f"w{number}" for number in range(count))
    return Tree(words, (upos, *["ADJ"] * dependents), heads, ("root", *["amod"] * dependents))


@settings(deadline=None, max_examples=15)
@given(signatures)
def test_scores_are_the_sums_of_the_weights_of_the_features(signature):
    model = rich_model()
    slow = [
        sum(model.weights.get(name, 0.0) * times for name, times in fired(labels).items())
        for labels in all_orders(signature)
    ]
    difference = model.scores(signature) - slow
    assert np.ptp(difference) < 1e-9  # n-grams of padding alone fire in every order


@bounded
@given(signatures)
def test_the_probabilities_of_all_orders_sum_to_one(signature):
    log_p = rich_model().log_probabilities(signature)
    assert len(log_p) == math.factorial(len(signature))
    assert np.exp(log_p).sum() == pytest.approx(1)


def test_without_weights_every_order_is_as_likely_as_any_other():
    log_p = EMPTY.log_probabilities(("@NOUN&@", "ADJ&amod", "DET&det"))
    assert log_p == pytest.approx([-math.log(6)] * 6)


def test_large_weights_do_not_overflow():
    model = OrderingModel({"PRE_DET&det_@NOUN&@": 5000.0})
    assert np.exp(model.log_probabilities(("@NOUN&@", "DET&det"))).tolist() == [0.0, 1.0]


@bounded
@given(st.permutations(range(5)))
def test_an_order_has_the_number_of_its_row(order):
    tables = order_tables(5)
    words = [10 * place for place in np.argsort(order).tolist()]
    assert tables.orders[order_number(words)].tolist() == list(order)


@pytest.mark.parametrize("nodes", [3, 4, 5, 6])
def test_every_order_has_the_same_number_of_ngrams(nodes):
    labels = [f"L{node}" for node in range(nodes)]
    slot = {"BOS": nodes, "EOS": nodes + 1} | {label: n for n, label in enumerate(labels)}
    assert len(list(ngrams(labels))) == sum(
        nodes + size - 1 for size in range(3, min(nodes, 5) + 1)
    )
    for ngram in ngrams(labels):
        assert 0 in orders_with(nodes, tuple(slot[symbol] for symbol in ngram))


@bounded
@given(signatures, st.floats(0, 1, exclude_max=True))
def test_a_number_draws_an_order_with_some_probability(signature, number):
    model = rich_model()
    order = tuple(model.draw(signature, number).tolist())
    row = list(permutations(range(len(signature)))).index(order)
    upper = np.exp(model.log_probabilities(signature)).cumsum()
    assert (upper[row - 1] if row else 0) <= number
    assert number < upper[row] or row == len(upper) - 1


def test_orders_are_drawn_as_often_as_their_probability_says():
    signature = ("@NOUN&@", "ADJ&amod", "DET&det")
    model = rich_model()
    draws = word_draws(tuple(map(str, range(20_000))), seed=3)
    counts = Counter(tuple(model.draw(signature, number).tolist()) for number in draws)
    shares = [counts[order] / 20_000 for order in permutations(range(3))]
    assert shares == pytest.approx(np.exp(model.log_probabilities(signature)), abs=0.015)


@bounded
@given(projective_trees(), st.integers(0, 5))
def test_an_order_is_a_permutation_of_the_words(columns, seed):
    tree = Tree(*columns)
    order = reorder_tree(tree, EMPTY, EMPTY, seed).order
    assert sorted(order.tolist()) == list(range(len(tree.words)))


@bounded
@given(projective_trees(), st.integers(0, 5))
def test_blocks_stay_whole(columns, seed):
    tree = Tree(*columns)
    after = permuted(tree, reorder_tree(tree, EMPTY, EMPTY, seed).order.tolist())
    assert is_projective(after)
    assert sorted(len(part) for part in yields(after)) == sorted(map(len, yields(tree)))


@bounded
@given(projective_trees(), st.integers(0, 5))
def test_the_same_sentence_and_seed_give_the_same_order(columns, seed):
    tree = Tree(*columns)
    first = reorder_tree(tree, EMPTY, EMPTY, seed)
    other = reorder_tree(tree, OrderingModel({}), OrderingModel({}), seed)
    assert first.order.tolist() == other.order.tolist()
    assert first.counts == other.counts


@bounded
@given(projective_trees())
def test_without_models_nothing_moves(columns):
    tree = Tree(*columns)
    kept = reorder_tree(tree, None, None, 0)
    assert kept.order.tolist() == list(range(len(tree.words)))
    assert kept.counts.heads_drawn == 0


def test_seeds_and_sentences_have_draws_of_their_own():
    words = ("a", "b", "c")
    assert word_draws(words, 0) == word_draws(words, 0)
    assert word_draws(words, 0) != word_draws(words, 1)
    assert word_draws(words, 0) != word_draws(("a", "b", "d"), 0)


def test_draws_are_what_they_always_were():
    assert word_draws(("this", "story"), 0) == [0.1188968107814723, 0.8813959303137254]


def test_only_heads_with_a_model_are_reordered():
    tree = star(5)
    assert reorder_tree(tree, EMPTY, None, 0).counts.heads_drawn == 1
    kept = reorder_tree(tree, None, EMPTY, 0)
    assert kept.order.tolist() == list(range(6))
    assert kept.counts == Counts(trees=1, heads_without_model=1)


def test_a_head_with_too_many_dependents_keeps_its_order():
    assert reorder_tree(star(MAX_NODES - 1), EMPTY, EMPTY, 0).counts.heads_drawn == 1
    kept = reorder_tree(star(MAX_NODES), EMPTY, EMPTY, 0)
    assert kept.order.tolist() == list(range(MAX_NODES + 1))
    assert kept.counts == Counts(trees=1, heads_too_large=1)


def test_a_tree_that_is_not_projective_keeps_its_order():
    crossed = Tree(("a", "b", "c", "d"), ("NOUN",) * 4, (2, 3, ROOT, 2), ("dep",) * 4)
    kept = reorder_tree(crossed, EMPTY, EMPTY, 0)
    assert kept.order.tolist() == [0, 1, 2, 3]
    assert kept.counts == Counts(trees=1, trees_not_projective=1)
    assert head_orders(crossed, EMPTY, EMPTY) == []


def test_counts_add_up():
    one = Counts(trees=1, heads_drawn=2, heads_moved=1)
    assert one + Counts(trees=2, heads_too_large=3) == Counts(
        trees=3, heads_drawn=2, heads_moved=1, heads_too_large=3
    )


def test_a_strong_weight_decides_where_a_dependent_goes():
    after = OrderingModel({"PRE_@_amod": 50.0, "PRE_amod_@": -50.0})
    tree = Tree(("red", "house"), ("ADJ", "NOUN"), (1, ROOT), ("amod", "root"))
    assert reorder_tree(tree, after, None, 0).order.tolist() == [1, 0]


def test_a_blend_takes_its_share_of_both_models():
    mixed = blend(OrderingModel({"PRE_a_b": 1.0, "BI_a_b": 2.0}), OrderingModel({"PRE_a_b": -1.0}))
    assert mixed.weights == pytest.approx({"PRE_a_b": 0.9, "BI_a_b": 1.9})


names = st.builds(
    "{}_{}_{}".format, st.sampled_from(["PRE", "BI", "HI_X&x"]), *[st.sampled_from(LABELS)] * 2
)


@pytest.mark.parametrize("ending", ["x.orm", "x.orm.gz"])
@bounded
@given(weights=st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_written_model_is_read_back(tmp_path_factory, ending, weights):
    path = tmp_path_factory.mktemp("orm") / ending
    write_orm(path, OrderingModel(weights))
    assert read_orm(path).weights == weights
    assert [file.name for file in path.parent.iterdir()] == [ending]


def test_the_same_model_is_always_the_same_file(tmp_path):
    for name, weights in (
        ("a", {"PRE_a_b": 1.0, "BI_a_b": 2.0}),
        ("b", {"BI_a_b": 2.0, "PRE_a_b": 1.0}),
    ):
        write_orm(tmp_path / f"{name}.orm.gz", OrderingModel(weights))
    assert (tmp_path / "a.orm.gz").read_bytes() == (tmp_path / "b.orm.gz").read_bytes()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("PRE_a_b", r"x\.orm:2: a line is a feature and its weight"),
        ("PRE_a_b 1 2", r"x\.orm:2: a line is a feature and its weight"),
        ("PRE_a_b much", r"x\.orm:2: a weight must be a finite number, found 'much'"),
        ("PRE_a_b nan", r"x\.orm:2: a weight must be a finite number, found 'nan'"),
        ("NEAR_a_b 1", r"x\.orm:2: a feature is one of PRE.*found 'NEAR_a_b'"),
        ("HI_a_b 1", r"x\.orm:2: .*3 to 5 for HI.*found 'HI_a_b'"),
        ("BI_a_b 1", r"x\.orm:2: feature .BI_a_b. occurs twice"),
    ],
)
def test_a_damaged_model_is_an_error_that_names_its_line(tmp_path, line, said):
    (tmp_path / "x.orm").write_text(f"BI_a_b 1\n{line}\n")
    with pytest.raises(DataError, match=said):
        read_orm(tmp_path / "x.orm")


def test_an_empty_model_is_an_error_that_names_it(tmp_path):
    (tmp_path / "x.orm").touch()
    with pytest.raises(DataError, match=r"x\.orm holds no feature"):
        read_orm(tmp_path / "x.orm")


@pytest.fixture
def galactic(shared_data):
    return shared_data / "galactic_dependencies"


@pytest.mark.parametrize(
    ("output", "noun", "verb", "total", "uniform"),
    [
        ("sample-en~fr@N~hi@V", "fr", "hi", -1.2232, -14.7271),
        ("sample-en~en@N~en@V", "en", "en", -4.8399, -28.1733),
    ],
)
def test_the_original_programs_orders_are_likely(galactic, output, noun, verb, total, uniform):
    models = [
        blend(*[read_orm(galactic / f"models/{name}@{part}.orm.gz") for name in (language, "en")])
        for language, part in ((noun, "N"), (verb, "V"))
    ]
    trees = read_conllu(galactic / f"toy/{output}.conllu")
    heads = [head for tree in trees for head in head_orders(tree, *models)]
    assert sum(head.log_probability_nats for head in heads) == pytest.approx(total, abs=1e-3)
    assert -sum(math.lgamma(len(head.words) + 1) for head in heads) == pytest.approx(
        uniform, abs=1e-3
    )


def test_french_puts_adjectives_after_their_nouns_in_english_text(shared_data, galactic):
    noun, verb = (read_orm(galactic / f"models/fr@{part}.orm.gz") for part in "NV")
    path = shared_data / "ud/UD_English-EWT/en_ewt-ud-dev.conllu.gz"
    before = after = total = 0
    for tree in islice(read_conllu(path), 400):
        place = np.argsort(reorder_tree(version_1(tree), noun, verb, 0).order)
        for word, relation in enumerate(tree.relations):
            if relation == "amod":
                before += word > tree.heads[word]
                after += place[word] > place[tree.heads[word]]
                total += 1
    assert total > 200
    assert before / total < 0.05
    assert after / total > 0.5
