from itertools import islice

import numpy as np
import pytest

from alignmlm.errors import DataError
from alignmlm.syntax.features import NOUN_HEADS, VERB_HEADS, pair_names
from alignmlm.syntax.fitting import (
    TRAINED_NODES,
    fit_sample,
    fit_treebank,
    frequent_ngrams,
    log_likelihood,
    loss_and_gradient,
    problem_of,
    sample_orders,
    trees_version_1,
)
from alignmlm.syntax.ordering import OrderingModel, read_orm
from alignmlm.syntax.trees import Tree, parse_conllu, read_conllu, write_conllu

NOUN_PHRASES = """\
1\tthis\t_\tDET\t_\t_\t3\tdet\t_\t_
2\tred\t_\tADJ\t_\t_\t3\tamod\t_\t_
3\thouse\t_\tNOUN\t_\t_\t0\troot\t_\t_
4\tof\t_\tADP\t_\t_\t5\tcase\t_\t_
5\tmine\t_\tPRON\t_\t_\t3\tnmod\t_\t_

1\ta\t_\tDET\t_\t_\t2\tdet\t_\t_
2\tstory\t_\tNOUN\t_\t_\t0\troot\t_\t_

"""


@pytest.fixture
def small():
    return sample_orders(parse_conllu(NOUN_PHRASES.splitlines(keepends=True), "x"), NOUN_HEADS)


@pytest.fixture
def toy(shared_data):
    return shared_data / "galactic_dependencies/toy"


@pytest.fixture
def sequoia(shared_data):
    folder = shared_data / "ud/UD_French-Sequoia"
    return {p: folder / f"fr_sequoia-ud-{p}.conllu.gz" for p in ("train", "dev", "test")}


def test_orders_are_counted_by_signature(small):
    assert {signature: sum(seen.values()) for signature, seen in small.items()} == {
        ("@NOUN&@", "ADJ&amod", "DET&det", "PRON&nmod"): 1,
        ("@PRON&@", "ADP&case"): 1,
        ("@NOUN&@", "DET&det"): 1,
    }


def test_large_heads_and_trees_that_are_not_projective_are_left_out():
    crossed = Tree(("a", "b", "c", "d"), ("NOUN",) * 4, (2, 3, -1, 2), ("dep",) * 4)
    large = Tree(("a", "b", "c"), ("NOUN",) * 3, (-1, 0, 0), ("dep",) * 3)
    assert not sample_orders([crossed, large], NOUN_HEADS, max_nodes=2)
    assert sample_orders([crossed, large], NOUN_HEADS, max_nodes=3)


def test_the_pair_features_of_the_toy_are_those_of_the_original_program(toy):
    sample = sample_orders(read_conllu(toy / "sample.conllu"), NOUN_HEADS, TRAINED_NODES)
    problem = problem_of(sample, 1.0, 0.1)
    original = {name for name in read_orm(toy / "sample@N.orm").weights if "HI_" not in name}
    assert set(problem.names[problem.ngram_count :]) == original
    assert len(original) == 180


def test_as_many_ngrams_of_the_toy_have_a_weight_as_in_the_original_program(toy):
    sample = sample_orders(read_conllu(toy / "sample.conllu"), NOUN_HEADS, TRAINED_NODES)
    original = {name for name in read_orm(toy / "sample@N.orm").weights if "HI_" in name}
    ours = frequent_ngrams(sample, 0.1)
    assert len(ours) == len(original) == 2
    assert ours[0] == "HI_BOS_BOS_DET&det"  # the other one is a tie of several seen once
    assert ours[0] in original


def test_a_pair_with_the_head_has_no_feature_of_two_dependents():
    kinds = [{name.split("_")[0] for name in way} for way in pair_names("DET&det", "@NOUN&@")]
    assert kinds == [{"PRE"}, set(), set(), {"BI"}]


@pytest.mark.parametrize("l2", [0.0, 2.0])
def test_the_gradient_agrees_with_finite_differences(small, l2):
    problem = problem_of(small, l2, 0.5)
    weights = np.random.default_rng(0).normal(size=len(problem.names))
    _, gradient = loss_and_gradient(problem, weights)
    step = 1e-5
    for place in range(0, len(weights), 7):
        move = np.zeros_like(weights)
        move[place] = step
        up, down = (loss_and_gradient(problem, weights + sign * move)[0] for sign in (1, -1))
        assert gradient[place] == pytest.approx((up - down) / (2 * step), abs=1e-6)


def test_the_loss_is_the_likelihood_of_the_model_with_these_weights(small):
    problem = problem_of(small, 0.0, 0.5)
    weights = np.random.default_rng(1).normal(size=len(problem.names))
    model = OrderingModel(dict(zip(problem.names, weights.tolist(), strict=True)))
    loss, _ = loss_and_gradient(problem, weights)
    assert -loss == pytest.approx(log_likelihood(model, small).total_nats)


def test_without_weights_the_likelihood_is_uniform(small):
    found = log_likelihood(OrderingModel({}), small)
    assert found.heads == 3
    assert found.total_nats == pytest.approx(found.uniform_nats)
    assert found.per_head_nats == pytest.approx(-np.log(24 * 2 * 2) / 3)


def test_a_fitted_model_finds_the_orders_that_it_saw_likely(small):
    found = log_likelihood(fit_sample(small, l2=0.01), small)
    assert found.per_head_nats > -0.1


def test_more_regularisation_makes_smaller_weights(small):
    lengths = [sum(w * w for w in fit_sample(small, l2=l2).weights.values()) for l2 in (0.1, 10.0)]
    assert lengths[0] > lengths[1]


def test_an_empty_sample_is_an_error():
    with pytest.raises(DataError, match="no head with dependents"):
        fit_sample({})


def test_a_treebank_of_version_2_is_fitted_with_labels_of_version_1(tmp_path):
    rows = "1\teat\t_\tVERB\t_\t_\t0\troot\t_\t_\n2\tfish\t_\tNOUN\t_\t_\t1\tobj\t_\t_\n\n"
    write_conllu(tmp_path / "x.conllu", parse_conllu(rows.splitlines(keepends=True), "x"))
    model = fit_treebank([tmp_path / "x.conllu"], VERB_HEADS)
    assert model.weights["PRE_@VERB&@_NOUN&dobj"] > 0
    assert model.weights["PRE_NOUN&dobj_@VERB&@"] < 0


@pytest.mark.parametrize("language", ["hi", "ar"])
def test_a_published_model_explains_its_own_language_best(shared_data, language):
    folder = {"hi": "UD_Hindi-HDTB-v1/hi", "ar": "UD_Arabic-PADT-v1/ar"}[language]
    trees = islice(read_conllu(shared_data / "ud" / f"{folder}-ud-dev.conllu.gz"), 150)
    sample = sample_orders(trees, VERB_HEADS, 6)
    found = {
        name: log_likelihood(
            read_orm(shared_data / f"galactic_dependencies/models/{name}@V.orm.gz"), sample
        ).per_head_nats
        for name in ("hi", "ar", "fr", "en")
    }
    assert max(found, key=found.__getitem__) == language


@pytest.mark.slow
def test_a_model_of_french_explains_new_french_better_than_the_published_one(shared_data, sequoia):
    for heads, part in ((NOUN_HEADS, "N"), (VERB_HEADS, "V")):
        model = fit_treebank([sequoia["train"]], heads)
        published = read_orm(shared_data / f"galactic_dependencies/models/fr@{part}.orm.gz")
        new = sample_orders(trees_version_1([sequoia["dev"], sequoia["test"]]), heads)
        ours, theirs = log_likelihood(model, new), log_likelihood(published, new)
        assert ours.total_nats > theirs.total_nats > theirs.uniform_nats
