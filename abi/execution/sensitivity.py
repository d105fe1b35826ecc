"""What a little more or less of each limit would change: the question is solved again, nothing is extrapolated."""

from __future__ import annotations

import numpy as np

from abi.errors import UsageError
from abi.execution.demands import demands, show_limit, with_limit, write_limit
from abi.execution.plainer import chosen, could_win, losses_of
from abi.execution.search import Found, feasible, ranked, search
from abi.execution.wording import compare, differing

STEP = 0.05
MOST_DEVICES = 8


def sensitivities(found: Found) -> dict[str, str]:
    """Limit -> sentence, for each limit that could matter, and for more devices."""
    said = {name: _sentence(found, name) for name in demands(found.question, found.columns)}
    if found.question.limits.host_memory_bytes is None and next_step(found, "host_memory") is None:
        del said["host_memory"]  # nobody asked, and it matters to nothing
    return {**said, **_more_devices(found)}


def next_step(found: Found, name: str) -> tuple[float, int] | None:
    """The least of this limit, the others staying, from which another configuration is chosen, and its row."""
    question, columns, best = found.question, found.columns, int(found.order[0])
    wanted = demands(question, columns)
    others = np.logical_and.reduce([d.kept for other, d in wanted.items() if other != name])
    order, asked, fits = ranked(question, columns), wanted[name].asked, feasible(question, columns)
    could = others & ~fits & could_win(question, columns, best, order)
    for limit in np.unique(asked[could]):
        row = chosen(question, columns, order[(fits | (others & (asked <= limit)))[order]])
        if row != best:
            return float(limit), row
    return None


def binding(found: Found) -> str | None:
    """The limit that keeps a better configuration out, by the smallest step."""
    limits = demands(found.question, found.columns)
    steps = {name: step[0] / limits[name].limit for name in limits if (step := next_step(found, name)) is not None}
    return min(steps, key=lambda name: (steps[name], name)) if steps else None


def _sentence(found: Found, name: str) -> str:
    limit = demands(found.question, found.columns)[name].limit
    more = _again(found, name, limit * (1 + STEP))
    if more == "":
        step = next_step(found, name)
        more = "changes nothing, nor does any more of it" if step is None else _until(found, name, step)
    less = _again(found, name, limit * (1 - STEP)) or "changes nothing"
    return f"+5% ({show_limit(name, limit * (1 + STEP))}) {more}; -5% {less}."


def _until(found: Found, name: str, step: tuple[float, int]) -> str:
    asked, row = step
    best = int(found.order[0])
    change = differing(found.configuration(best), found.configuration(row))
    text = write_limit(name, asked)
    return f"changes nothing until {text}: then {change}, {_gain(found, row, found)}"


def _again(found: Found, name: str, limit: float | int) -> str:
    """The change from solving again; empty where there is none."""
    other = search(with_limit(found.question, name, limit))
    if not len(other.order):
        return "leaves nothing that fits"
    best, new = int(found.order[0]), int(other.order[0])
    if found.configuration(best) == other.configuration(new):
        return ""
    change = differing(found.configuration(best), other.configuration(new))
    more = limit > demands(found.question, found.columns)[name].limit
    return f"gives {change}, {_gain(found, new, other) if more else compare(found, best, new, other)}"


def _gain(found: Found, row: int, other: Found) -> str:
    """What more of a limit gains: where it is no speed, it is less machinery."""
    best = int(found.order[0])
    worse = losses_of(other.question, other.columns)[row] > losses_of(found.question, found.columns)[best]
    return f"{compare(found, best, row, other)}, but plainer" if worse else compare(found, best, row, other)


def _more_devices(found: Found) -> dict[str, str]:
    question = found.question
    if question.cluster.device.single:
        return {}
    for count in range(question.cluster.count + 1, MOST_DEVICES + 1):
        try:
            other = search(question.with_devices(count))
        except UsageError:
            continue
        best, new = int(found.order[0]), int(other.order[0])
        if found.configuration(best) == other.configuration(new):
            return {"gpus": f"{count} {question.cluster.device.name} change nothing."}
        change = differing(found.configuration(best), other.configuration(new))
        return {"gpus": f"{count} {question.cluster.device.name} give {change}, {compare(found, best, new, other)}."}
    return {}
