"""Rows of batches as text."""

import pytest

from alignmlm.data.batches import batch_samples, make_batch
from alignmlm.data.inspect import show_rows
from alignmlm.data.store import TOKENIZER, TRAIN
from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.pretraining.assembly import assemble


@pytest.mark.parametrize("predict", ["original", "translation"])
@pytest.mark.parametrize("change", ["trans", "ovl50", "vperm"])
def test_labels_of_crossed_tokens_are_shown_as_the_words_that_they_stand_for(
    small_recipe, predict, change
):
    assembly = assemble(
        small_recipe(
            "--objective.name=dict_mlm",
            f"--objective.predict={predict}",
            f"--languages.ids=[qaa-Latn, qaa-Latn-x-{change}]",
            "--mask.random=0",
        )
    )
    loader, tokenizer = assembly.loader, load_tokenizer(assembly.store.path / TOKENIZER)
    samples = batch_samples(loader, 0, 16, 0, 1, 16)[0]
    batch = make_batch(loader, samples, TRAIN)
    assert (batch.terms > 0).any()
    for row in show_rows(loader, tokenizer, samples, batch, TRAIN):
        restored = "".join(label or token for token, label in row.tokens)
        assert restored == f"<s>{row.original}</s>"
