"""Margins over predictions: one-sided conformal bounds from what earlier runs took."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.errors import PlanInfeasible
from abi.planning.family import plan_family
from abi.planning.margins import Margin, bounded, margin, residual, tightened
from abi.types import Cost, Envelope

HALF = Margin(family="network", memory_bytes=1.5, train_time_s=2.0, latency_s=1.0, runs=12, coverage=0.75)


def test_too_few_runs_teach_nothing() -> None:
    one = {"memory_bytes": 1.2, "train_time_s": 1.0, "latency_s": 0.5}
    assert margin("trees", [one] * 8) is None
    assert margin("trees", [*[one] * 8, {"memory_bytes": 1.0}]) is None
    found = margin("trees", [one] * 9)
    assert found == Margin(family="trees", memory_bytes=1.2, train_time_s=1.0, latency_s=1.0, runs=9, coverage=None)


def test_coverage_is_counted_over_earlier_bounds() -> None:
    """Nine runs at 1.0, then 1.5 (over its bound), then 1.0 (under it): of three resources, only memory misses once."""
    same = {"memory_bytes": 1.0, "train_time_s": 1.0, "latency_s": 1.0}
    found = margin("network", [*[same] * 9, {**same, "memory_bytes": 1.5}, same])
    assert found is not None
    assert found.coverage == pytest.approx(5 / 6, abs=1e-4)


def test_bounds_and_limits_are_the_same_statement() -> None:
    cost = Cost(parameters=10, memory_bytes=1000, train_time_s=3.0, latency_s=0.01)
    assert bounded(cost, HALF) == Cost(parameters=10, memory_bytes=1500, train_time_s=6.0, latency_s=0.01)
    assert tightened(Envelope(memory_bytes=1500, train_time_s=6.0), HALF) == Envelope(
        memory_bytes=1000, train_time_s=3.0
    )
    assert bounded(cost, None) is cost


def test_a_residual_counts_the_epochs_that_were_trained(toy: Any) -> None:
    trained = toy.fitted(toy.table("binary"), epochs=4, patience=9).trained
    half = replace(trained, history=trained.history[:2])
    predicted, measured = trained.predicted, trained.measured
    assert residual(half)["train_time_s"] == pytest.approx(
        measured.train_time_s / (predicted.train_time_s / 2), rel=1e-4
    )
    assert residual(half)["memory_bytes"] == pytest.approx(measured.memory_bytes / predicted.memory_bytes, rel=1e-4)


@pytest.mark.parametrize("family", ["network", "trees", "auto", "blend"])
@pytest.mark.parametrize("resource", ["memory_bytes", "train_time_s", "latency_s"])
def test_a_plan_fits_with_its_bound(toy: Any, family: Any, resource: str) -> None:
    problem = toy.problem({"a": "numeric", "b": "numeric", "c": "categorical"})
    taught = replace(toy.machine, margins=(replace(HALF, latency_s=1.2), replace(HALF, family="trees", latency_s=1.3)))

    def made(machine: Any, envelope: Envelope) -> Any:
        return plan_family(
            toy.attention(problem),
            envelope,
            toy.config(training__family=family),
            machine,
            train_rows=2000,
            validation_rows=300,
        )

    free = made(toy.machine, Envelope())
    assert free.bound is None
    for share in (1.0, 0.8):
        value = getattr(free.predicted, resource) * share
        envelope = Envelope(**{resource: int(value) if resource == "memory_bytes" else value})
        try:
            plan = made(taught, envelope)
        except PlanInfeasible:
            continue
        assert plan.envelope == envelope
        assert plan.bound is not None
        if family != "auto":  # each alone fits; of both together one is kept
            if family != "blend":
                assert getattr(plan.bound, resource) <= getattr(envelope, resource)
            assert getattr(plan.bound, resource) > getattr(plan.predicted, resource)
        assert any("Limits are kept by bounds" in reason for reason in plan.reasons)
