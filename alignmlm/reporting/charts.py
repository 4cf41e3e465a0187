"""Interactive charts: transfer of a study, losses and alignment of a run; for light and dark."""

from html import escape
from operator import itemgetter
from statistics import fmean

import plotly.graph_objects as go

from alignmlm.reporting.records import RunCurves, Series
from alignmlm.reporting.tables import TARGET, Row, by_target, groups_of, values_of

GREY, FAINT = "#808080", "rgba(128,128,128,.25)"  # readable on white and on black
COLOURS = ("#3b7dc4", "#d9722e", "#5d9a45", "#9a62b8")
DASHES = ("solid", "dash", "dashdot", "dot")
PATTERNS = ("", "/", ".")


def calm(figure: go.Figure, title: str, x: str, y: str) -> go.Figure:
    """The figure with a title, axis names with units, and colours that suit any background."""
    figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        height=360,
        font={"color": GREY},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        legend={"orientation": "h", "y": -0.22},
    )
    figure.update_xaxes(title=x, gridcolor=FAINT, zerolinecolor=FAINT)
    figure.update_yaxes(title=y, gridcolor=FAINT, zerolinecolor=FAINT)
    return figure


def lines(series: list[Series], mode: str, suffix: str = "") -> list[go.Scatter]:
    """One trace a series, told apart by colour and by dashes or symbols."""
    return [
        go.Scatter(
            x=one.steps,
            y=one.values,
            name=escape(one.name + suffix),
            mode=mode,
            line={"color": COLOURS[i % len(COLOURS)], "dash": DASHES[i % len(DASHES)]},
            marker={"size": 8, "symbol": 100 + i},
        )
        for i, one in enumerate(series)
    ]


def loss_chart(curves: RunCurves) -> go.Figure:
    """Loss by language: lines in training, open marks in validation."""
    traces = lines(curves.train_loss, "lines", ", training")
    traces += lines(curves.validation_loss, "markers", ", validation")
    return calm(go.Figure(traces), "Loss at masked positions", "step", "loss (nats)")


def alignment_chart(curves: RunCurves) -> go.Figure:
    """Share of words whose nearest neighbour is their translation."""
    figure = go.Figure(lines(curves.alignment, "lines+markers"))
    figure.update_yaxes(range=[-3, 103])
    return calm(figure, "Alignment of word embeddings", "step", "nearest is translation (%)")


def transfer_chart(rows: list[Row]) -> go.Figure:
    """Bars of BS, BZ and Delta for each objective, task and language; means over seeds.

    A task without training data in its language has no BS and no Delta, so no such bars.
    """
    groups = groups_of(by_target([row for row in rows if row.get("bz") is not None]), TARGET)
    names = [escape(" · ".join(names)).replace(" · ", "<br>") for names in groups]
    bars = []
    for place, (key, title) in enumerate({"bs": "BS", "bz": "BZ", "delta": "Delta"}.items()):
        found = [values_of(group, itemgetter(key)) for group in groups.values()]
        means = [fmean(values) if values else None for values in found]
        look = {"color": COLOURS[place], "pattern": {"shape": PATTERNS[place]}}
        text = ["" if mean is None else f"{mean:.1f}" for mean in means]
        bars.append(go.Bar(x=names, y=means, name=title, marker=look, text=text))
    figure = go.Figure(bars).update_traces(textposition="outside", cliponaxis=False)
    calm(figure, "Transfer", "", "percent; Delta in points").update_layout(barmode="group")
    return figure.update_xaxes(showgrid=False)
