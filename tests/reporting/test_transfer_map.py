import csv
import logging

import numpy as np
import pytest
from matplotlib.textpath import TextPath

from alignmlm.errors import ConfigError, DataError
from alignmlm.numerics.counter_rng import key, keys, uniform
from alignmlm.reporting import fonts
from alignmlm.reporting.embedding_map import (
    PairedWords,
    map_figure,
    points_csv,
    shown_words,
    word_map,
    write_map,
)
from alignmlm.reporting.fonts import Fonts, fonts_for
from alignmlm.reporting.map_words import paired_words, write_model_map
from tests.evaluation.conftest import LANGUAGES, write_export
from tests.reporting.test_transfer_figures import clipped, drawn


def numbers(name: str, *shape: int) -> np.ndarray:
    return uniform(keys(key("map", name), np.arange(np.prod(shape)))).reshape(shape) - 0.5


def paired(targets: list[str], hidden: int = 8) -> PairedWords:
    vectors = numbers("source", len(targets), hidden)
    near = vectors + 0.1 * numbers("target", len(targets), hidden)
    sources = [f"word{number}" for number in range(len(targets))]
    return PairedWords(("eng-Latn", "hin-Deva"), sources, targets, vectors, near)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_export(tmp_path_factory.mktemp("model") / "export", LANGUAGES)


def test_the_plane_shows_as_much_variance_as_the_largest_eigenvalues():
    words = paired([f"w{i}" for i in range(30)])
    found = word_map(words)
    both = np.concatenate([words.source_vectors, words.target_vectors])
    both = both / np.linalg.norm(both, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(np.cov(both.T))[::-1]
    assert found.shown_percent == pytest.approx(tuple(100 * values[:2] / values.sum()))
    points = np.concatenate([found.sources, found.targets])
    assert points.var(axis=0, ddof=1) == pytest.approx(values[:2])


def test_the_map_is_the_same_way_round_for_turned_signs():
    words = paired(["a", "b", "c", "d"])
    again = word_map(words)
    assert (word_map(words).sources == again.sources).all()


def test_one_dimension_lies_on_a_line():
    words = PairedWords(
        ("a", "b"), ["x", "y"], ["u", "v"], np.array([[1.0], [2.0]]), np.array([[-1.0], [-3.0]])
    )
    found = word_map(words)
    assert found.shown_percent == (100.0, 0.0)
    assert (found.sources[:, 1] == 0).all()


def test_sides_of_other_lengths_are_an_error():
    with pytest.raises(DataError, match="at least 2 pairs"):
        PairedWords(("a", "b"), ["x"], ["u"], np.ones((1, 2)), np.ones((1, 2)))


def test_labels_hide_neither_each_other_nor_the_edge():
    words = paired([f"target{i}" for i in range(60)])
    figure = drawn(map_figure(words, word_map(words)))
    assert not clipped(figure)
    renderer = figure.canvas.get_renderer()
    shown = [t for t in figure.axes[0].texts if t.get_visible() and t.get_text()]
    boxes = [text.get_window_extent(renderer) for text in shown]
    room = figure.axes[0].get_window_extent(renderer)
    assert len(boxes) >= 10
    assert all(room.x0 <= box.x0 and box.x1 <= room.x1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_every_pair_is_joined():
    words = paired(["a", "b", "c"])
    assert len(map_figure(words, word_map(words)).axes[0].lines) == 3


def test_the_points_are_written_with_their_words(tmp_path):
    words = paired(["किताब", "كتاب"])
    paths = write_map(words, tmp_path)
    assert [path.name for path in paths] == [f"embedding_map.{k}" for k in ("png", "svg", "csv")]
    lines = list(csv.DictReader(points_csv(words, word_map(words)).splitlines()))
    assert [line["target"] for line in lines] == ["किताब", "كتاب"]
    assert paths[2].read_text(encoding="utf-8").splitlines()[0].startswith("number,source,target")


def test_words_that_no_font_has_are_shown_by_their_number(monkeypatch, caplog):
    monkeypatch.setattr(fonts, "package_fonts", tuple)
    words = paired(["a", "\U00012000"])  # cuneiform
    with caplog.at_level(logging.WARNING):
        assert shown_words(words)[1] == ["a", "(2)"]
    assert "NO FONT for CUNEIFORM characters" in caplog.text
    assert "1 words are shown by their number" in caplog.text


def test_a_word_that_looks_the_same_in_both_languages_is_written_once():
    words = paired(["word0", "x"])
    assert shown_words(words) == (["word0", "word1"], ["", "x"])


def test_latin_and_arabic_need_no_font_but_matplotlibs():
    assert fonts_for(["school", "مدرسة", "école"]) == Fonts(["DejaVu Sans"], frozenset())


def test_devanagari_is_drawn_by_another_font_where_there_is_one(caplog):
    found = fonts_for(["किताब"])
    if found.missing:
        assert "NO FONT for DEVANAGARI characters" in caplog.text
    else:
        assert len(found.families) > 1


def test_arabic_words_run_from_right_to_left():
    """Alef is tall and narrow, and the first letter of the word; seen, it stands on the right."""
    points = TextPath((0, 0), "ابب", size=100).vertices
    tallest = points[points[:, 1] > 0.9 * points[:, 1].max()]
    assert tallest[:, 0].min() > 0.75 * points[:, 0].max()


def test_arabic_letters_are_joined():
    """Joined forms are narrower than the letters on their own."""
    together = TextPath((0, 0), "بببب", size=100).get_extents().width
    assert together < 0.8 * 4 * TextPath((0, 0), "ب", size=100).get_extents().width


def test_a_derived_language_needs_no_dictionary(model):
    words = paired_words(model, (LANGUAGES[0], LANGUAGES[1]), pairs=20)
    assert words.sources == words.targets
    assert len(words.sources) == 20
    assert words.source_vectors.shape == words.target_vectors.shape == (20, 64)
    assert not np.allclose(words.source_vectors, words.target_vectors)


def test_a_dictionary_gives_its_pairs_with_the_means_of_their_tokens(model, tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("that this\nthis that\nthat every\n", encoding="utf-8")
    words = paired_words(model, (LANGUAGES[0], LANGUAGES[0]), path)
    assert list(zip(words.sources, words.targets, strict=True)) == [
        ("that", "this"),
        ("this", "that"),
    ]
    assert np.allclose(words.source_vectors[0], words.target_vectors[1])


def test_other_languages_need_a_dictionary(model):
    with pytest.raises(ConfigError, match="is not made from"):
        paired_words(model, (LANGUAGES[0], "fra-Latn"))


def test_a_map_of_a_model_has_its_first_two_languages(model, tmp_path):
    paths = write_model_map(model, tmp_path, pairs=10)
    assert [path.suffix for path in paths] == [".png", ".svg", ".csv"]
    assert len(paths[2].read_text(encoding="utf-8").splitlines()) == 11
