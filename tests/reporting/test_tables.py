from rich.console import Console

from alignmlm.reporting.tables import cells, markdown_table, study_table
from tests.reporting.conftest import row


def test_seeds_of_one_cell_become_a_mean_with_its_range():
    titles, lines = cells([row("mlm", 0, 40.0), row("mlm", 1, 50.0), row("tlm", 0, 60.0)])
    assert [dict(zip(titles, line, strict=True))["BZ (%)"] for line in lines] == [
        "45.0 (40.0 to 50.0)",
        "60.0",
    ]


def test_what_no_row_has_is_no_column():
    assert "aligned, held out (%)" not in cells([row("mlm", 0, 40.0)])[0]


def test_what_one_row_lacks_is_shown_as_a_dash():
    rows = [row("mlm", 0, 40.0), row("tlm", 0, 40.0, alignment_held_out_percent=12.3)]
    titles, lines = cells(rows)
    place = titles.index("aligned, held out (%)")
    assert [line[place] for line in lines] == ["–", "12.3"]  # noqa: RUF001


def test_markdown_has_one_line_a_cell_and_escapes_bars():
    text = markdown_table([row("a|b", 0, 40.0)])
    head, rule, line = text.splitlines()
    assert line.startswith("| a\\|b | sample_pos | qaa-Latn-x-inv-trans | 3.100 | 3.400 | 98.1 |")
    assert head.count("|") == rule.count("|") == line.count("|") - 1


def test_a_terminal_of_80_columns_shows_every_number_whole():
    console = Console(width=80)
    rows = [row(name, seed, 40.0 + 10 * seed) for name in ("mlm", "align_mlm") for seed in (0, 1)]
    with console.capture() as shown:
        console.print(study_table(rows))
    text = shown.get()
    assert all(
        part in text
        for part in ("align_mlm", "sample_pos", "-x-inv-trans", "3.600", "(40.0 to 50.0)")
    )
