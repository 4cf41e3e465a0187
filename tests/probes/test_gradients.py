import pytest
import torch
from alignmlm_kernels import alignment_loss

from alignmlm.data.batches import make_batch, validation_samples
from alignmlm.data.store import VALIDATION
from alignmlm.pretraining.assembly import assemble, make_model
from alignmlm.probes.gradients import gradient_cosines, parts_of
from alignmlm.probes.words import word_pairs

PARTS = {"embeddings", "layer_1", "layer_2", "head"}


@pytest.fixture(params=["roberta", "modernbert"])
def model_and_losses(request, small_recipe):
    recipe = small_recipe(f"--model.architecture={request.param}")
    assembly = assemble(recipe)
    model = make_model(recipe, assembly).eval()
    batch = make_batch(assembly.loader, validation_samples(assembly.loader, 0, 4), VALIDATION)
    out = model(batch)
    logits = out.hidden @ out.weight.T + out.bias
    nats = torch.nn.functional.cross_entropy(logits, batch.labels)
    return model, nats, alignment_loss(model.embedding, word_pairs(assembly.used), "cosine")


def test_every_parameter_is_in_one_part(model_and_losses):
    model, *_ = model_and_losses
    parts = parts_of(model)
    assert set(parts) == PARTS
    numbers = [id(parameter) for part in parts.values() for parameter in part]
    assert sorted(numbers) == sorted(id(parameter) for parameter in model.parameters())


def test_a_loss_agrees_with_itself_and_not_with_its_opposite(model_and_losses):
    model, nats, _ = model_and_losses
    for sign in (1, -1):
        found = gradient_cosines(model, nats, sign * nats)
        assert set(found) == {f"{part}/gradient_cosine" for part in PARTS}
        assert all(value == pytest.approx(sign, abs=1e-5) for value in found.values())


def test_parts_that_a_loss_does_not_depend_on_are_left_out(model_and_losses):
    model, nats, term = model_and_losses
    found = gradient_cosines(model, nats, term)
    assert set(found) == {"embeddings/gradient_cosine"}
    weight = model.embedding
    (a,), (b,) = (torch.autograd.grad(loss, [weight], retain_graph=True) for loss in (nats, term))
    everything = parts_of(model)["embeddings"]
    whole = sum(g.square().sum() for g in torch.autograd.grad(nats, everything, retain_graph=True))
    expected = (a * b).sum() / (whole.sqrt() * b.norm())
    assert found["embeddings/gradient_cosine"] == pytest.approx(expected.item(), abs=1e-6)
