"""What a plan's division is expected to be worth: attention times what each feature's capacity is of use for.

    network: sum_i a_i u_i(width_i), what the solver maximises; u_i is log2(1 + width) until a model has shown otherwise.
        Where attention is frugal, features that tell no more than a shuffled target does count nothing.
    trees: sum_i a_i (1 - 1 / bins_i), the share of each feature's order that its bins keep: with a fixed sum of bins it is
        the largest where bins_i ~ sqrt(a_i), which is how they are shared.

Two plans' worth can be held against each other; it is no forecast of a metric, and does not count the backbone.
"""

from __future__ import annotations

from collections.abc import Sequence

from abi.inputs.kind import ALL_SHARED, CELLS_UNIT
from abi.planning.ladder import measured_utility
from abi.trees_capacity import TreesCapacity
from abi.types import Attention, FeatureCapacity, Plan, Weight


def weights_of(attention: Attention, family: str) -> Sequence[Weight]:
    """The weights that a family's capacity is divided by: trees may have their own."""
    own = attention.trees if family == "trees" else None
    return attention.weights if own is None else own.weights


def expected_gain(plan: Plan) -> float:
    """Of the network's widths, or of the trees' bins where there are only trees."""
    if plan.capacity.empty:
        assert plan.trees is not None
        return bins_worth(plan.attention, plan.trees)
    scores, frugal = plan.attention.scores.features, plan.attention.frugal
    return sum(
        w.weight * measured_utility(units_of(f), score.curve)
        for w, f, score in zip(plan.attention.weights, plan.capacity.features, scores, strict=True)
        if score.carries_signal or not frugal
    )


def bins_worth(attention: Attention, trees: TreesCapacity) -> float:
    """Of the trees' bins."""
    return sum(w.weight * (1 - 1 / f.bins) for w, f in zip(weights_of(attention, "trees"), trees.features, strict=True))


def units_of(given: FeatureCapacity) -> float:
    """What the use of a width is measured in, as `Step.units` has it."""
    if given.entries:
        return given.entries / CELLS_UNIT
    return given.width * (ALL_SHARED if given.shared == given.rows > 0 else 1.0)
