import torch

from alignmlm.languages.dictionary import from_pairs
from alignmlm.probes.rotation import Tables, centred_tables, orthogonal_map, rotated_tables
from alignmlm.probes.words import word_metrics, word_probe

SIZE, HIDDEN = 60, 8
PAIRS = from_pairs([((i,), (i + SIZE,)) for i in range(SIZE)])
GIVEN, HELD_OUT = (from_pairs(PAIRS.words()[part]) for part in (slice(0, 30), slice(30, None)))


def turned_halves() -> tuple[torch.Tensor, torch.Tensor]:
    """A table whose second half is the first, rotated and moved, and the rotation."""
    source = torch.Generator().manual_seed(0)
    half = torch.randn(SIZE, HIDDEN, generator=source)
    rotation = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN, generator=source)).Q
    return torch.cat([half, half @ rotation + 0.5]), rotation


def test_the_map_is_the_rotation_between_two_clouds():
    table, rotation = turned_halves()
    found = orthogonal_map(table[:SIZE], table[SIZE:] - 0.5)
    assert torch.allclose(found, rotation, atol=1e-5)


def test_held_out_words_are_found_after_the_rotation_fitted_on_given_ones():
    table, _ = turned_halves()
    sides = [[pair[side] for pair in PAIRS.words()] for side in (0, 1)]
    tables = rotated_tables(centred_tables(Tables(table, table), *sides), GIVEN.words())
    probe = word_probe(HELD_OUT, PAIRS)
    before = word_metrics(table, probe)
    after = word_metrics(tables.source, probe, target_embedding=tables.target)
    assert before["forward/cosine_p1_percent"] < 20
    assert after["forward/cosine_p1_percent"] == after["backward/cosine_p1_percent"] == 100
