import json

from matplotlib.image import imread

from alignmlm.reporting.curves import DOTS_PER_INCH, figure_of, plot_curves


def test_the_curves_are_a_png_of_three_panels(run):
    height, width, _ = imread(plot_curves(run)).shape
    assert (width, height) == (8 * DOTS_PER_INCH, round(9.6 * DOTS_PER_INCH))
    assert sorted(path.name for path in run.iterdir() if "curves" in path.name) == ["curves.png"]


def test_a_panel_without_numbers_is_left_out(run):
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if "alignment" not in json.loads(line)]
    text = "".join(line + "\n" for line in kept if "alignment" not in line)
    (run / "metrics.jsonl").write_text(text, encoding="utf-8")
    titles = [axes.get_title() for axes in figure_of(run).axes]
    assert titles == ["Loss at masked positions", "Speed"]


def test_lines_of_a_panel_differ_without_colour(run):
    loss = figure_of(run).axes[0]
    looks = [(line.get_linestyle(), line.get_marker()) for line in loss.get_lines()]
    assert len(set(looks)) == len(looks) == 4


def test_a_title_says_run_and_objective(run):
    assert figure_of(run).get_suptitle() == "run <i>: align_mlm"
    (run / "summary.json").unlink()
    assert figure_of(run).get_suptitle() == "run <i>"


def test_the_name_of_a_run_is_text_whatever_it_holds(run):
    assert plot_curves(run.rename(run.with_name(r"a$\frac$b"))).is_file()
