import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

from alignmlm.evaluation.scores.score_rows import study_score_rows
from alignmlm.reporting.page import write_page
from alignmlm.reporting.transfer_tables import latex_transfer, markdown_transfer, paper_csv
from tests.reporting.studies import runs_of, study_rows, write_study, write_words

OBJECTIVES, SEEDS = ["mlm", "align_mlm", "dict_mlm"], [0, 1, 2]
AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js"))


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("page")
    study = write_study(folder / "study", OBJECTIVES, SEEDS)
    write_words(study / "align_mlm-seed0")
    write_words(study / "mlm-seed0", words=5)
    return write_page(runs_of(study), [study], folder / "report.html").as_uri()


@pytest.fixture
def page(browser, address):
    browser.size(1280)
    browser.theme("light")
    browser.open(address)
    return browser


def test_it_opens_from_the_disk_fetches_nothing_and_complains_of_nothing(page, address):
    assert page.fetched() == [address]
    assert page.complaints() == []
    assert "transfers better than MLM" in page.text("#found .verdict")


def test_charts_have_a_line_a_band_and_every_seeds_dots(page):
    assert page.run("document.querySelectorAll('#curves-chart .curve').length") == 6  # legend too
    assert page.run("document.querySelectorAll('#curves-chart .band').length") == 3
    assert page.run("document.querySelectorAll('#curves-chart > svg .dot').length") == 3 * 3 * 10
    assert page.run("document.querySelectorAll('#alignment-chart > svg .dot').length") == 3 * 2
    assert "NaN" not in page.run("document.getElementById('main').innerHTML")


def test_curves_are_grouped_by_any_setting(page):
    page.choose("curves-by", "objective.name")
    assert page.text("#curves-chart .legend li") == "objective.name = mlm (3 runs)"
    page.choose("curves-by", "run")
    assert page.run("document.querySelectorAll('#curves-chart .legend li').length") == 9


def test_curves_of_two_studies_are_lines_of_their_own(browser, tmp_path):
    studies = [write_study(tmp_path / name, ["mlm"], [0, 1], 10, name) for name in "ab"]
    runs = [run for study in studies for run in runs_of(study)]
    browser.open(write_page(runs, studies, tmp_path / "report.html").as_uri())
    legend = "[...document.querySelectorAll('#curves-chart .legend li')].map(e => e.textContent)"
    assert browser.run(legend) == ["Study a: MLM (2 runs)", "Study b: MLM (2 runs)"]
    browser.choose("curves-by", "run")
    assert browser.run(legend) == [f"{s}/mlm-seed{n} (1 run)" for n in (0, 1) for s in "ab"]


@pytest.mark.parametrize(
    "form, written",
    [("markdown", markdown_transfer), ("latex", latex_transfer), ("csv", paper_csv)],
)
def test_the_table_is_the_same_text_as_the_files_of_the_command_line(page, form, written):
    page.choose("table-format", form)
    rows = study_score_rows(study_rows(OBJECTIVES, SEEDS))
    assert page.run("document.getElementById('table-text').value") == written(rows)


def test_what_the_text_of_the_table_has_in_bold_is_bold_on_the_page(page):
    text = page.run("document.getElementById('table-text').value")
    strong = "[...document.querySelectorAll('#table-preview strong')].map(e => e.textContent)"
    bold = re.findall(r"\*\*(.+?)\*\*", text)
    assert bold
    assert page.run(strong) == bold


def test_the_table_leaves_out_what_is_switched_off(page):
    page.run("document.getElementById('table.tasks-SAMPLE NLI').click()")
    page.run("document.getElementById('table.measures-BS').click()")
    page.run("document.getElementById('table.objectives-MLM').click()")
    page.run("document.getElementById('table-intervals').click()")
    page.run("document.getElementById('table-aligned').click()")
    first, _, *lines = page.run("document.getElementById('table-text').value").splitlines()
    assert first == (
        "| objective | source | target | SAMPLE POS BZ (%) | SAMPLE POS Delta (points) |"
    )
    assert [line.split(" | ")[0] for line in lines[:4]] == [
        "| ALIGN-MLM", "| ALIGN-MLM", "| DICT-MLM", "| DICT-MLM",
    ]  # fmt: skip
    assert "[" not in lines[0]


def test_a_link_shows_the_same_again(page, address):
    page.choose("matrix-show", "delta")
    page.choose("table-format", "latex")
    page.run("document.getElementById('table.measures-BZ').click()")
    link, shown = page.run("location.href"), page.run("document.getElementById('table-text').value")
    page.open(link)
    assert page.run("document.getElementById('table-text').value") == shown
    assert page.run("getComputedStyle(document.querySelector('.of-bs')).display") == "none"
    page.open(f"{address}#runs")
    assert page.run("document.getElementById('runs').getBoundingClientRect().top < innerHeight")


def move(page, code: str) -> None:
    """Run code that leads to another address of the page, until the page has followed it."""
    followed = "addEventListener('hashchange', () => setTimeout(done), { once: true })"
    page.run(f"new Promise((done) => {{ {followed}; {code}; }})")


def test_the_pages_own_links_keep_what_is_chosen(page):
    page.choose("theme", "dark")
    move(page, "document.querySelector('nav a[href=\"#curves\"]').click()")
    assert page.run("location.hash") == "#curves?theme=dark"
    assert page.run("document.documentElement.dataset.theme") == "dark"


def test_going_back_shows_boxes_and_columns_as_they_were_and_keeps_the_focus(page):
    box = "document.getElementById('table.measures-BS')"
    move(page, "document.querySelector('nav a[href=\"#table\"]').click()")
    page.run(f"{box}.focus(); {box}.click()")
    titles = "document.querySelector('#table-preview thead').textContent"
    assert "BS (%)" not in page.run(titles)
    move(page, "history.back()")
    assert "BS (%)" in page.run(titles)
    assert page.run(f"{box}.checked && document.activeElement == {box}")


def test_tables_are_searched_sorted_and_keep_the_focus(page):
    page.run("document.getElementById('runs-table-q').focus()")
    for letter in "dict":
        page.send("Input.insertText", text=letter)
    assert page.run("document.activeElement.id") == "runs-table-q"
    names = "[...document.querySelectorAll('#runs-table tbody th')].map(e => e.textContent)"
    assert page.run(names) == ["dict_mlm-seed0", "dict_mlm-seed1", "dict_mlm-seed2"]
    page.run("document.querySelector('#runs-table thead button').click()")
    page.run("document.querySelector('#runs-table thead button').click()")
    assert page.run(names) == ["dict_mlm-seed2", "dict_mlm-seed1", "dict_mlm-seed0"]
    order = "document.querySelector('#runs-table th[aria-sort]').getAttribute('aria-sort')"
    assert page.run(order) == "descending"


def test_the_word_explorer_follows_run_word_part_and_checkpoint(page):
    best = "document.querySelector('#words-found tbody .name').textContent"
    page.choose("words-run", page.run("document.querySelectorAll('#words-run option')[1].value"))
    assert page.text("#words-found p").startswith(
        "w0 (held out pair; rank 1 to 1000, 1,000 occurrences) means t0 in"
    )
    assert page.run(best) == "t0 ✓ translation"
    page.run("document.getElementById('words-step').focus()")
    for _ in range(2):
        page.press("ArrowLeft", 37)
    assert page.text("#words-told") == "step 200, 20,000 tokens"
    assert page.run(best) == "t1"
    page.choose("words-part", "given")
    page.choose("words-band", "unseen")
    words = "[...document.querySelectorAll('#words-word option')].map(e => e.textContent)"
    assert page.run(words) == ["w31", "w33", "w35", "w37", "w39"]
    page.open(page.run("location.href"))
    assert page.text("#words-found strong") == "w31"
    assert page.run(best) == "t32"


def test_the_map_follows_the_filters_and_a_click_on_a_pair_chooses_its_word(page):
    pairs = "document.querySelectorAll('#words-map .pair').length"
    written = "[...document.querySelectorAll('#words-map text.chosen')].map(e => e.textContent)"
    page.choose("words-run", page.run("document.querySelectorAll('#words-run option')[1].value"))
    assert page.run(pairs) == 40
    assert page.run(written) == ["w0", "t0"]
    page.choose("words-band", "unseen")
    assert page.run(pairs) == 10
    title = "[...document.querySelectorAll('#words-map title')]"
    told = f"{title}.find(e => e.textContent == '\u2068w35\u2069 → \u2068t35\u2069 (given)')"
    page.run(f"{told}.parentNode.dispatchEvent(new MouseEvent('click'))")
    assert page.run(written) == ["w35", "t35"]
    assert page.text("#words-found strong") == "w35"
    assert "40 % and 20.5 % of the variance" in page.text("#words")


def test_settings_show_differences_only_until_all_are_asked_for(page):
    keys = "[...document.querySelectorAll('#settings-table tbody th')].map(e => e.textContent)"
    assert set(page.run(keys)) == {"objective.name", "train.seed"}
    page.run("document.getElementById('settings-different').click()")
    assert "objective.alpha" in page.run(keys)


def test_dark_follows_the_system_and_can_be_chosen(page):
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.run(paper) == "rgb(255, 255, 255)"
    page.theme("dark")
    assert page.run(paper) == "rgb(22, 24, 28)"
    page.choose("theme", "light")
    assert page.run(paper) == "rgb(255, 255, 255)"


def test_everything_can_be_reached_by_the_keyboard_with_a_visible_focus(page):
    reached = []
    for _ in range(200):
        page.press("Tab", 9)
        reached.append(page.run("document.activeElement.id || document.activeElement.tagName"))
        if reached[-1] == "BODY":
            break
        assert page.run("getComputedStyle(document.activeElement).outlineStyle") != "none"
    wanted = page.run(
        "[...document.querySelectorAll('main select, main input, main textarea')]"
        ".filter(e => !e.disabled && e.checkVisibility()).map(e => e.id)"
    )
    assert set(wanted) <= set(reached)


def test_headings_are_in_order_and_controls_have_names(page):
    levels = page.run("[...document.querySelectorAll('h1, h2, h3, h4')].map(e => +e.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    nameless = (
        "[...document.querySelectorAll('select, input, textarea')].filter(e => !e.labels.length)"
    )
    assert page.run(f"{nameless}.map(e => e.id)") == []
    tables = "[...document.querySelectorAll('table')].filter(e => !e.caption)"
    assert page.run(f"{tables}.length") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 1280])
def test_nothing_is_wider_than_the_window(page, width, theme):
    page.theme(theme)
    page.size(width)
    page.open(page.run("location.href"))
    assert page.run("document.documentElement.scrollWidth") <= width


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm install axe-core")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_problem(page, theme):
    page.theme(theme)
    page.run(AXE.read_text("utf-8"))
    found = page.run(
        "axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html)]))"
    )
    assert found == []


def test_sixty_runs_make_a_small_page_that_is_soon_usable(browser, tmp_path):
    objectives = ["mlm", "align_mlm", "dict_mlm", "tlm", *(f"variant_{n}" for n in range(8))]
    study = write_study(tmp_path / "study", objectives, [0, 1, 2, 3, 4], points=500)
    for run in runs_of(study):
        write_words(run, words=120, steps=6)
    page = write_page(runs_of(study), [study], tmp_path / "report.html")
    assert page.stat().st_size < 20e6
    browser.open(page.as_uri())
    assert browser.run("document.querySelectorAll('#runs-table tbody tr').length") == 25
    assert browser.run("document.querySelectorAll('#curves-chart .band').length") == 12
    assert browser.complaints() == []


def test_an_objective_with_a_stroke_in_its_name_can_be_switched_off(browser, tmp_path):
    study = write_study(tmp_path / "study", ["a|b", "mlm"], [0], 10)
    browser.open(write_page([], [study], tmp_path / "report.html").as_uri())
    browser.run("document.getElementById('table.objectives-a|b').click()")
    browser.open(browser.run("location.href"))
    assert "a|b" not in browser.text("#table-preview table")
    assert "MLM" in browser.text("#table-preview table")


def test_printed_tables_have_their_titles_in_dark_ink(page):
    page.choose("theme", "dark")
    page.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert "setting" in page.text("#settings-table thead")
        colour = page.run("getComputedStyle(document.body).color")
    finally:
        page.send("Emulation.setEmulatedMedia", media="")
        page.choose("theme", "auto")
    assert colour == "rgb(27, 29, 33)"
