"""The page of a stream: figures beside controls, their course with the marks of drift, attention over time, each decision."""

from __future__ import annotations

import json
from typing import Any, Final

from markupsafe import Markup

from abi.adapted import Adapted, Contender
from abi.documents import document
from abi.report.charts import BASELINE, MODEL, MUTED, OTHER, THIRD, chart
from abi.report.template import style, template
from abi.report.wording import clean, number, percent, plural
from abi.units import show_count, show_seconds

COLOURS: Final = (MODEL, BASELINE, THIRD, OTHER)
CLASSES: Final = ("model", "baseline", "third", "other")
LINES: Final = 4
"""Features whose attention is drawn, and experts whose share is."""
NAMES: Final = {
    "adapted": "adapted",
    "never adapted": "never adapted",
    "persistence": "persistence (the last label again)",
}
_ESCAPES: Final = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}
MOST_DECISIONS: Final = 200


def render_stream(found: Adapted, name: str, data_name: str, created: str, provenance: dict[str, str]) -> str:
    """One self-contained HTML file that carries its own JSON; the same value gives the same bytes.

    Args:
        found: what came of the stream.
        name: of the model.
        data_name: of the stream's file.
        created: ISO 8601 time.
        provenance: run id and the like, to be shown.
    """
    packed = json.dumps(document(found), separators=(",", ":"), allow_nan=False).translate(_ESCAPES)
    marks = [a.row for a in found.adaptations if a.number]
    view: dict[str, Any] = {
        "name": clean(name, 80),
        "data_name": clean(data_name, 80),
        "created": clean(created[:16].replace("T", " "), 40),
        "headline": headline(found),
        "sentences": sentences(found),
        "metric": figure_name(found),
        "rows": [_row(found, contender) for contender in found.contenders],
        "window": f"{found.window:,} {_counted(found)}",
        "curve": Markup(_curve(found, marks)),  # noqa: S704 - drawn here, without text of the user's
        "drawn": _legend([NAMES[n] for n in _drawn(found)]),
        "shares": Markup(_shares(found, marks)),  # noqa: S704
        "experts": _legend(list(found.shares)[:LINES]),
        "attention": Markup(_attention(found)) if len(found.adaptations) > 1 else "",  # noqa: S704
        "features": _legend([clean(f, 60) for f in _heaviest(found)]),
        "decisions": [_decision(found, i) for i in range(len(found.adaptations))][:MOST_DECISIONS],
        "facts": [(key, clean(text, 120)) for key, text in provenance.items()],
        "style": style(),
        "json": Markup(packed),  # noqa: S704 - what could end the element is escaped
    }
    return template("stream.html.j2").render(view)


def figure_name(found: Adapted) -> str:
    """Of the metric."""
    return "accuracy" if found.metric == "accuracy" else "root mean squared error"


def show(found: Adapted, value: float) -> str:
    """The metric's value for a person."""
    return percent(value) if found.metric == "accuracy" else number(value)


def headline(found: Adapted) -> str:
    """Whether adapting was worth it, in one sentence."""
    adapted, never, simple = (found.contender(n).overall for n in ("adapted", "never adapted", "persistence"))
    sign = 1 if found.metric == "accuracy" else -1
    beats_never, beats_simple = sign * adapted > sign * never, sign * adapted > sign * simple
    said = f"Prequential {figure_name(found)} {show(found, adapted)}"
    if beats_never and beats_simple:
        return f"{said}: better than the model that never adapted ({show(found, never)}) and than repeating the last label ({show(found, simple)})"
    if beats_simple:
        return f"{said}: better than repeating the last label ({show(found, simple)}), and not than the model that never adapted ({show(found, never)})"
    return f"{said}: not better than repeating the last label ({show(found, simple)})"


def sentences(found: Adapted) -> list[str]:
    """What the page says first."""
    began = (
        f"It began with champion version {found.champion}, which predicted from the first row on."
        if found.start == "champion"
        else f"It began cold: {plural(found.begin, 'row')} were learned from before the first was scored."
    )
    said = [
        f"{plural(found.scored, 'row')} were predicted, each before its label was known. {began}",
        f"{plural(len(found.adaptations), 'decision')} on attention and plan, {plural(found.grown, 'growth')} of trees, {show_seconds(found.row_s)} a row.",
    ]
    if found.skipped:
        said.append(f"{plural(found.skipped, 'row')} without a label were predicted, not scored and not learned from.")
    if found.late:
        said.append(
            f"{plural(found.late, 'class', 'classes')} came after the models were begun and {'was' if found.late == 1 else 'were'} learned at the next growth."
        )
    return [*said, *(f"{note[:1].upper()}{note[1:]}." for note in found.notes)]


def _row(found: Adapted, contender: Contender) -> dict[str, str]:
    return {
        "name": NAMES.get(contender.name, contender.name),
        "overall": show(found, contender.overall),
        "window": show(found, contender.window),
    }


def _drawn(found: Adapted) -> list[str]:
    return [name for name in ("adapted", "never adapted", "persistence") if found.contender(name)]


def _counted(found: Adapted) -> str:
    """The rows that figures are of."""
    return "labelled rows" if found.skipped else "rows"


def _legend(names: list[str]) -> list[tuple[str, str]]:
    return list(zip(names, CLASSES, strict=False))


def _curve(found: Adapted, marks: list[int]) -> str:
    def draw(axes: Any) -> None:
        for name, colour in reversed(list(zip(_drawn(found), COLOURS, strict=False))):
            axes.plot(found.at, found.contender(name).curve, color=colour, linewidth=1.3)
        _marked(axes, marks)
        axes.set_ylabel(f"{figure_name(found)}, last {found.window} {_counted(found)}")

    return chart("stream", f"Windowed {figure_name(found)} along the stream; dashed lines are adaptations", draw)


def _shares(found: Adapted, marks: list[int]) -> str:
    def draw(axes: Any) -> None:
        for name, colour in zip(list(found.shares)[:LINES], COLOURS, strict=False):
            axes.plot(found.at, found.shares[name], color=colour, linewidth=1.3)
        _marked(axes, marks)
        axes.set_ylim(0, 1)
        axes.set_ylabel("share of the blend")

    return chart("shares", "The experts' shares of the blend along the stream", draw)


def _heaviest(found: Adapted) -> list[str]:
    """Features with the most attention at any time."""
    most: dict[str, float] = {}
    for made in found.adaptations:
        for name, weight in made.weights.items():
            most[name] = max(weight, most.get(name, 0.0))
    return sorted(most, key=lambda name: (-most[name], name))[:LINES]


def _attention(found: Adapted) -> str:
    rows = [made.row for made in found.adaptations] + [found.rows]

    def draw(axes: Any) -> None:
        for name, colour in zip(_heaviest(found), COLOURS, strict=False):
            weights = [made.weights.get(name, 0.0) for made in found.adaptations]
            axes.step(rows, [*weights, weights[-1]], where="post", color=colour, linewidth=1.5)
        axes.set_xlabel("row")
        axes.set_ylabel("attention")
        axes.set_ylim(bottom=0)

    return chart("attention", "Attention of the features with the most, along the stream", draw)


def _marked(axes: Any, marks: list[int]) -> None:
    for row in marks:
        axes.axvline(row, color=MUTED, linewidth=0.7, linestyle=(0, (2, 3)))
    axes.set_xlabel("row")


def _decision(found: Adapted, place: int) -> dict[str, str]:
    made = found.adaptations[place]
    heavy = sorted(made.weights.items(), key=lambda item: -item[1])[:3]
    return {
        "row": f"{made.row + 1:,}",
        "reasons": "; ".join(clean(reason, 160) for reason in made.reasons),
        "rows": f"{made.first + 1:,} to {made.last + 1:,}",
        "moved": percent(made.moved) if made.attention_before else "",
        "carried": percent(made.carried) if made.attention_before else "",
        "parameters": show_count(made.predicted.parameters),
        "plans": ", ".join(f"{name} {plan[:8]}" for name, plan in made.plans.items()),
        "most": ", ".join(f"{clean(name, 40)} {percent(weight)}" for name, weight in heavy),
    }
