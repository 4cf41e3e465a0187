import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from alignmlm.errors import DataError
from alignmlm.evaluation.scores.results import empty, with_task, write_results
from alignmlm.evaluation.scores.score_rows import Cell, ScoreRow
from alignmlm.evaluation.scores.scoring import Sample, Scores
from alignmlm.reporting.figure_files import save_figure
from alignmlm.reporting.transfer_figures import (
    bars_figure,
    confusion_figure,
    matrix_figure,
    scatter_figure,
)
from alignmlm.reporting.transfer_report import write_transfer_report
from alignmlm.tasks.examples import doc_hash

SOURCE = "eng-Latn"
TARGETS = ("eng-Latn-x-trans", "eng-Latn-x-inv-trans", "eng-Latn-x-syn-fra-trans")


def many_rows(seeds: int = 3) -> list[ScoreRow]:
    return [
        ScoreRow(
            cell=Cell(objective, task, SOURCE, target), seed=seed, source=90.0, bs=85.0,
            bz=40.0 + 10 * i + 5 * j + seed, delta=45.0 - 10 * i - 5 * j - seed,
            alignment_percent={"in dictionary": 20.0 * i + 9 * j, "held out": 3.0 * j},
        )
        for i, objective in enumerate(("mlm", "tlm", "dict_mlm", "align_mlm"))
        for task in ("ewt_pos", "xnli")
        for j, target in enumerate(TARGETS)
        for seed in range(seeds)
    ]  # fmt: skip


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def clipped(figure: Figure) -> bool:
    """Whether anything that is drawn reaches over the edge of the figure."""
    figure.canvas.draw()
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    width, height = figure.get_size_inches()
    return box.x0 < -0.01 or box.y0 < -0.01 or box.x1 > width + 0.01 or box.y1 > height + 0.01


def drawn(figure: Figure) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    return figure


FIGURES = {
    "bars": lambda: bars_figure(many_rows()),
    "bars of one seed": lambda: bars_figure(many_rows(1)),
    "matrix": lambda: matrix_figure(many_rows()),
    "scatter": lambda: scatter_figure(many_rows()),
    "confusion": lambda: confusion_figure(["NOUN", "VERB"], np.array([[3, 1], [0, 2]]), "x " * 80),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_clipped(name):
    assert not clipped(drawn(FIGURES[name]()))


def test_bars_have_a_panel_a_task_and_measure_with_units():
    figure = bars_figure(many_rows())
    found = {axes.get_title(): axes.get_ylabel() for axes in figure.axes}
    assert found == {
        f"{task}: {measure}": "percentage points" if measure == "Delta" else "percent"
        for task in ("EWT POS", "XNLI")
        for measure in ("BS", "BZ", "Delta")
    }
    bars = [patch for patch in figure.axes[1].patches if patch.get_height() > 0]
    assert sorted({round(bar.get_height(), 6) for bar in bars})[:2] == [41.0, 46.0]


def test_bars_of_objectives_differ_without_colour():
    panel = bars_figure(many_rows()).axes[1]
    assert len({bar.get_hatch() for bar in panel.patches}) == 4


def test_bars_say_what_their_lines_are():
    assert "means over 3 seeds; lines: 95 % intervals (Student's t)" in texts(
        bars_figure(many_rows())
    )
    assert "one seed in each cell, so no intervals" in texts(bars_figure(many_rows(1)))


def test_many_languages_are_drawn_one_panel_a_line():
    rows = [
        replace(row, cell=row.cell._replace(source_language=source))
        for row in many_rows(1)
        for source in ("eng-Latn", "eng-Latn-x-perm")
    ]
    figure = bars_figure(rows)
    assert figure.axes[0].get_gridspec().ncols == 1
    assert not clipped(drawn(figure))


def test_a_matrix_has_the_zero_shot_score_of_each_pair():
    found = texts(matrix_figure(many_rows(1)))
    assert {"90.0", "40.0", "45.0", "50.0"} <= set(found)


def test_pairs_that_were_not_measured_are_hatched():
    rows = [
        ScoreRow(
            cell=Cell("mlm", "toy", a, b), seed=0, source=80.0, bs=80.0, bz=50.0, delta=30.0
        )
        for a, b in (("eng-Latn", "fra-Latn"), ("fra-Latn", "hin-Deva"))
    ]  # fmt: skip
    panel = matrix_figure(rows).axes[0]
    assert len([patch for patch in panel.collections if patch.get_hatch()]) == 2


def test_the_scatter_prints_rho_n_p_and_the_interval():
    (title, *_) = [text for text in texts(scatter_figure(many_rows())) if "rho" in text]
    assert "Spearman's rho -0.9" in title
    assert "n = 12, permutation p < 0.001" in title
    assert math.isclose(title.count("["), 1)


def test_the_scatter_draws_the_alignment_that_is_asked_for():
    figure = scatter_figure(many_rows(), "held out")
    assert {axes.get_xlabel() for axes in figure.axes} == {"aligned, held out (%)"}


def test_an_alignment_that_no_row_has_is_an_error():
    with pytest.raises(DataError, match="no row has the alignment 'x'"):
        scatter_figure(many_rows(), "x")


def test_confusions_are_shares_of_the_right_label():
    counts = np.array([[3, 1, 0], [0, 0, 0], [1, 998, 1]])
    found = texts(confusion_figure(["A", "B", "C"], counts, "toy"))
    assert {"75", "25", "0.1", "100", "·", "A (4)", "B (0)", "C (1,000)"} <= set(found)


def test_confusions_of_nothing_are_an_error():
    with pytest.raises(DataError, match="no answers to draw"):
        confusion_figure(["A"], np.zeros((1, 1), int), "toy")


def test_figures_are_the_same_files_every_time(tmp_path):
    first, second = (save_figure(scatter_figure(many_rows(1)), tmp_path / n, "x") for n in "ab")
    assert [path.name for path in first] == ["x.png", "x.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def evaluated(folder: Path) -> Path:
    def sample(arm, number: int) -> Sample:
        right, given = ("NOUN", "VERB")[number % 2], ("NOUN", "VERB")[number % 3 % 2]
        return Sample(
            seed=0, arm=arm, doc_id=str(number), doc_hash=doc_hash(str(number)), target=[right],
            filtered_resps=[given], gained=float(right == given), possible=1.0,
        )  # fmt: skip

    score = Scores(
        seed=0, source=SOURCE, target=TARGETS[0], source_dev=1.0, source_test=90.0, bs=80.0, bz=70.0
    )
    config = {"task": {"name": "toy", "version": 1, "metric": "accuracy"}, "source": SOURCE}
    samples = [sample(arm, number) for arm in ("bs", "bz") for number in range(12)]
    document = with_task(empty({"objective": "mlm"}), config, [score], {}, 1.0)
    write_results(folder, document, {"toy": {TARGETS[0]: samples}})
    return folder


def test_a_report_has_all_tables_and_figures_and_says_what_it_lacks(tmp_path, caplog):
    paths = write_transfer_report(evaluated(tmp_path / "evaluation"), tmp_path / "out")
    drawn = {
        f"{name}.{kind}"
        for name in (
            "transfer_bars", "transfer_matrix", f"confusion_toy_{TARGETS[0]}_bs",
            f"confusion_toy_{TARGETS[0]}_bz",
        )
        for kind in ("png", "svg")
    }  # fmt: skip
    assert {path.name for path in paths} == {"transfer.csv", "transfer.md", "transfer.tex"} | drawn
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in paths}
    assert "alignment_against_delta is not drawn: no row has an alignment" in caplog.text
    with Image.open(tmp_path / "out" / "transfer_bars.png") as image:
        assert image.width > 800


def test_cells_without_delta_are_no_pairs_of_the_scatter():
    lacking = [
        replace(row, bs=math.nan, delta=math.nan) if row.cell.language == TARGETS[0] else row
        for row in many_rows()
    ]
    (title, *_) = [text for text in texts(scatter_figure(lacking)) if "rho" in text]
    assert "Spearman's rho -1.000" in title and "n = 8," in title
    with pytest.raises(DataError, match="no row has a Delta"):
        scatter_figure([replace(row, bs=math.nan, delta=math.nan) for row in many_rows()])
