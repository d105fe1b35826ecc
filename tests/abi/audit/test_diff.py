"""Two runs side by side, with figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from math import log2, sqrt
from typing import Any

import pytest

from abi.audit.diff import changed_settings, diff, overlapping
from abi.audit.difference import first_difference
from abi.audit.record import RunRecord
from abi.outcomes import Conditions, Move, Trained
from abi.types import Estimate


def _run(
    toy: Any, evaluate: Any, kinds: dict[str, str], weights: list[float], auc: Any, **conditions: Any
) -> RunRecord:
    problem = toy.problem(kinds)
    attention = toy.attention(problem, [0.5] * len(kinds), 1.0)
    held = tuple(replace(w, weight=v) for w, v in zip(attention.weights, weights, strict=True))
    plan = toy.plan(problem, attention=replace(attention, weights=held))
    trained = Trained(
        plan=plan, seed=0, artifact="a", best_epoch=1, stopped="finished", loss=0.5, metric=None, measured=plan.predicted,
        attention=tuple(weights), history=(),
    )  # fmt: skip
    from abi.problem import Checks

    return RunRecord(
        run_id="e" * 32,
        name="shop",
        version=1,
        checks=Checks(problem=problem, suite_sha256="", results=()),
        evaluation=evaluate(trained, auc),
        control=trained,
        moves=(Move(trained=trained, attention=plan.attention, continues=False, reason=""),),
        conditions=Conditions(
            settings={"seed": 0, "envelope": {"parameters": 5, "memory": 7}}, machine=toy.machine.to_json(), train_rows=9,
            validation_rows=3, code="one", libraries={"torch": "1", "numpy": "2"},
        ) if not conditions else Conditions(machine=toy.machine.to_json(), train_rows=9, validation_rows=3, **conditions),
    )  # fmt: skip


@pytest.fixture(name="found")
def _found(toy: Any, evaluate: Any) -> Any:
    before = _run(
        toy, evaluate, {"x": "numeric", "y": "numeric", "gone": "numeric"}, [0.5, 0.25, 0.25], (0.8, 0.7, 0.9)
    )
    after = _run(
        toy, evaluate, {"x": "numeric", "y": "categorical", "new": "numeric"}, [0.25, 0.25, 0.5], (0.95, 0.91, 0.97),
        settings={"seed": 0, "envelope": {"parameters": 6, "memory": 7}}, code="two", libraries={"torch": "2", "numpy": "2"},
    )  # fmt: skip
    return diff(before, after)


def test_attention_that_moved(found: Any) -> None:
    # over x, y, gone, new: p = (1/2, 1/4, 1/4, 0), q = (1/4, 1/4, 0, 1/2): |p - q| sums to 1, half of it moved
    assert found.total_variation == 0.5
    # m = (3/8, 1/4, 1/8, 1/4); KL(p|m) = 1/2 log2(4/3) + 1/4, KL(q|m) = 1/4 log2(2/3) + 1/2
    divergence = (log2(4 / 3) / 2 + 1 / 4 + log2(2 / 3) / 4 + 1 / 2) / 2
    assert found.jensen_shannon == pytest.approx(sqrt(divergence), abs=1e-9)
    assert [(f.feature, f.change, f.moved) for f in found.features] == [
        ("new", "added", 0.5), ("gone", "removed", -0.25), ("x", "kept", -0.25), ("y", "kind", 0.0),
    ]  # fmt: skip
    assert found.features[0].width[0] is None
    assert found.features[3].kind == ("numeric", "categorical")


def test_what_changed_around_it(found: Any) -> None:
    assert found.settings == {"envelope.parameters": (5, 6)}
    assert found.code == ("one", "two")
    assert found.libraries == {"torch": ("1", "2")}
    assert found.same_data  # the toy's snapshot is one
    assert found.same_test


def test_intervals_that_meet(found: Any) -> None:
    metric = found.metrics[0]
    assert (metric.metric, metric.overlap) == ("roc_auc", False)  # 0.7 to 0.9, and 0.91 to 0.97
    assert overlapping(Estimate(value=1.0, low=0.0, high=2.0), Estimate(value=3.0, low=2.0, high=4.0))
    assert not overlapping(Estimate(value=3.0, low=2.1, high=4.0), Estimate(value=1.0, low=0.0, high=2.0))
    assert found.gains[0].before.difference.value == 0.01


def test_settings_that_one_side_lacks() -> None:
    assert changed_settings({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": None}) == {"a.c": (2, None)}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": [1, {"feature": "x", "w": 0.5}]}, {"a": [1, {"feature": "x", "w": 0.25}]}, "a[x].w: 0.5 -> 0.25"),
        ({"a": [1]}, {"a": [1, 2]}, "a: 1 -> 2 items"),
        ({"a": None}, {}, "a: null -> null"),
        ({}, {"b": "x"}, 'b: null -> "x"'),
        ({"a": True}, {"a": 1}, "a: true -> 1"),
    ],
)
def test_the_first_field_that_differs(before: Any, after: Any, said: str | None) -> None:
    assert first_difference(before, after) == said
