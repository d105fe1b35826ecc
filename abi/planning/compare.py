"""Two plans side by side: what each feature has, the layers, how they run, what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from abi.execution.compare import differing, members, on_cluster
from abi.planning.on_devices import on_devices
from abi.planning.worth import expected_gain, weights_of
from abi.types import Attention, Cost, Plan
from abi.units import show_count
from abi.values import Value

DIGITS: Final = 9
LIMITS: Final = {
    "parameters": "parameters",
    "memory": "memory_bytes",
    "train_time": "train_time_s",
    "latency": "latency_s",
}
"""Names that users write -> fields of Envelope and Cost."""
SMALLEST: Final = 5e-4
"""A relative gain below this is none."""
BACKBONE: Final = ("members", "blocks", "block_width")
TREES: Final = (
    "rounds",
    "leaves",
    "learning_rate",
    "least_rows",
    "feature_share",
    "row_share",
    "patience",
    "parameters",
)
Counts = tuple[int | None, int | None]
Shares = tuple[float | None, float | None]


@dataclass(frozen=True, kw_only=True)
class FeatureChange(Value):
    """One feature in both plans; None where a plan does not have it, or not in that family."""

    feature: str
    change: Literal["kept", "added", "removed"]
    attention: Shares
    width: Counts
    bins: Counts
    rows: Counts
    parameters: Counts
    tree_bins: Counts
    contribution: Shares

    @property
    def same(self) -> bool:
        """Whether both plans give it the same."""
        pairs = (getattr(self, f.name) for f in fields(self) if f.name not in {"feature", "change"})
        return all(one == other for one, other in pairs)


@dataclass(frozen=True, kw_only=True)
class PlanChange(Value):
    """What differs between two plans.

    Attributes:
        before: title of the first.
        after: of the second.
        same: whether they are one plan.
        family: of both.
        allocation: of both.
        total_variation: share of attention that moved.
        gain: expected gain of both divisions (`abi.planning.worth`).
        features: the most changed first.
        layers: parameters of each part of the network.
        backbone: members, blocks and block width; 0 where there is no network.
        trees: their size, where it differs.
        execution: how they run, where it differs.
        devices: which devices they run on, how many of them, how, and ranked by what, where it differs; nothing where none were asked for.
        envelope: limits, where they differ.
        predicted: cost.
    """

    before: str
    after: str
    same: bool
    family: tuple[str, str]
    allocation: tuple[str, str]
    total_variation: float
    gain: tuple[float, float]
    features: tuple[FeatureChange, ...]
    layers: dict[str, tuple[int, int]]
    backbone: dict[str, tuple[int, int]]
    trees: dict[str, tuple[Any, Any]]
    execution: dict[str, tuple[Any, Any]]
    devices: dict[str, tuple[Any, Any]]
    envelope: dict[str, tuple[Any, Any]]
    predicted: tuple[Cost, Cost]


def compare(before: Plan, after: Plan, titles: tuple[str, str] = ("before", "after")) -> PlanChange:
    """What the second plan has otherwise than the first, of the same data or not."""
    sides = _features(before), _features(after)
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    changes = [_feature(name, sides[0].get(name), sides[1].get(name)) for name in names]
    moved = {c.feature: abs((c.attention[1] or 0.0) - (c.attention[0] or 0.0)) for c in changes}
    grown = {c.feature: abs((c.parameters[1] or 0) - (c.parameters[0] or 0)) for c in changes}
    capacities, layers = (before.capacity, after.capacity), ("feature_extraction", "middle", "output")
    return PlanChange(
        before=titles[0],
        after=titles[1],
        same=before.id == after.id,
        family=(before.family, after.family),
        allocation=(before.allocation, after.allocation),
        total_variation=round(sum(moved.values()) / 2, DIGITS),
        gain=(round(expected_gain(before), DIGITS), round(expected_gain(after), DIGITS)),
        features=tuple(sorted(changes, key=lambda c: (c.same, -moved[c.feature], -grown[c.feature], c.feature))),
        layers={n: (getattr(capacities[0].layers, n), getattr(capacities[1].layers, n)) for n in layers},
        backbone={n: (getattr(capacities[0], n), getattr(capacities[1], n)) for n in BACKBONE},
        trees=differing(*(_trees(plan) for plan in (before, after))),
        execution=differing(members(before.execution), members(after.execution)),
        devices=differing(_on(before), _on(after)),
        envelope=differing(members(before.envelope), members(after.envelope)),
        predicted=(before.predicted, after.predicted),
    )


def _on(plan: Plan) -> dict[str, Any]:
    """Which devices a plan runs on and how; nothing where none were asked for."""
    planned = on_devices(plan)
    if planned is None:
        return {}
    return {**on_cluster(planned.cluster), **members(planned.configuration), "objective": planned.objective}


def changes(before: Plan, after: Plan) -> str:
    """What a person would name first: ``'backbone 2 x 96 in place of 2 x 64, 8 epochs in place of 6'``; empty where nothing."""
    said = []
    sizes = [f"{p.capacity.blocks} x {p.capacity.block_width}" for p in (before, after)]
    pairs = {
        "{} in place of {}": (before.family, after.family),
        "backbone {} in place of {}": (sizes[0], sizes[1]),
        "{} members in place of {}": (before.capacity.members, after.capacity.members),
        "{} epochs in place of {}": (before.execution.epochs, after.execution.epochs),
        "steps in parts of {} rows in place of {}": (before.execution.part_rows, after.execution.part_rows),
    }
    if before.capacity.empty and after.capacity.empty:  # of trees alone epochs and parts are rounds and all rows
        pairs = {}
    if before.trees is not None and after.trees is not None:
        pairs["{} rounds in place of {}"] = (before.trees.rounds, after.trees.rounds)
        pairs["{} leaves in place of {}"] = (before.trees.leaves, after.trees.leaves)
        bins = [sum(f.bins for f in t.features) for t in (before.trees, after.trees)]
        pairs["{} bins in place of {}"] = (bins[0], bins[1])
    said += [words.format(new, old) for words, (old, new) in pairs.items() if old != new]
    widths = sum(a != b for a, b in zip(_widths(before), _widths(after), strict=False))
    if widths:
        said.append(f"{widths} other width{'s' if widths > 1 else ''}")
    if not said and before.predicted.parameters != after.predicted.parameters:
        said.append(
            f"{show_count(after.predicted.parameters)} parameters in place of {show_count(before.predicted.parameters)}"
        )
    return ", ".join(said)


def relative_gain(before: Plan, after: Plan) -> float:
    """By which share the second division is worth more; 0 where one has a network and the other has not."""
    if before.capacity.empty != after.capacity.empty:
        return 0.0
    whole = expected_gain(before)
    return expected_gain(after) / whole - 1 if whole > 0 else 0.0


def gain_words(before: Plan, after: Plan) -> str:
    """``'+0.4% expected gain of the widths'``; the backbone does not count in it."""
    gain = relative_gain(before, after)
    what = f"expected gain of the {'bins' if before.capacity.empty or after.capacity.empty else 'widths'}"
    return f"{gain:+.1%} {what}" if abs(gain) >= SMALLEST else f"the same {what}"


def _widths(plan: Plan) -> list[tuple[int, int, int]]:
    return [(f.width, f.rows, f.entries) for f in plan.capacity.features]


def _attention(plan: Plan) -> dict[str, float]:
    alone: Attention = plan.attention
    return {w.feature: w.weight for w in weights_of(alone, plan.family)}


def _features(plan: Plan) -> dict[str, dict[str, Any]]:
    network = {f.feature: f for f in plan.capacity.features}
    trees = {f.feature: f for f in plan.trees.features} if plan.trees is not None else {}
    found: dict[str, dict[str, Any]] = {}
    for name, weight in _attention(plan).items():
        held = {"attention": weight}
        if name in network:
            held |= {key: getattr(network[name], key) for key in ("width", "bins", "rows", "parameters")}
        if name in trees:
            held |= {"tree_bins": trees[name].bins, "contribution": trees[name].contribution}
        found[name] = held
    return found


def _feature(name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> FeatureChange:
    one, other = before or {}, after or {}
    change: Literal["kept", "added", "removed"] = "added" if before is None else "removed" if after is None else "kept"
    keys = [f.name for f in fields(FeatureChange) if f.name not in {"feature", "change"}]
    return FeatureChange(feature=name, change=change, **{key: (one.get(key), other.get(key)) for key in keys})


def _trees(plan: Plan) -> dict[str, Any]:
    return {name: value for name, value in members(plan.trees).items() if name in TREES}
