"""Where nothing fits: the envelopes next to the one asked for in which a plan does, each of them solved."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from abi.errors import PlanInfeasible
from abi.execution.demands import write_limit
from abi.planning.compare import LIMITS
from abi.planning.planner import Planner
from abi.planning.prices import with_limit
from abi.planning.trail import Trail
from abi.planning.what_if import PARSE
from abi.types import Attention, Cost, Envelope, Family, Plan
from abi.units import show_count

SHOWN: Final = 3
TRIED: Final = 6
"""Of the even splits' costs, about so many are tried where there is too little to show."""
HALVINGS: Final = 4
"""How often what lies between the envelope and the least known to do is halved, where a split of attention's may need less."""
CLOSE: Final = 1.05
"""A limit that lies this near to what is known to do is near enough."""
LARGER: Final = (1.25, 1.5, 2.0, 3.0, 4.0, 8.0)
"""Where fewer ways than are shown were found, so many times the nearest."""


@dataclass(frozen=True)
class Nearest:
    """An envelope in which a plan fits.

    Attributes:
        envelope: all of it.
        plan: what fits.
        text: what to change, as a user would write it.
        relaxed: sum over the limits of log(new / old).
    """

    envelope: Envelope
    plan: Plan
    text: str
    relaxed: float


Solve = Callable[[Envelope], Plan | None]


def nearest(planner: Planner, attention: Attention, family: Family | None, envelope: Envelope) -> tuple[Nearest, ...]:
    """At most three, the least relaxed first: one for each least set of limits, then larger ones of the nearest."""

    def solve(limits: Envelope) -> Plan | None:
        try:
            return planner.divide(attention, family, envelope=limits)
        except PlanInfeasible:
            return None

    trail = Trail(planner.machine.solver)
    try:
        planner.divide(attention, family, envelope=envelope, trail=trail)
    except PlanInfeasible:
        pass
    else:
        return ()
    costs = [tried.cost for tried in trail.sizes]
    exact = (family or planner.config.training.family) == "network" and not attention.frugal
    found = list(_least(envelope, solve, costs, exact=exact))
    found += _larger(envelope, solve, costs, found)
    return tuple(sorted(found, key=lambda n: (n.relaxed, n.text)))[:SHOWN]


def refused(error: PlanInfeasible, near: Sequence[Nearest]) -> PlanInfeasible:
    """The same error with what would do in place of the smallest that would."""
    if not near:
        return error
    head = str(error).partition(" The smallest that would do: ")[0]
    traced, named, _ = head.partition(": the nearest that fit are ")
    head = f"{traced}." if named else head
    ways = "; ".join(f"{n.text} ({described(n.plan)})" for n in near)
    return PlanInfeasible(f"{head} The nearest that fit: {ways}.", error.parameters, tuple(near))


def described(plan: Plan) -> str:
    """``'1 x 16 with 2 members, 1.06k parameters'``."""
    said = []
    if not plan.capacity.empty:
        c = plan.capacity
        size = f"{c.blocks} x {c.block_width} with {c.members}" if c.blocks else f"a head with {c.members}"
        said.append(f"{size} member{'s' if c.members > 1 else ''}")
    if plan.trees is not None:
        t = plan.trees
        bins = show_count(sum(f.bins for f in t.features))
        said.append(f"{t.rounds} round{'s' if t.rounds > 1 else ''} of {t.leaves} leaves and {bins} bins")
    return f"{' beside '.join(said)}, {show_count(plan.predicted.parameters)} parameters"


def _least(envelope: Envelope, solve: Solve, costs: Sequence[Cost], *, exact: bool) -> Iterator[Nearest]:
    """For each least set of limits that has to give, the least that does."""
    limits = [name for name, field in LIMITS.items() if getattr(envelope, field) is not None]
    done: list[set[str]] = []
    for count in range(1, len(limits) + 1):
        rest = [name for name in limits if {name} not in done]
        if count > 1 and (not rest or solve(_without(envelope, rest)) is None):
            return
        for names in itertools.combinations(limits, count):
            if any(less <= set(names) for less in done):
                continue
            wide = _enough(envelope, names, solve, costs)
            if wide is None:
                continue
            done.append(set(names))
            found = _written(envelope, names, wide if exact else _closer(envelope, names, wide, solve), solve)
            if found is not None:
                yield found


def _enough(envelope: Envelope, names: Sequence[str], solve: Solve, costs: Sequence[Cost]) -> Envelope | None:
    """An envelope that does, with only these limits raised: the smallest even split's, or what a free plan takes."""
    others = [field for name, field in LIMITS.items() if name not in names and getattr(envelope, field) is not None]
    kept = [c for c in costs if all(getattr(c, field) <= getattr(envelope, field) for field in others)]
    known = [_raised(envelope, names, cost) for cost in kept]
    for limits in sorted(known, key=lambda e: _relaxed(envelope, e))[:1]:
        if solve(limits) is not None:
            return limits
    plan = solve(_without(envelope, names))
    if plan is None:
        return None
    limits = _raised(envelope, names, plan.bound or plan.predicted)
    return limits if solve(limits) is not None else None


def _without(envelope: Envelope, names: Sequence[str]) -> Envelope:
    for name in names:
        envelope = with_limit(envelope, name, None)
    return envelope


def _raised(envelope: Envelope, names: Sequence[str], cost: Cost) -> Envelope:
    for name in names:
        asked = max(getattr(envelope, LIMITS[name]), getattr(cost, LIMITS[name]))
        envelope = with_limit(envelope, name, asked)
    return envelope


def _closer(envelope: Envelope, names: Sequence[str], wide: Envelope, solve: Solve) -> Envelope:
    """Halve what lies between, on a scale of ratios, all of these limits by the same share of it."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        if _relaxed(envelope, wide) * (high - low) <= math.log(CLOSE):
            break
        middle = (low + high) / 2
        if solve(_between(envelope, wide, names, middle)) is not None:
            high = middle
        else:
            low = middle
    return _between(envelope, wide, names, high)


def _between(envelope: Envelope, wide: Envelope, names: Sequence[str], share: float) -> Envelope:
    found = wide
    for name in names if share < 1 else ():
        old, new = getattr(envelope, LIMITS[name]), getattr(wide, LIMITS[name])
        found = with_limit(found, name, old * (new / old) ** share)
    return found


def _written(envelope: Envelope, names: Sequence[str], wide: Envelope, solve: Solve) -> Nearest | None:
    """As a user would write it, solved as it is written."""
    texts = {n: write(n, getattr(wide, LIMITS[n])) for n in names}
    written = wide
    for name, text in texts.items():
        written = with_limit(written, name, PARSE[name](text))
    plan = solve(written)
    if plan is None:
        return None
    said = " and ".join(f"{name}={text}" for name, text in texts.items())
    return Nearest(written, plan, said, _relaxed(envelope, written))


def write(name: str, value: float | int) -> str:
    """At least `value`, with three or four digits: ``21.9k``."""
    if name != "parameters":
        return write_limit(name, value)
    unit, size = next((u, s) for u, s in (("M", 1e6), ("k", 1e3), ("", 1.0)) if value >= s or s == 1)
    return f"{math.ceil(value / size * 100) / 100:g}{unit}" if unit else f"{math.ceil(value)}"


def _relaxed(envelope: Envelope, wider: Envelope) -> float:
    pairs = [(getattr(envelope, field), getattr(wider, field)) for field in LIMITS.values()]
    return sum(math.log(new / old) for old, new in pairs if old is not None and new is not None)


def _larger(envelope: Envelope, solve: Solve, costs: Sequence[Cost], found: Sequence[Nearest]) -> list[Nearest]:
    """More of what the nearest way raises, where that is another plan: so many times it, or what even splits take."""
    if not found or len(found) >= SHOWN:
        return []
    first = min(found, key=lambda n: (n.relaxed, n.text))
    names = [n for n, field in LIMITS.items() if getattr(first.envelope, field) != getattr(envelope, field)]
    times = [_times(first.envelope, names, t) for t in LARGER]
    even = sorted((_raised(first.envelope, names, c) for c in costs), key=lambda e: _relaxed(envelope, e))
    more: list[Nearest] = []
    seen = [n.plan.predicted for n in found]
    for wide in [*times, *even[:: max(1, len(even) // TRIED)]]:
        if len(found) + len(more) >= SHOWN:
            break
        larger = _written(envelope, names, wide, solve)
        if larger is not None and larger.plan.predicted not in seen:
            seen.append(larger.plan.predicted)
            more.append(larger)
    return more


def _times(envelope: Envelope, names: Sequence[str], times: float) -> Envelope:
    for name in names:
        envelope = with_limit(envelope, name, times * getattr(envelope, LIMITS[name]))
    return envelope
