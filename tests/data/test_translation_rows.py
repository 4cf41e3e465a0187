import numpy as np
import pytest

from alignmlm.data.batches import make_rows, sample_keys, second_languages, training_samples
from alignmlm.data.store import TRAIN
from alignmlm.pretraining.assembly import assemble


@pytest.mark.parametrize("seq_len", [32, 64])
def test_a_translation_row_has_a_token_to_predict(small_recipe, seq_len):
    settings = ["--objective.name=tlm", "--objective.translation_rows=1"]
    loader = assemble(small_recipe(*settings, f"--train.seq_len={seq_len}")).loader
    samples = training_samples(loader, np.arange(480))
    seconds = second_languages(loader, samples, sample_keys(loader, samples, TRAIN))
    rows, _ = make_rows(loader, samples, TRAIN, seconds)
    pairs = rows.ids[rows.halves == 2]
    assert len(pairs)
    assert not loader.lexicon.special[pairs].all(axis=1).any()
