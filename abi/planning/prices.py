"""What a little more or less of each limit is worth: the envelope is divided again, nothing is extrapolated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from abi.errors import PlanInfeasible
from abi.planning.compare import LIMITS, changes, gain_words, relative_gain
from abi.types import Envelope, Plan
from abi.units import show_bytes, show_count, show_seconds
from abi.values import Value

STEP: Final = 0.05
GROWTH: Final = (1.25, 2.0, 4.0)
"""Where 5% more changes nothing, so many times the limit are tried, and what lies between."""
HALVINGS: Final = 3
SHOW: Final = {"parameters": show_count, "memory": show_bytes, "train_time": show_seconds, "latency": show_seconds}
SAID: Final = {"parameters": "parameters", "memory": "memory", "train_time": "training time", "latency": "latency"}

Solve = Callable[[Envelope], Plan]


@dataclass(frozen=True, kw_only=True)
class LimitPrice(Value):
    """One limit of the envelope.

    Attributes:
        limit: its name.
        value: of it.
        used: what the plan takes of it, at its bound.
        more: relative change of the expected gain with 5% more; None where the plan stays the same.
        less: the same with 5% less; None where it stays the same, or nothing fits.
        until: the least of it that was found to change the plan; None where no more of it does.
        sentence: all of it in words.
    """

    limit: str
    value: float
    used: float
    more: float | None
    less: float | None
    until: float | None
    sentence: str


def limit_prices(plan: Plan, solve: Solve) -> tuple[LimitPrice, ...]:
    """A price for each limit that the envelope has."""
    return tuple(_price(plan, solve, name) for name in LIMITS if getattr(plan.envelope, LIMITS[name]) is not None)


def binding(prices: tuple[LimitPrice, ...]) -> LimitPrice | None:
    """The limit of which the smallest share more changes the plan."""
    steps = [price for price in prices if price.until is not None]
    return min(steps, key=lambda p: (p.until / p.value if p.until else 0.0, p.limit)) if steps else None


def with_limit(envelope: Envelope, name: str, value: float | int | None) -> Envelope:
    """The same envelope with another limit, or without it."""
    whole = name in {"parameters", "memory"}
    limit = None if value is None else max(1, int(value)) if whole else value
    return replace(envelope, **{LIMITS[name]: limit})  # type: ignore[arg-type]  # whole where it has to be


def _price(plan: Plan, solve: Solve, name: str) -> LimitPrice:
    value = float(getattr(plan.envelope, LIMITS[name]))
    show = SHOW[name]

    def again(limit: float | None) -> Plan | None:
        try:
            return solve(with_limit(plan.envelope, name, limit))
        except PlanInfeasible:
            return None

    more, less = again(value * (1 + STEP)), again(value * (1 - STEP))
    up = "" if more is None else _change(plan, more)
    until, grown = (value * (1 + STEP), more) if up else _until(plan, again, value)
    down = "leaves nothing that fits" if less is None else _gives(_change(plan, less))
    if up:
        head = f"gives {up}"
    elif grown is None:
        head = "changes nothing, nor does any more of it"
    elif until is None:
        head = f"changes nothing, nor does {show(value * GROWTH[-1])}: without the limit, {_change(plan, grown)}"
    else:
        head = f"changes nothing until about {show(until)}: then {_change(plan, grown)}"
    return LimitPrice(
        limit=name,
        value=value,
        used=float(getattr(plan.bound or plan.predicted, LIMITS[name])),
        more=round(relative_gain(plan, more), 6) if up and more is not None else None,
        less=round(relative_gain(plan, less), 6) if less is not None and _change(plan, less) else None,
        until=until,
        sentence=f"+5% ({show(value * (1 + STEP))}) {head}; -5% ({show(value * (1 - STEP))}) {down}.",
    )


def _until(plan: Plan, again: Callable[[float | None], Plan | None], value: float) -> tuple[float | None, Plan | None]:
    """About the least of a limit that changes the plan, where it was found, and that plan."""
    if (free := again(None)) is None or not _change(plan, free):
        return None, None
    low, high, found = 1 + STEP, None, free
    for times in GROWTH:
        made = again(value * times)
        if made is not None and _change(plan, made):
            high, found = times, made
            break
        low = times
    if high is None:
        return None, free
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        made = again(value * middle)
        if made is not None and _change(plan, made):
            high, found = middle, made
        else:
            low = middle
    return value * high, found


def _change(before: Plan, after: Plan) -> str:
    """What another envelope changes, with its expected gain; empty where nothing."""
    said = changes(before, after)
    return f"{said}, {gain_words(before, after)}" if said else ""


def _gives(change: str) -> str:
    return f"gives {change}" if change else "changes nothing"
