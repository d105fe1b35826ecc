"""Attention over time, by channel and lag or window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from abi.problem import Derivation, Series
from abi.report.content import Report
from abi.report.over_time import over_time, spans
from abi.report.page import render

SERIES = Series(channels=("age", "hours"), lags=(1, 2), windows=(8,), statistics=("mean", "max"), differences=True)


def test_each_derived_feature_stands_in_one_cell() -> None:
    found = spans(Derivation(order="rows", series=SERIES))
    assert found["age"] == {
        "now": ["age"],
        "change": ["age@diff"],
        "lag 1": ["age@lag1"],
        "lag 2": ["age@lag2"],
        "last 8": ["age@mean8", "age@max8"],
    }
    made = {name for cells in found.values() for names in cells.values() for name in names}
    assert made == {"age", "hours", *SERIES.columns("age"), *SERIES.columns("hours")}
    assert spans(Derivation(order="rows")) == {}


def test_the_map_shows_the_weights_and_their_sums(make_report: Callable[..., Report]) -> None:
    report = make_report()
    assert over_time(report) is None
    first, second = report.plan.attention.weights[:2]
    series = Series(channels=(first.feature, second.feature), lags=(1,), windows=(), statistics=(), differences=False)
    problem = report.checks.problem
    schema = replace(problem.schema, derivation=Derivation(order="rows", series=series))
    made = replace(report, checks=replace(report.checks, problem=replace(problem, schema=schema)))
    view = over_time(made)
    assert view is not None
    assert [head["name"] for head in view["heads"]] == ["now", "lag 1", "together"]
    top = max((first, second), key=lambda w: w.weight)
    assert view["rows"][0]["name"] == top.feature
    assert view["rows"][0]["cells"][0]["shade"] == 1.0
    assert view["whole"]["cells"][0]["text"] == view["whole"]["cells"][2]["text"]
    page = render(made)
    assert "Where attention looks back to: most on" in page
    assert page.count("<rect") >= 9
