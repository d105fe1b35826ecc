"""The page's picture of attention over time: channels down, lags and windows across."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from abi.problem import Derivation
from abi.report.content import Report
from abi.report.wording import clean, percent

SHOWN: Final = 40
_CELL, _NAME, _LINE, _HEAD = 46, 150, 20, 24


def over_time(report: Report) -> dict[str, Any] | None:
    """Cells of the map and their sums, shades from 0 to 1; None where nothing was derived from channels over time."""
    schema = report.checks.problem.schema
    if schema.derivation is None or schema.derivation.series is None:
        return None
    weights = {w.feature: w.weight for w in report.plan.attention.weights}
    columns = spans(schema.derivation)
    table = {
        channel: {span: sum(weights.get(name, 0.0) for name in names) for span, names in cells.items()}
        for channel, cells in columns.items()
    }
    heads = list(dict.fromkeys(span for cells in columns.values() for span in cells))
    order = sorted(table, key=lambda channel: (-sum(table[channel].values()), channel))
    whole = {span: sum(row[span] for row in table.values()) for span in heads}
    most = max(max(row.values()) for row in table.values())
    return {
        "heads": [{"name": span, "x": _NAME + _CELL * (i + 0.5)} for i, span in enumerate([*heads, "together"])],
        "rows": [_row(clean(c, 24), table[c], i, most) for i, c in enumerate(order[:SHOWN])],
        "whole": _row("every channel", whole, min(len(order), SHOWN), max(whole.values())),
        "left_out": max(0, len(order) - SHOWN),
        "width": _NAME + _CELL * (len(heads) + 1),
        "height": _HEAD + _LINE * (min(len(order), SHOWN) + 1),
        "largest": _largest(table),
    }


def spans(derivation: Derivation) -> dict[str, dict[str, list[str]]]:
    """Channel -> lag or window -> the features that tell of it."""
    series = derivation.series
    if series is None:
        return {}
    found: dict[str, dict[str, list[str]]] = {}
    for channel in series.channels:
        cells = {"now": [channel]}
        cells |= {"change": [f"{channel}@diff"]} if series.differences else {}
        cells |= {f"lag {lag}": [f"{channel}@lag{lag}"] for lag in series.lags}
        for window in series.windows:
            cells[f"last {window}"] = [f"{channel}@{statistic}{window}" for statistic in series.statistics]
        found[channel] = cells
    return found


def _row(name: str, cells: Mapping[str, float], place: int, most: float) -> dict[str, Any]:
    shown = [*cells.items(), ("together", sum(cells.values()))]
    return {
        "name": name,
        "y": _HEAD + _LINE * place,
        "cells": [
            {
                "x": _NAME + _CELL * i,
                "text": percent(value),
                "title": f"{name}, {span}: {percent(value)}",
                "shade": 0.0 if span == "together" or not most else round(value / most, 3),
            }
            for i, (span, value) in enumerate(shown)
        ],
    }


def _largest(table: Mapping[str, Mapping[str, float]]) -> str:
    """The cell with the most, in words."""
    channel, span = max(((c, s) for c, row in table.items() for s in row), key=lambda at: table[at[0]][at[1]])
    return f"{clean(channel, 40)}, {span}, with {percent(table[channel][span])}"
