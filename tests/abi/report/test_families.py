"""The page and the terminal's summary where trees were trained."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from abi.outcomes import Candidate, Choice
from abi.report.page import render
from abi.report.summary import terminal_summary
from abi.trees_capacity import TreeFeature, TreesCapacity
from abi.types import NO_NETWORK, Plan


def _trees(plan: Plan) -> TreesCapacity:
    features = tuple(
        TreeFeature(feature=f.feature, bins=17, contribution=0.25, treatment="statistics", reason="because <b>")
        for f in plan.capacity.features
    )
    return TreesCapacity(
        features=features, rounds=321, leaves=31, learning_rate=0.05, least_rows=20,
        feature_share=1.0, row_share=1.0, patience=30, parameters=19_581,
    )  # fmt: skip


def _report(make_report: Any, family: str) -> Any:
    report = make_report(rounds=1)
    trained = report.evaluation.trained
    plan = replace(trained.plan, family="auto", trees=_trees(trained.plan))
    tried = tuple(
        Candidate(family=name, loss=loss, metric=0.9, cost=trained.measured)  # type: ignore[arg-type]  # families
        for name, loss in (("trees", 0.31), ("network", 0.32), ("blend", 0.30))
    )
    choice = Choice(candidates=tried, weight=0.35, reason="a reason to be read")
    history = tuple(replace(e, train_loss=None, metric=None) for e in trained.history)
    trained = replace(trained, plan=plan, family=family, choice=choice, history=history)
    turn = replace(report.rounds[0], plan=plan, trained=trained)
    size = NO_NETWORK if family == "trees" else plan.capacity
    control = replace(report.control_plan, trees=plan.trees, capacity=size)
    return replace(report, rounds=(turn,), evaluation=replace(report.evaluation, trained=trained), control_plan=control)


def _text(report: Any) -> str:
    stream = io.StringIO()
    Console(file=stream, width=160, no_color=True).print(terminal_summary(report))
    return stream.getvalue()


@pytest.mark.parametrize("family", ["trees", "blend"])
def test_the_choice_and_the_trees_are_shown(make_report: Any, family: str) -> None:
    report = _report(make_report, family)
    page, text = render(report), _text(report)
    for said in (page, text):
        assert "a reason to be read" in said
    assert "0.310" in page
    assert "321 rounds" in page
    assert "17 bins" in page
    assert "because &lt;b&gt;" in page
    assert "target statistics" in page


def test_trees_alone_have_no_layers_and_no_widths(make_report: Any) -> None:
    page, text = render(_report(make_report, "trees")), _text(_report(make_report, "trees"))
    assert "Parameters by part of the network" not in page
    assert "Width of each feature" not in page
    assert "Backbone" not in page
    assert "Loss by boosting round" in page
    assert "epoch" not in page.partition("<h3>Training</h3>")[2].partition("</div>")[0]
    assert "contribution" in text
    assert "25.0%" in text


def test_a_blend_shows_both_and_its_share(make_report: Any) -> None:
    page = render(_report(make_report, "blend"))
    assert "Parameters by part of the network" in page
    assert "blend of network and trees (35.0% network)" in page


def test_a_network_alone_says_nothing_of_trees(make_report: Any) -> None:
    page = render(make_report())
    assert "What each feature counts for in the trees" not in page
    assert "Family:" not in page
