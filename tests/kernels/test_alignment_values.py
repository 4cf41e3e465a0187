"""Every implementation against the specification in float64."""

import pytest
import torch
from alignmlm_kernels import WordPairs
from alignmlm_kernels.alignment import AlignmentOptions, add_alignment_gradient, alignment_loss

PAIRED, CONTRASTED = ["cosine", "l2"], ["margin", "infonce"]
RUNS = [("cpu", name) for name in (*PAIRED, *CONTRASTED)] + [("triton", name) for name in PAIRED]


def random_words(count, vocab, longest, generator):
    lengths = torch.randint(1, longest + 1, (count,), generator=generator)
    ids = torch.randint(0, vocab, (int(lengths.sum()),), generator=generator)
    return ids, torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])


def dictionary(kind, vocab=40, seed=1):
    """Pairs of one kind; token ids below `vocab`."""
    generator = torch.Generator().manual_seed(seed)
    count, longest = {"one": (1, 1), "words": (14, 3)}.get(kind, (20, 1))
    sides = [random_words(count, vocab, longest, generator) for _ in range(2)]
    if kind == "hub":
        sides[1][0][:12] = 7
    if kind == "repeated":
        for ids, _ in sides:
            ids[6:12] = ids[:6]
        sides[1][0][-1] = sides[0][0][-1]  # a word paired with itself
    weights = torch.rand(count, generator=generator) * (torch.arange(count) % 5 != 1)
    return WordPairs(*sides[0], *sides[1], weights if kind in ("words", "hub") else None)


KINDS = ["one", "plain", "hub", "repeated", "words"]


def loss_and_gradient(embedding, pairs, **settings):
    leaf = embedding.clone().requires_grad_()
    loss = alignment_loss(leaf, pairs, group_pairs=8, seed=3, step=5, **settings)
    (3 * loss).backward()
    return loss.detach(), leaf.grad


def random_embedding(hidden=17, vocab=43):
    return torch.randn(vocab, hidden, generator=torch.Generator().manual_seed(hidden))


@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("impl", "distance"), RUNS)
def test_loss_and_gradient_are_those_of_the_specification(impl, distance, kind, share):
    embedding, pairs = random_embedding(), dictionary(kind)
    settings = {"distance": distance, "share": share}
    loss, gradient = loss_and_gradient(embedding.double(), pairs, impl="reference", **settings)
    found, grown = loss_and_gradient(embedding, pairs, impl=impl, **settings)
    assert found == pytest.approx(loss.item(), rel=1e-5, abs=1e-6)
    assert (grown - gradient).abs().max() <= 1e-5 * gradient.abs().max() + 1e-9


@pytest.mark.parametrize("hidden", [2, 16, 200])
@pytest.mark.parametrize("distance", PAIRED)
def test_any_hidden_size_fits_the_kernels(distance, hidden):
    embedding, pairs = random_embedding(hidden), dictionary("words")
    loss, gradient = loss_and_gradient(
        embedding.double(), pairs, impl="reference", distance=distance
    )
    found, grown = loss_and_gradient(embedding, pairs, impl="triton", distance=distance)
    assert found == pytest.approx(loss.item(), rel=1e-5)
    assert (grown - gradient).abs().max() <= 1e-5 * gradient.abs().max() + 1e-7


@pytest.mark.parametrize("impl", ["reference", "cpu"])
@pytest.mark.parametrize("distance", [*PAIRED, *CONTRASTED])
def test_gradients_are_those_of_finite_differences(distance, impl):
    embedding, pairs = random_embedding(3, 40).double().requires_grad_(), dictionary("words")

    def loss(leaf):
        return alignment_loss(leaf, pairs, distance, impl=impl, share=0.5, group_pairs=8)

    assert torch.autograd.gradcheck(loss, (embedding,))


@pytest.mark.parametrize(("impl", "distance"), RUNS)
def test_repetition_gives_the_same_bits(impl, distance):
    embedding, pairs = random_embedding(), dictionary("words")
    first = loss_and_gradient(embedding, pairs, impl=impl, distance=distance)
    again = loss_and_gradient(embedding, dictionary("words"), impl=impl, distance=distance)
    assert all(torch.equal(*both) for both in zip(first, again, strict=True))


@pytest.mark.parametrize(("impl", "distance"), [run for run in RUNS if run[1] in PAIRED])
def test_the_order_of_the_pairs_does_not_matter(impl, distance):
    pairs, embedding = dictionary("hub"), random_embedding()
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(2))
    starts = pairs.source_offsets
    turned = WordPairs(
        pairs.source_ids[order], starts, pairs.target_ids[order], starts, pairs.weights[order]
    )
    loss, gradient = loss_and_gradient(embedding, pairs, impl=impl, distance=distance)
    found, grown = loss_and_gradient(embedding, turned, impl=impl, distance=distance)
    assert found == pytest.approx(loss.item(), rel=1e-6)
    assert torch.allclose(gradient, grown, atol=1e-6)


@pytest.mark.parametrize("impl", ["reference", "cpu", "triton"])
def test_a_vector_that_is_too_short_gets_no_gradient(impl):
    embedding = random_embedding()
    embedding[0], embedding[1] = 0, 1e-10
    ids, starts = torch.tensor([0, 1, 2]), torch.arange(4)
    pairs = WordPairs(ids, starts, torch.tensor([3, 4, 5]), starts)
    loss, gradient = loss_and_gradient(embedding, pairs, impl=impl)
    assert loss.isfinite() and gradient.isfinite().all()
    assert not gradient[:2].any()
    assert gradient[2:6].any(dim=1).tolist() == [True, False, True, True]


@pytest.mark.parametrize(("impl", "distance"), RUNS)
def test_rows_that_no_pair_holds_get_zeros(impl, distance):
    ids, starts = torch.tensor([4, 9]), torch.arange(3)
    pairs = WordPairs(ids, starts, torch.tensor([20, 30]), starts)
    settings = {"margin": 2.0} if distance == "margin" else {}
    _, gradient = loss_and_gradient(
        random_embedding(), pairs, impl=impl, distance=distance, **settings
    )
    assert gradient.any(dim=1).nonzero().flatten().tolist() == [4, 9, 20, 30]


@pytest.mark.parametrize("distance", [*PAIRED, *CONTRASTED])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_no_worse_than_autograd_times_two(dtype, distance):
    embedding, pairs = random_embedding().to(dtype), dictionary("words")
    exact = loss_and_gradient(embedding.double(), pairs, impl="reference", distance=distance)
    naive = loss_and_gradient(embedding, pairs, impl="reference", distance=distance)
    found = loss_and_gradient(embedding, pairs, impl="cpu", distance=distance)
    for whole, plain, fused in zip(exact, naive, found, strict=True):
        assert (fused - whole).abs().max() <= 2 * (plain - whole).abs().max() + 1e-5


@pytest.mark.parametrize("impl", ["cpu", "triton"])
def test_gradients_can_be_added_to_a_float32_buffer(impl):
    embedding, pairs = random_embedding().bfloat16(), dictionary("words")
    if impl == "triton":
        embedding = embedding.float()
    exact = embedding.double().requires_grad_()
    (2.5 * alignment_loss(exact, pairs, impl="reference")).backward()
    buffer = torch.ones(embedding.shape)
    options = AlignmentOptions(impl=impl)
    loss = add_alignment_gradient(embedding, pairs, buffer, options, scale=2.5)
    assert loss == pytest.approx(alignment_loss(exact, pairs).item(), rel=1e-5)
    assert (buffer - 1 - exact.grad).abs().max() < 1e-6
