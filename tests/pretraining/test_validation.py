"""The alignment of words as a run logs it."""

import json
import math
from pathlib import Path

import pytest
import torch

from alignmlm.languages.dictionary import from_pairs, merged
from alignmlm.pretraining.checkpoints import read_progress
from alignmlm.pretraining.validation import alignment_metrics, word_probes
from alignmlm.probes.words import questions, retrieval_percent
from tests.runs import pretrain

PAIRS = [((word,), (100 + word,)) for word in range(100)]
USED, HELD_OUT = from_pairs(PAIRS[::2]), from_pairs(PAIRS[1::2])
MEASURES = [
    *(f"{way}/cosine_{name}" for way in ("forward", "backward") for name in ("p1_percent", "mrr")),
    "forward/cosine_p5_percent", "backward/cosine_p5_percent", "norm_gap_percent", "pair_cosine",
    "source/mean_cosine", "target/mean_cosine",
]  # fmt: skip


def noisy_halves() -> torch.Tensor:
    """Embeddings whose target words are their source words with as much noise."""
    draw = torch.Generator().manual_seed(0)
    source = torch.randn(100, 8, generator=draw)
    return torch.cat([source, source + torch.randn(100, 8, generator=draw)])


@pytest.mark.parametrize("limit", [None, 7])
def test_the_papers_number_is_what_it_is_by_itself(limit):
    found = alignment_metrics(noisy_halves(), word_probes(USED, HELD_OUT, limit))
    for name, part in (("in_dictionary", USED), ("held_out", HELD_OUT)):
        asked = questions(part, merged([USED, HELD_OUT]), limit)
        assert found[f"alignment/{name}_percent"] == retrieval_percent(noisy_halves(), asked)
        assert found[f"alignment/{name}/forward/words"] == (limit or 50)
        assert {f"alignment/{name}/{measure}" for measure in MEASURES} <= found.keys()


def test_where_no_words_are_held_out_nothing_is_said_of_them():
    words = word_probes(USED, from_pairs([]), None)
    found = alignment_metrics(noisy_halves(), words)
    assert found["alignment/in_dictionary_percent"] > 0
    assert not any("held_out" in key for key in found)
    assert not word_probes(from_pairs([]), from_pairs([]), None)


def test_a_run_logs_retrieval_both_ways_norms_and_cosines(small_recipe):
    folder, summary = pretrain(small_recipe(), Path("ds_configs/zero2.json"))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if "alignment/held_out_percent" in row][-1]
    for name in ("in_dictionary", "held_out"):
        paper = last[f"alignment/{name}_percent"]
        assert summary["alignment_percent"][name] == paper
        assert last[f"alignment/{name}/forward/cosine_p1_percent"] == paper
        assert all(f"alignment/{name}/{measure}" in last for measure in MEASURES)


def test_a_validation_without_a_masked_position_leaves_its_checkpoint_readable(small_recipe):
    recipe = small_recipe("--train.validation_rows=1", "--mask.rate=0.01")
    folder, summary = pretrain(recipe, None)
    assert any(math.isnan(nats) for nats in summary["validation_loss_nats"].values())
    assert read_progress(folder / "checkpoints" / "step-8").validation_loss_nats is None
