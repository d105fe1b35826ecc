"""When the loop of rounds ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from abi.outcomes import Trained
from abi.training.rounds import best_round, converge, decide, plan_change
from abi.types import Cost, Plan, Pruning, Trial


@pytest.fixture(scope="module", name="plan")
def _plan(toy: Any) -> Plan:
    return toy.plan(toy.problem({"a": "numeric", "b": "numeric"}))


def _widths(plan: Plan, *widths: int) -> Plan:
    features = tuple(replace(f, width=w) for f, w in zip(plan.capacity.features, widths, strict=True))
    return replace(plan, capacity=replace(plan.capacity, features=features))


def _trained(plan: Plan, loss: float, seconds: float = 1.0) -> Trained:
    return Trained(
        plan=plan,
        seed=0,
        artifact="",
        best_epoch=1,
        stopped="finished",
        loss=loss,
        metric=0.5,
        measured=Cost(parameters=1, memory_bytes=1, train_time_s=seconds, latency_s=1e-3),
        attention=(0.5, 0.5),
        history=(),
    )


def test_plan_change_is_the_share_of_width_that_moves(plan: Plan) -> None:
    assert plan_change(_widths(plan, 8, 8), _widths(plan, 12, 4)) == 0.25
    assert plan_change(_widths(plan, 8, 8), _widths(plan, 8, 8)) == 0.0
    assert plan_change(_widths(plan, 16, 0), _widths(plan, 0, 16)) == 1.0


@pytest.mark.parametrize(
    ("moved", "after", "converged"), [(0.2, (12, 4), False), (0.2, (8, 8), True), (0.009, (12, 4), True)]
)
def test_attention_has_converged_where_it_or_the_plan_hardly_moves(
    toy: Any, plan: Plan, moved: float, after: tuple[int, int], converged: bool
) -> None:
    following = replace(plan.attention, moved=moved)
    found = converge(following, _widths(plan, 8, 8), _widths(plan, *after), toy.config())
    assert (found.movement, found.plan_change, found.converged) == (moved, 0.25 if after == (12, 4) else 0.0, converged)


def test_it_goes_on_while_the_plan_moves(toy: Any, plan: Plan) -> None:
    config = toy.config(iterate__rounds=3)
    assert decide([_trained(_widths(plan, 8, 8), 0.5)], _widths(plan, 12, 4), config) == (
        True,
        "25% of the widths move",
    )


@pytest.mark.parametrize(
    ("losses", "after", "settings", "reason"),
    [
        ([0.5, 0.4, 0.3], (12, 4), {"iterate__rounds": 3}, "all 3 rounds are used"),
        ([0.5, 0.4999], (12, 4), {"iterate__tolerance": 0.01}, "changed the validation loss by -0.02%"),
        ([0.5, 0.6], (12, 4), {}, r"changed the validation loss by \+20.00%"),
        ([0.5, 0.3, 0.4], (12, 4), {"iterate__rounds": 9}, r"changed the validation loss by \+33.33%"),
        ([0.5], (8, 8), {}, "the plan would move only 0.0% of the widths"),
        ([0.5], (12, 4), {"iterate__time": "3s"}, "another round and its control would take 4 s of 3 s"),
        ([0.5], (12, 4), {"envelope__run_time": "25s"}, "another round and its control would take 4 s of 2.5 s"),
        ([0.5], (12, 4), {"envelope__run_time": "27s", "training__refit": True}, "would take 6 s of 4.3 s"),
    ],
)
def test_it_ends_and_says_why(
    toy: Any, plan: Plan, losses: list[float], after: tuple[int, int], settings: dict[str, Any], reason: str
) -> None:
    import re

    rounds = [_trained(_widths(plan, 8, 8), loss) for loss in losses]
    goes_on, why = decide(rounds, _widths(plan, *after), toy.config(**settings))
    assert not goes_on
    assert re.search(reason, why)


def test_many_short_trainings_take_no_more_than_they_may_together(toy: Any, plan: Plan) -> None:
    tried = tuple(Trial(temperature=None, loss=0.5, metric=None) for _ in range(9))
    many = replace(plan, attention=replace(plan.attention, trials=tried))
    goes_on, why = decide([_trained(_widths(many, 8, 8), 0.5)], _widths(plan, 12, 4), toy.config(iterate__time="5s"))
    assert not goes_on
    assert "would take 5.6 s of 5 s" in why  # twice (1 + 1 + 0.8) s


def test_a_loss_of_zero_is_not_divided_by(toy: Any, plan: Plan) -> None:
    rounds = [_trained(_widths(plan, 8, 8), 0.0)] * 2
    assert decide(rounds, _widths(plan, 12, 4), toy.config())[0] is False


def test_the_best_round_is_the_one_with_the_least_loss_and_the_earlier_of_equals(plan: Plan) -> None:
    assert best_round([_trained(plan, loss) for loss in (0.5, 0.3, 0.4, 0.3)]) == 1
    assert best_round([_trained(plan, 0.5)]) == 0


def test_where_a_plan_prunes_attention_moves_it_too(plan: Plan) -> None:
    def pruned(*weights: float) -> Plan:
        own = tuple(replace(w, weight=v) for w, v in zip(plan.attention.weights, weights, strict=True))
        capacity = replace(plan.capacity, pruning=Pruning(parameters=10, macs=10))
        return replace(plan, capacity=capacity, attention=replace(plan.attention, weights=own))

    assert plan_change(pruned(0.5, 0.5), pruned(0.8, 0.2)) == pytest.approx(0.3)
    assert plan_change(pruned(0.5, 0.5), pruned(0.5, 0.5)) == 0.0
