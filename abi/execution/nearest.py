"""Where nothing fits: the envelopes next to the one asked for in which something does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from abi.devices.request import MOST
from abi.errors import PlanInfeasible, UsageError
from abi.execution.columns import Columns, Numbers
from abi.execution.costing import Question
from abi.execution.demands import SAID, demands, parse_limit, show_limit, with_limit, write_limit
from abi.execution.goodput import loss
from abi.execution.search import Found, search
from abi.execution.types import Configuration
from abi.execution.wording import describe

SHOWN = 3
WORTH = 1.1
"""By how much a second way has to be better than the first to be told."""
TRIED = 60
"""Configurations that are looked through for a third way."""
MORE_DEVICES = (2, 4, 8)
MORE_BYTES = (0, 2**24, 2**25, 2**26, 2**28)
"""Memory above the bound of a configuration, tried in turn until its trace fits: an allocator may need some to spare."""
Fits = Callable[[Question], bool]
"""Whether something fits a question once it is traced."""


@dataclass(frozen=True)
class Nearest:
    """An envelope in which something fits.

    Attributes:
        question: the one asked, in that envelope.
        configuration: the best that fits then.
        text: what to change, as a user would write it.
        relaxed: sum over the limits of log(new / old).
    """

    question: Question
    configuration: Configuration
    text: str
    relaxed: float


def nearest(question: Question, columns: Columns, fits: Fits) -> tuple[Nearest, ...]:
    """At most three, the least relaxed first: one for each set of limits, then more devices, then any others."""
    over = {name: np.maximum(demand.asked / demand.limit, 1.0) for name, demand in demands(question, columns).items()}
    ratios = np.stack(list(over.values()), axis=1)
    order = np.argsort(np.log(ratios).sum(axis=1), kind="stable").tolist()
    first = _different(ratios, order)
    spare = _spare(question, columns, order[0], fits)
    found = sorted([*(_relax(question, columns, row, spare) for row in first), *_more_devices(question, fits)], key=_by)
    found = found[:SHOWN]
    for row in [*_better(loss(columns, question.objective), order), *order[:TRIED]]:
        if len(found) >= SHOWN:
            break
        near = _relax(question, columns, row, spare)
        if not any(_alike(near, other) for other in found):
            found.append(near)
    return tuple(sorted(found, key=_by))


def _alike(one: Nearest, other: Nearest) -> bool:
    """Whether more of the envelope would buy nothing: what is best in both is the same, as far as it is told."""
    return one.text == other.text or describe(one.configuration) == describe(other.configuration)


def _spare(question: Question, columns: Columns, row: int, fits: Fits) -> int:
    """Memory above the bound of a row with which it fits when it is traced."""
    tried = (more for more in MORE_BYTES if fits(_relax(question, columns, row, more).question))
    return next(tried, MORE_BYTES[-1])


def _by(near: Nearest) -> float:
    return near.relaxed


def _different(ratios: Float[np.ndarray, "configurations limits"], order: list[int]) -> list[int]:
    """Rows that relax other limits than those before them, and for which no row before needs less of everything."""
    kept: list[int] = []
    seen: set[tuple[bool, ...]] = set()
    for row in order:
        names = tuple((ratios[row] > 1).tolist())
        if names not in seen and not any((ratios[other] <= ratios[row]).all() for other in kept):
            seen.add(names)
            kept.append(row)
    return kept


def _better(losses: Numbers, order: list[int]) -> list[int]:
    """Rows that are better by a step than all that relax less: what more of an envelope would buy."""
    kept: list[int] = []
    for row in order:
        if not kept or losses[row] < losses[kept[-1]] / WORTH:
            kept.append(row)
    return kept[1:]


def _relax(question: Question, columns: Columns, row: int, more: int) -> Nearest:
    """The envelope that a row's demands fit, with so many bytes of device memory to spare."""
    wider, said, relaxed = question, [], 0.0
    for name, demand in demands(question, columns).items():
        asked = float(demand.asked[row]) + (more if name == "memory" else 0)
        if asked <= demand.limit:
            continue
        text = write_limit(name, asked)
        value = parse_limit(name, text)
        relaxed += math.log(value / demand.limit)
        wider = with_limit(wider, name, value)
        there = {"memory": question.cluster.device.memory_bytes, "host_memory": question.cluster.host_memory_bytes}
        owner = {"memory": "a device", "host_memory": "a host"}
        larger = name in there and value > there[name]
        said.append(f"{owner[name]} with {text} of memory" if larger else f"{name}={text}")
    best = search(wider)
    return Nearest(wider, best.configuration(int(best.order[0])), " and ".join(said), relaxed)


def _more_devices(question: Question, fits: Fits) -> list[Nearest]:
    for times in () if question.cluster.device.single else MORE_DEVICES:
        count = question.cluster.count * times
        if count > MOST:
            break
        more = question.with_devices(count)
        try:
            best = search(more)
        except UsageError:
            continue
        if len(best.order) and fits(more):
            text = f"{count}x{question.cluster.device.name}"
            return [Nearest(more, best.configuration(int(best.order[0])), text, math.log(times))]
    return []


def infeasible(found: Found, fits: Fits) -> PlanInfeasible:
    """The error that says so, with what would do."""
    near = nearest(found.question, found.columns, fits)
    limits = ", ".join(
        f"{SAID[name]} {show_limit(name, demand.limit)}"
        for name, demand in demands(found.question, found.columns).items()
        if name != "host_memory" or not demand.kept.all()
    )
    ways = "; ".join(f"{n.text} ({describe(n.configuration)})" for n in near)
    count = len(found.columns.devices)
    trains = _trains(found)
    none = (
        "none"
        if trains is None
        else f"none, as evaluating one row needs {show_limit('memory', trains)} where training would fit"
    )
    msg = f"Expected one of {count} configurations within {limits}, got {none}: the nearest that fit are {ways}."
    return PlanInfeasible(msg, nearest=near)


def _trains(found: Found) -> float | None:
    """Device memory that one row's evaluation needs at least, of configurations whose training fits; None where none does."""
    wanted = demands(found.question, found.columns)
    rows = found.columns.memory_bound <= wanted["memory"].limit
    for name, demand in wanted.items():
        if name != "memory":
            rows = rows & demand.kept
    return float(found.columns.evaluation_bound[rows].min()) if rows.any() else None
