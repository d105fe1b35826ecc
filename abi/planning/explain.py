"""Why a plan is as it is, what binds, what a little more would buy, and what lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from abi.errors import PlanInfeasible
from abi.planning.backbone import FEW_MEMBERS, GOOD_WIDTH, few_members
from abi.planning.compare import LIMITS, changes, gain_words
from abi.planning.on_devices import on_devices
from abi.planning.planner import Planner
from abi.planning.prices import SAID, SHOW, LimitPrice, binding, limit_prices
from abi.planning.relaxation import relax
from abi.planning.steps import NextStep, division, next_steps
from abi.planning.trail import Solved, Trail, TriedSize
from abi.types import Attention, Capacity, Family, Plan
from abi.units import show_count, show_seconds
from abi.values import Value

DIGITS: Final = 9
SHOWN: Final = 3
"""Backbones that are told, of those that were tried and lost."""


@dataclass(frozen=True, kw_only=True)
class Lost(Value):
    """An alternative, and why it is not the plan."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Division(Value):
    """How well the widths were divided.

    Attributes:
        worth: attention times utility, summed over the features.
        bound: of the linear relaxation: no division within the same parameters and width is worth more.
        gap: by which share the worth lies below the bound.
        per_1000_parameters: share by which 1,000 parameters more for widths would raise the worth, by the relaxation.
        per_width: the same for a unit of width more.
    """

    worth: float
    bound: float
    gap: float
    per_1000_parameters: float
    per_width: float


@dataclass(frozen=True, kw_only=True)
class PlanExplanation(Value):
    """What is told of a plan.

    Attributes:
        reasons: a sentence for each choice.
        binding: name of the limit that binds; None where none does.
        bound: what binds, in words.
        prices: of each limit of the envelope.
        division: how near to the best the widths are; None for trees alone and even splits.
        steps: each feature's next step, those first whose next unit brings most.
        alternatives: what lost.
    """

    reasons: tuple[str, ...]
    binding: str | None
    bound: str
    prices: tuple[LimitPrice, ...]
    division: Division | None
    steps: tuple[NextStep, ...]
    alternatives: tuple[Lost, ...]


def explain_plan(planner: Planner, attention: Attention, family: Family | None = None) -> PlanExplanation:
    """Explain the plan that `planner` makes of `attention`: it and its neighbours are made again, nothing is trained.

    Raises:
        PlanInfeasible: there is no plan.
    """
    trail = Trail(planner.machine.solver)
    plan = planner.divide(attention, family, trail=trail)
    prices = limit_prices(plan, lambda envelope: planner.divide(attention, family, envelope=envelope))
    bound = binding(prices)
    return PlanExplanation(
        reasons=plan.reasons,
        binding=None if bound is None else bound.limit,
        bound=_bound(plan, bound),
        prices=prices,
        division=_division(trail, plan),
        steps=next_steps(plan, trail),
        alternatives=(
            *_even(planner, attention, family, plan),
            *_members(planner, attention, family, plan),
            *_backbones(plan, trail),
            *over_devices(plan),
        ),
    )


def _bound(plan: Plan, price: LimitPrice | None) -> str:
    if price is not None:
        show = SHOW[price.limit]
        return f"Binding limit: {SAID[price.limit]}, {show(price.used)} of {show(price.value)}."
    rows = "The plan is what the rows ask for"
    if any(getattr(plan.envelope, name) is not None for name in LIMITS.values()):
        return f"No limit binds: more of none of them would change the plan. {rows}."
    return f"No limit is set, so none binds. {rows}."


def _division(trail: Trail, plan: Plan) -> Division | None:
    if plan.capacity.empty or not trail.solved:
        return None
    solved = division(plan, trail)
    if solved is None or solved not in trail.solved:
        return None
    return measured(solved)


def measured(solved: Solved) -> Division | None:
    """How near to its bound a division is; None where the relaxation has no answer."""
    relaxed, sack = relax(solved.sack), solved.sack
    if relaxed is None:
        return None
    worth = sack.worth(solved.places)
    whole = max(worth, 1e-12)
    return Division(
        worth=round(worth, DIGITS),
        bound=round(relaxed.bound, DIGITS),
        gap=round(max(0.0, 1 - worth / relaxed.bound), DIGITS) if relaxed.bound > 0 else 0.0,
        per_1000_parameters=round(1000 * relaxed.parameter_price / sack.budget / whole, DIGITS),
        per_width=round(relaxed.width_price / sack.width_limit / whole, DIGITS),
    )


def _even(planner: Planner, attention: Attention, family: Family | None, plan: Plan) -> list[Lost]:
    """What the even split would be worth to the same attention."""
    if plan.allocation == "even" or attention.even:
        return []
    try:
        even = planner.divide(attention, family, allocation="even")
    except PlanInfeasible:
        return [Lost(what="the even split", why="fits the envelope in no size")]
    cost = even.predicted
    spent = f"{show_count(cost.parameters)} parameters, {show_seconds(cost.train_time_s)} of training"
    said = ", ".join(filter(None, (changes(plan, even), gain_words(plan, even))))
    return [Lost(what="the even split", why=f"{said}, at {spent}")]


def _members(planner: Planner, attention: Attention, family: Family | None, plan: Plan) -> list[Lost]:
    """The same with few ensemble members."""
    members = plan.capacity.members
    if members <= FEW_MEMBERS:
        return []
    try:
        fewer = planner.divide(attention, family, config=few_members(planner.config))
    except PlanInfeasible:
        return []
    if fewer.capacity.empty or fewer.capacity.members >= members:
        return []
    old, new = plan.predicted, fewer.predicted
    why = (
        f"{gain_words(plan, fewer)}, {new.parameters / old.parameters - 1:+.0%} parameters, "
        f"{new.train_time_s / old.train_time_s - 1:+.0%} training time, but an average over fewer views: on validation rows "
        f"{members} did better where nothing forces fewer"
    )
    size = f"{fewer.capacity.blocks} x {fewer.capacity.block_width}"
    return [Lost(what=f"{fewer.capacity.members} members, backbone {size}", why=why)]


def _backbones(plan: Plan, trail: Trail) -> list[Lost]:
    """What was preferred and did not fit: even splits, then attention's own; the first and the last of each."""
    if plan.capacity.empty:
        return []
    refused = [t for t in trail.sizes if t.short is not None]
    sizes = [Lost(what=f"an even split on {_size(t)}", why=f"exceeds {t.short}") for t in _ends(refused)]
    splits = [
        Lost(what=f"a split on {_named(t.capacity)}", why=f"exceeds {t.short}")
        for t in trail.splits
        if t.short is not None
    ]
    return [*sizes, *splits[:SHOWN], *_narrow(plan, trail)[:SHOWN]]


def _narrow(plan: Plan, trail: Trail) -> list[Lost]:
    """Backbones that would leave features too little width."""
    found = []
    chosen = plan.capacity
    tried = {_named(t.capacity) for t in trail.splits} | {_named(chosen)}
    for s in trail.solved:
        widths = [row[at].width for row, at in zip(s.sack.ladders, s.places, strict=True) if row[at].width]
        name = f"{s.backbone.blocks} x {s.backbone.width} with {s.backbone.members} members"
        if widths and name not in tried and sum(widths) < GOOD_WIDTH * len(widths):
            tried.add(name)
            mean = sum(widths) / len(widths)
            why = (
                f"leaves features a width of {mean:.1f} on average, below {GOOD_WIDTH}: a narrower backbone comes first"
            )
            found.append(Lost(what=f"a split on {name}", why=why))
    return found


def over_devices(plan: Plan) -> list[Lost]:
    """What plans of modules choose among on several devices, and plans of own networks do not."""
    planned = on_devices(plan)
    if planned is None or planned.cluster.count == 1:
        return []
    small = "their weights are a small part of what lies on a device, and are read beside the layers that own them"
    return [
        Lost(what="FSDP", why=f"is not planned for own networks: {small}"),
        Lost(what="loader workers", why="would have nothing to do: all rows lie on each device"),
    ]


def _ends(tried: list[TriedSize]) -> list[TriedSize]:
    return tried if len(tried) <= 2 else [tried[0], tried[-1]]  # noqa: PLR2004 - the first and the last


def _size(tried: TriedSize) -> str:
    b = tried.backbone
    return f"{b.blocks} x {b.width} with {b.members} members and width {tried.width}"


def _named(capacity: Capacity) -> str:
    return f"{capacity.blocks} x {capacity.block_width} with {capacity.members} members"
