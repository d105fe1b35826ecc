"""The envelope divided among the trees' features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abi.errors import PlanInfeasible, UsageError
from abi.planning.family import plan_family
from abi.planning.trees import ID_VALUES, plan_trees, share_bins
from abi.trees_capacity import Pair
from abi.types import NO_NETWORK, Envelope, TreesAttention


def _made(toy: Any, *, values: Any = None, temperature: Any = None, allocation: str = "attention", task: str = "binary", kinds: Any = None, statistics: bool = False, pairs: Any = (), distinct: Any = 1000, trees: Any = None, **envelope: Any) -> Any:  # fmt: skip
    problem = toy.problem(kinds or {"a": "numeric", "b": "numeric", "c": "categorical"}, task, distinct)
    attention = toy.attention(problem, values, temperature)
    own = TreesAttention(temperature=temperature, weights=attention.weights, statistics=statistics, pairs=pairs)
    return plan_trees(
        replace(attention, trees=own), Envelope(**envelope), toy.config(**(trees or {})).training.trees, toy.machine,
        allocation=allocation, train_rows=5000, validation_rows=500,
    )  # fmt: skip


def test_the_even_twin_has_the_same_of_everything(toy: Any) -> None:
    size = _made(toy).capacity
    assert {f.contribution for f in size.features} == {1.0}
    assert {f.bins for f in size.features} == {255}


def test_contributions_follow_attention_and_the_most_attended_counts_in_full(toy: Any) -> None:
    made = _made(toy, values=[0.9, 0.5, 0.1], temperature=0.4)
    plain = _made(toy, values=[0.9, 0.5, 0.1], temperature=0.4, allocation="even")
    gains = [f.contribution for f in made.capacity.features]
    assert gains[0] == 1.0
    assert gains == sorted(gains, reverse=True)
    assert gains[2] < 0.5
    assert {f.contribution for f in plain.capacity.features} == {1.0}
    assert made.predicted == plain.predicted


def test_a_pair_counts_as_much_as_its_features_in_the_geometric_mean(toy: Any) -> None:
    kinds = {"a": "categorical", "b": "categorical", "c": "numeric"}
    pairs = (Pair(("a", "b"), 300),)
    made = _made(toy, values=[0.9, 0.5, 0.1], temperature=0.4, kinds=kinds, statistics=True, pairs=pairs)
    single = _made(toy, values=[0.9, 0.5, 0.1], temperature=0.4, kinds=kinds, statistics=True)
    first, second, _ = (f.contribution for f in made.capacity.features)
    assert made.capacity.pairs[0].contribution == pytest.approx((first * second) ** 0.5, abs=1e-4)
    assert made.capacity.parameters == single.capacity.parameters + 2 * 300
    assert made.predicted.memory_bytes > single.predicted.memory_bytes
    assert made.predicted.train_time_s > single.predicted.train_time_s
    assert "1 pair of categories with 300 values" in made.reasons[1]


def test_bins_follow_attention_within_the_even_twins_sum(toy: Any) -> None:
    sixty = {"training__trees__bins": 60}
    bins = [f.bins for f in _made(toy, values=[0.9, 0.5, 0.1], temperature=0.4, trees=sixty).capacity.features]
    assert bins[0] > 60 > bins[2]
    assert sum(bins) <= 180


def test_square_roots_share_the_bins() -> None:
    assert share_bins([0.64, 0.16, 0.04], [40, 40, 40], [255, 255, 255]) == [68, 34, 17]
    # the first is full at 50, and the rest is shared 2 to 1
    assert share_bins([0.64, 0.16, 0.04], [40, 40, 40], [50, 255, 255]) == [50, 46, 23]


@given(st.lists(st.tuples(st.floats(1e-6, 1), st.integers(2, 255)), min_size=1, max_size=12), st.integers(2, 255))
def test_shared_bins_stay_within_sum_and_caps(parts: list[tuple[float, int]], even: int) -> None:
    most = [m for _, m in parts]
    twins = [min(even, m) for m in most]
    found = share_bins([w for w, _ in parts], twins, most)
    assert sum(found) <= sum(twins)
    assert all(min(8, t) <= b <= m for b, m, t in zip(found, most, twins, strict=True))


@pytest.mark.parametrize("limit", [300, 2_000, 20_000])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_trees_fit_the_parameters(toy: Any, limit: int, task: str) -> None:
    size = _made(toy, task=task, parameters=limit).capacity
    outputs = 3 if task == "multiclass" else 1
    assert size.rounds * outputs * (2 * size.leaves - 1) == size.parameters <= limit
    assert size.learning_rate <= 0.3


def test_less_memory_means_fewer_bins(toy: Any) -> None:
    plenty = _made(toy).predicted.memory_bytes
    assert {f.bins for f in _made(toy, memory_bytes=plenty - 1).capacity.features} == {127}


def test_what_fits_nowhere_names_the_smallest_that_would(toy: Any) -> None:
    with pytest.raises(PlanInfeasible, match="parameters=3,"):
        _made(toy, parameters=2)


def test_only_ids_become_statistics(toy: Any) -> None:
    kinds = {"few": "categorical", "id": "categorical", "x": "numeric"}
    distinct = {"few": ID_VALUES, "id": ID_VALUES + 1, "x": 9}
    size = _made(toy, kinds=kinds, distinct=distinct, statistics=True).capacity
    assert [f.treatment for f in size.features] == ["categories", "statistics", "numeric"]
    assert [f.bins for f in size.features][2] == 9


def _family(toy: Any, kinds: dict[str, str], setting: str, **envelope: Any) -> Any:
    config = toy.config(training__family=setting)
    attention = toy.attention(toy.problem(kinds))
    return plan_family(attention, Envelope(**envelope), config, toy.machine, train_rows=180, validation_rows=60)


def test_each_family_is_planned_with_what_it_needs(toy: Any) -> None:
    kinds = {"a": "numeric", "c": "categorical"}
    network, trees, both = (_family(toy, kinds, name) for name in ("network", "trees", "auto"))
    assert (network.family, network.trees) == ("network", None)
    assert (trees.family, trees.capacity) == ("trees", NO_NETWORK)
    assert (both.family, both.capacity, both.trees) == ("auto", network.capacity, trees.trees)
    assert both.predicted.parameters == network.predicted.parameters + trees.predicted.parameters


def test_auto_takes_the_family_that_fits(toy: Any) -> None:
    kinds = {f"x{i}": "numeric" for i in range(30)}
    plan = _family(toy, kinds, "auto", parameters=200)
    assert (plan.family, plan.capacity) == ("trees", NO_NETWORK)
    assert "no network fits" in plan.reasons[-1]
    with pytest.raises(PlanInfeasible):
        _family(toy, kinds, "auto", parameters=2)


def test_a_blend_leaves_room_for_both(toy: Any) -> None:
    kinds = {"a": "numeric", "c": "categorical"}
    limit = _family(toy, kinds, "network").predicted.parameters + 1
    plan = _family(toy, kinds, "blend", parameters=limit)
    assert plan.capacity.layers.middle > 0
    assert sum(vars(plan.capacity.layers).values()) <= 0.75 * limit


def test_text_is_for_the_network_alone(toy: Any) -> None:
    attention = toy.attention(toy.problem({"a": "numeric", "c": "categorical"}))
    object.__setattr__(attention.scores.problem.schema.features[1], "kind", "text")
    size = {"train_rows": 180, "validation_rows": 60}
    plan = plan_family(attention, Envelope(), toy.config(training__family="auto"), toy.machine, **size)
    assert (plan.family, plan.trees) == ("network", None)
    assert "for the network alone" in plan.reasons[-1]
    with pytest.raises(UsageError, match="texts or pictures in 'c'"):
        plan_family(attention, Envelope(), toy.config(training__family="trees"), toy.machine, **size)
