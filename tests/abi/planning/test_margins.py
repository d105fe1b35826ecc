"""Margins over predictions: one-sided conformal bounds from what earlier runs took."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.errors import PlanInfeasible
from abi.planning.family import plan_family
from abi.planning.machine import Machine
from abi.planning.margins import CALIBRATED, FIGURES, MEASURED, Margin, bounded, margin, residual, tightened
from abi.types import Cost, Envelope

HALF = Margin(family="network", memory_bytes=1.5, train_time_s=2.0, latency_s=1.0, runs=12, coverage=0.75)


TWICE = {"memory_bytes": 1.09, "train_time_s": 1.9, "latency_s": 1.45}


def test_a_prior_fades_evenly_until_runs_suffice() -> None:
    """Of 0.9 and 0.45 above the prediction a ninth goes with each run; 1.2x the memory was seen, so it stays."""
    one = {"memory_bytes": 1.2, "train_time_s": 1.0, "latency_s": 0.5}
    factors = [
        (m.memory_bytes, m.train_time_s, m.latency_s) for m in (margin("trees", [one] * n, TWICE) for n in range(10))
    ]
    assert factors[0] == (1.09, 1.9, 1.45)
    assert factors[1] == pytest.approx((1.2, 1.8, 1.4))
    assert factors[8] == pytest.approx((1.2, 1.1, 1.05))
    assert factors[9] == (1.2, 1.0, 1.0)
    assert margin("trees", [*[one] * 8, {"memory_bytes": 1.0}], TWICE).runs == 8
    found = margin("trees", [one] * 9)
    assert found == Margin(family="trees", memory_bytes=1.2, train_time_s=1.0, latency_s=1.0, runs=9, coverage=None)


def test_the_ninth_run_moves_a_bound_no_more_than_the_prior_that_was_left() -> None:
    """From the largest residual to the conformal bound, which for nine is the largest as well."""
    slow = [{"memory_bytes": 1.0, "train_time_s": t, "latency_s": t} for t in (1.0, 2.5, 1.2)] * 3
    assert margin("network", slow[:1]).latency_s == pytest.approx(1.8)
    assert [margin("network", slow[:n]).latency_s for n in range(2, 10)] == [2.5] * 8
    assert [margin("network", slow[:n]).train_time_s for n in range(7, 10)] == [1.0, 1.0, 2.5]  # it has no prior


@pytest.mark.parametrize("prior", [MEASURED, FIGURES, CALIBRATED])
def test_what_is_known_of_a_device_narrows_a_prior(prior: Any) -> None:
    assert 1 < CALIBRATED["latency_s"] <= prior["latency_s"] <= MEASURED["latency_s"]
    assert (prior["train_time_s"] > 1) == (prior is not MEASURED)
    assert set(prior) == {"memory_bytes", "train_time_s", "latency_s"}
    assert all(factor >= 1 for factor in prior.values())


def test_coverage_is_counted_over_earlier_bounds() -> None:
    """Nine runs at 1.0, then 1.5 (over its bound), then 1.0 (under it): of three resources, only memory misses once."""
    same = {"memory_bytes": 1.0, "train_time_s": 1.0, "latency_s": 1.0}
    found = margin("network", [*[same] * 9, {**same, "memory_bytes": 1.5}, same])
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


def _planned(toy: Any, machine: Any, envelope: Envelope, family: Any = "network") -> Any:
    """With the usual number of epochs, of which a limit of time leaves fewer."""
    problem = toy.problem({"a": "numeric", "b": "numeric", "c": "categorical"})
    config = toy.config(training__family=family, training__epochs=None)
    return plan_family(toy.attention(problem), envelope, config, machine, train_rows=2000, validation_rows=300)


def test_on_a_device_that_is_not_here_a_plan_has_time_to_spare_and_says_why(toy: Any) -> None:
    new = replace(toy.machine, margins=(margin("network", prior=FIGURES), margin("trees", prior=FIGURES)))
    limit = _planned(toy, toy.machine, Envelope()).predicted.train_time_s
    bare, held = (_planned(toy, machine, Envelope(train_time_s=limit)) for machine in (toy.machine, new))
    assert bare.bound is None
    assert held.execution.epochs == int(bare.execution.epochs / FIGURES["train_time_s"])
    assert held.bound.train_time_s == pytest.approx(1.9 * held.predicted.train_time_s, rel=1e-5)
    assert held.bound.train_time_s <= limit
    assert (
        "Limits are kept by bounds of 1.90x the predicted time, 1.90x the predicted latency until 9 trainings of a network "
        "have been measured here; time is of all that are planned, also where patience ends them sooner."
    ) in held.reasons
    assert not any("Limits are kept" in reason for reason in bare.reasons)


def test_where_training_keeps_to_its_time_a_first_plan_has_all_of_it(toy: Any) -> None:
    new = replace(toy.machine, margins=(margin("network"), margin("trees")))
    limit = _planned(toy, toy.machine, Envelope()).predicted.train_time_s
    bare, held = (_planned(toy, machine, Envelope(train_time_s=limit)) for machine in (toy.machine, new))
    assert held.execution == bare.execution
    assert held.bound.train_time_s == held.predicted.train_time_s
    assert held.bound.latency_s == pytest.approx(1.9 * held.predicted.latency_s, rel=1e-5)
    assert any("slower than predicted shortens its schedule" in reason for reason in held.reasons)


def test_with_no_limit_that_it_could_touch_a_prior_changes_nothing_and_is_not_told(toy: Any) -> None:
    new = replace(toy.machine, margins=(margin("network"), margin("trees")))
    for family in ("network", "trees", "auto"):
        free, bare = (_planned(toy, m, Envelope(parameters=10**6), family) for m in (new, toy.machine))
        assert free.bound is not None
        assert replace(free, bound=None).canonical() == bare.canonical()


def test_trees_keep_their_own_prior(toy: Any) -> None:
    limit = _planned(toy, toy.machine, Envelope(), "trees").predicted.train_time_s
    new = replace(toy.machine, margins=(margin("network"), margin("trees", [{"memory_bytes": 1.0, "train_time_s": 1.5, "latency_s": 1.0}] * 3, FIGURES)))  # fmt: skip
    held = _planned(toy, new, Envelope(train_time_s=limit), "trees")
    assert held.bound.train_time_s == pytest.approx(
        1.6 * held.predicted.train_time_s, rel=1e-5
    )  # six of nine parts of 0.9
    assert held.bound.train_time_s <= limit
    assert any("9 trainings of trees have been measured here, 3 so far" in reason for reason in held.reasons)


def test_what_was_planned_before_there_was_a_prior_is_planned_the_same(toy: Any) -> None:
    """A recorded machine has no margins where fewer than nine runs were known; its JSON does not change."""
    plain = toy.machine.to_json()
    assert "margins" not in plain
    limit = _planned(toy, toy.machine, Envelope()).predicted.train_time_s / 2
    again = _planned(toy, Machine.from_json(plain), Envelope(train_time_s=limit))
    assert limit / 1.2 < again.predicted.train_time_s <= limit
    assert again.bound is None
    assert "bound" not in again.to_json()
