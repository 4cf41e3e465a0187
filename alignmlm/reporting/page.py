"""Runs and studies as one HTML page that needs nothing but a browser."""

from html import escape
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from alignmlm.evaluation.results import read_results, result_rows, retrieval_rows
from alignmlm.reporting.charts import alignment_chart, loss_chart, transfer_chart
from alignmlm.reporting.records import RECIPE, Row, read_study, run_curves, summary_of
from alignmlm.reporting.tables import Cells, tables_of
from alignmlm.storage.atomic import replace_text

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; }
body { padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
nav a { margin-right: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th { vertical-align: bottom; } th.name, td.name { text-align: left; white-space: nowrap; }
pre { background: var(--soft); padding: 1rem; overflow-x: auto; font-size: .85rem; }
.note { opacity: .75; font-size: .9rem; }
.charts { display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); }
@media (min-width: 60rem) { .charts.two { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
td small { display: block; white-space: nowrap; opacity: .75; }
"""
NOTE = """
<p class="note">BS: fine-tuned and tested on the target language. BZ: fine-tuned on the source,
tested on the target language. Delta = BS - BZ, what zero-shot transfer loses. Aligned: share of
words whose nearest neighbour in the other language is their translation. With several
pre-training seeds: mean (lowest to highest).</p>
"""


def number_html(text: str) -> str:
    """A cell with a mean, its range on a line of its own."""
    mean, *spread = text.split(" ", maxsplit=1)
    return f"<td>{escape(mean)}{''.join(f'<small>{escape(part)}</small>' for part in spread)}</td>"


def table_html(found: Cells) -> str:
    """A table, its title above it."""
    number_of_names = len(found.names)

    def line_html(line: list[str]) -> str:
        names = "".join(f'<td class="name">{escape(part)}</td>' for part in line[:number_of_names])
        return f"<tr>{names}{''.join(map(number_html, line[number_of_names:]))}</tr>"

    names = "".join(f'<th class="name">{escape(title)}</th>' for title in found.names)
    measures = "".join(f"<th>{escape(title)}</th>" for title in found.measures)
    body = "".join(map(line_html, found.lines))
    table = f"<table><tr>{names}{measures}</tr>{body}</table>"
    return f'<h3>{escape(found.title)}</h3><div class="wide">{table}</div>'


def tables_html(rows: list[Row]) -> str:
    """The rows as tables, and what their measures are."""
    return "".join(map(table_html, tables_of(rows))) + NOTE


def charts_html(figures: list[go.Figure]) -> str:
    """Charts beside each other where there is room."""
    options = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    parts = (f.to_html(full_html=False, include_plotlyjs=False, config=options) for f in figures)
    kind = "charts two" if len(figures) > 1 else "charts"
    return f'<div class="{kind}">{"".join(parts)}</div>'


def section(name: str, title: str, parts: list[str]) -> str:
    """A part of the page that can be linked to."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{"".join(parts)}</section>'


def study_html(place: int, folder: Path) -> tuple[str, str, str]:
    """Link name, title and HTML of a study."""
    name, rows = read_study(folder)
    title = f"Study {name}"
    parts = [tables_html(rows), charts_html([transfer_chart(rows)])] if rows else []
    return f"study{place}", title, section(f"study{place}", title, parts or ["No run is done."])


def run_html(place: int, run: Path) -> tuple[str, str, str]:
    """Link name, title and HTML of a run."""
    curves, summary = run_curves(run), summary_of(run)
    objective = summary.get("objective")
    title = f"Run {run.name}" + (f": {objective}" if objective else " (not finished)")
    parts = []
    if summary:
        facts = f"{summary['steps']:,} steps, {summary['seconds']:,.0f} s"
        parts.append(f"<p>{facts}, {summary['tokens_per_s']:,.0f} tokens/s</p>")
    results = read_results(run / "evaluation")
    if results:
        parts.append(tables_html([*result_rows(results), *retrieval_rows(results)]))
    figures = [loss_chart(curves)] + ([alignment_chart(curves)] if curves.alignment else [])
    parts.append(charts_html(figures))
    if (run / RECIPE).is_file():
        text = escape((run / RECIPE).read_text(encoding="utf-8"))
        parts.append(f"<details><summary>Settings</summary><pre>{text}</pre></details>")
    return f"run{place}", title, section(f"run{place}", title, parts)


def write_page(runs: list[Path], studies: list[Path], output: Path) -> Path:
    """The path of one HTML page with the tables and charts of runs and studies.

    Plotly is part of the page; nothing is fetched when it is opened.

    Raises:
        DataError: a run or a study cannot be read.
    """
    parts = [study_html(place, folder) for place, folder in enumerate(studies)]
    parts += [run_html(place, run) for place, run in enumerate(runs)]
    links = "".join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in parts)
    body = "".join(html for _, _, html in parts)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    output.parent.mkdir(parents=True, exist_ok=True)
    replace_text(
        output,
        f'<!doctype html><html lang="en"><head>{head}<title>alignmlm report</title>'
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body>"
        f"<h1>alignmlm report</h1><nav>{links}</nav>{body}</body></html>\n",
    )
    return output
