import math
from dataclasses import replace

import pytest
import torch

from alignmlm.data.tokenizer import load_tokenizer
from alignmlm.errors import ConfigError
from alignmlm.languages.dictionary import derived_pairs, from_pairs, split
from alignmlm.probes.encoder import load_encoder
from alignmlm.probes.neighbours import units
from alignmlm.probes.parallel import (
    ParallelRows,
    base_sentences,
    read_parallel_lines,
    sentence_rows,
    word_rows,
)
from alignmlm.probes.probe import (
    TRAINING,
    Asked,
    ProbeConfig,
    probe,
    probe_words,
    retrieval_metrics,
)
from alignmlm.probes.words import word_probe


@pytest.fixture(scope="module")
def words(readings):
    """The tokens of both languages: half of them trained on, half held out."""
    every = from_pairs(derived_pairs(*(reading.table for reading in readings)))
    parts = dict(zip(("in_dictionary", "held_out"), split(every, 0.5, 0), strict=True))
    return {name: word_probe(part, every) for name, part in parts.items()}


@pytest.fixture
def tatoeba_texts(tatoeba, export):
    tokenizer = load_tokenizer(export.path)
    french, english = read_parallel_lines(*tatoeba)
    return [
        base_sentences(tokenizer, lines[:200], export.vocabulary.unk) for lines in (french, english)
    ]


def test_words_in_the_dictionary_and_held_out_ones_are_apart(export, words):
    found = probe(export.path, Asked(words=words))
    for name, asked in words.items():
        assert found[f"{name}/forward/words"] == len(asked.forward.sources)
        for way in ("forward", "backward"):
            for score in ("cosine", "csls"):
                assert 0 <= found[f"{name}/{way}/{score}_p1_percent"] < 10  # random weights
        assert abs(found[f"{name}/pair_cosine"]) < 0.1
        assert abs(found[f"{name}/norm_gap_percent"]) < 5
        assert found[f"{name}/source/partition_ratio"] > 0.5


def test_embeddings_that_are_copied_are_aligned_by_every_measure(encoder, words, readings):
    embedding = encoder.get_input_embeddings().weight.detach().clone()
    embedding[readings[1].table] = embedding[readings[0].table]
    found = probe_words(embedding, Asked(words=words), ProbeConfig())
    for name in words:
        for key in ("forward/cosine_p1_percent", "backward/csls_p5_percent"):
            assert found[f"{name}/{key}"] == 100
        assert found[f"{name}/linear_cka"] == pytest.approx(1)
        assert found[f"{name}/pair_cosine"] == pytest.approx(1)
        assert found[f"{name}/norm_gap_percent"] == pytest.approx(0, abs=1e-9)


def test_words_match_in_context_at_every_layer_once_embeddings_are_copied(
    export, tatoeba_texts, readings
):
    model = load_encoder(export.path)
    embedding = model.get_input_embeddings().weight
    with torch.no_grad():
        embedding[readings[1].table] = embedding[readings[0].table]
    twin = replace(readings[1], language=readings[0].language)  # other ids, the same order
    rows = word_rows(tatoeba_texts[1], readings[0], twin, limit_words=300)
    found = probe(model, Asked(texts={"words": rows}), ProbeConfig(geometry_words=100))
    for layer in (0, 1):
        assert found[f"words/layer_{layer}/pair_cosine"] == pytest.approx(1, abs=1e-5)
        assert found[f"words/layer_{layer}/linear_cka"] == pytest.approx(1, abs=1e-5)


def test_tatoeba_is_asked_at_every_layer_without_fine_tuning(export, tatoeba_texts, readings):
    rows = ParallelRows(*(sentence_rows(texts, readings[0]) for texts in tatoeba_texts))
    found = probe(export.path, Asked(texts={"tatoeba_fra": rows}))
    assert found["tatoeba_fra/pairs"] == 200
    measures = [f"{way}/{score}_{measure}" for way in ("forward", "backward")
                for score in ("cosine", "csls", "margin_ratio")
                for measure in ("p1_percent", "p5_percent", "mrr")]  # fmt: skip
    for layer in (0, 1):
        values = [found[f"tatoeba_fra/layer_{layer}/{measure}"] for measure in measures]
        assert all(math.isfinite(value) for value in values)
        assert found[f"tatoeba_fra/layer_{layer}/linear_cka"] > 0
    assert found["tatoeba_fra/layer_0/forward/cosine_p5_percent"] > 100 * 5 / 200  # names, digits


def test_a_text_is_nearest_to_itself_at_every_layer(encoder, tatoeba_texts, readings):
    distinct = list({text.ids.tobytes(): text for text in tatoeba_texts[0]}.values())
    rows = sentence_rows(distinct, readings[0])
    found = probe(encoder, Asked(texts={"same": ParallelRows(rows, rows)}))
    for layer in (0, 1):
        assert found[f"same/layer_{layer}/forward/margin_ratio_p1_percent"] > 98
        assert found[f"same/layer_{layer}/norm_gap_percent"] == pytest.approx(0)
        assert found[f"same/layer_{layer}/linear_cka"] == pytest.approx(1)


def test_the_same_model_gives_the_same_numbers(encoder, words):
    assert probe(encoder, Asked(words=words)) == probe(encoder, Asked(words=words))


def test_every_number_is_a_plain_float_or_int(encoder, words):
    assert {type(value) for value in probe(encoder, Asked(words=words)).values()} <= {float, int}


def test_a_training_probe_has_some_of_the_same_numbers_where_nothing_is_cut(encoder, words):
    full, cheap = (probe(encoder, Asked(words=words), config) for config in (None, TRAINING))
    assert cheap.items() < full.items()  # 495 words a side
    assert not any("csls" in key or key.endswith(("cka", "isoscore")) for key in cheap)


def test_texts_can_do_without_spectra_too(encoder, tatoeba_texts, readings):
    rows = ParallelRows(*(sentence_rows(texts[:20], readings[0]) for texts in tatoeba_texts))
    asked = Asked(texts={"tatoeba": rows})
    full, cheap = (probe(encoder, asked, ProbeConfig(spectra=spectra)) for spectra in (True, False))
    assert cheap.items() < full.items()
    assert "tatoeba/layer_1/pair_cosine" in cheap


def test_geometry_can_be_left_out(encoder, words):
    found = probe(encoder, Asked(words=words), ProbeConfig(geometry_words=0))
    assert not any(key.endswith(("cka", "isoscore", "cosine", "gap_percent")) for key in found)


def test_retrieval_both_ways_is_that_of_brute_force():
    source = torch.Generator().manual_seed(1)
    one = torch.randn(60, 8, generator=source)
    two = one + torch.randn(60, 8, generator=source)
    found = retrieval_metrics(one, two)
    cosines = units(one).double() @ units(two).double().T
    near, back = (c.topk(4, dim=1).values.mean(dim=1) for c in (cosines, cosines.T))
    ratio = cosines / ((near[:, None] + back) / 2)
    for way, scores in (("forward", ratio), ("backward", ratio.T)):
        right = scores.argmax(dim=1) == torch.arange(60)
        expected = 100 * float(right.double().mean())
        assert found[f"{way}/margin_ratio_p1_percent"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "changed", [{"csls_pool_words": -1}, {"geometry_words": -2}, {"batch_tokens": 0}]
)
def test_settings_out_of_range_are_refused(changed):
    with pytest.raises(ConfigError, match=f"probe.{next(iter(changed))}"):
        ProbeConfig(**changed)
