import pytest

from alignmlm.data.batches import batch_samples, sample_row
from alignmlm.data.store import TRAIN
from alignmlm.pretraining.assembly import assemble


@pytest.mark.parametrize("seq_len", [32, 64])
def test_a_translation_row_has_a_token_to_predict(small_recipe, seq_len):
    settings = ["--objective.name=tlm", "--objective.translation_rows=1"]
    loader = assemble(small_recipe(*settings, f"--train.seq_len={seq_len}")).loader
    samples = [s for step in range(60) for s in batch_samples(loader, step, 8, 0, 1, 8)[0]]
    rows = [sample_row(loader, sample, TRAIN)[0] for sample in samples]
    pairs = [row for row in rows if row.halves == 2]
    assert pairs
    assert sum(bool(loader.lexicon.special[row.ids].all()) for row in pairs) == 0
