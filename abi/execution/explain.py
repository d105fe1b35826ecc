"""Why the plan is as it is: a sentence for each choice, the limit that binds, and the alternatives that lost."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool

from abi.errors import clip, listed
from abi.execution.columns import BINDERS, PARALLELS
from abi.execution.demands import SAID, demands, show_limit
from abi.execution.learned import of, told
from abi.execution.plainer import too_little
from abi.execution.roofline import time_margin
from abi.execution.search import Found, ranked, undominated
from abi.execution.sensitivity import binding
from abi.execution.types import Alternative
from abi.execution.wording import broken, compare, describe
from abi.units import show_seconds

Rows = Bool[np.ndarray, " configurations"]

NOTHING_BINDS = "No limit binds: no configuration that was left out would be better."

MEANING = {
    "arithmetic": "by arithmetic: a faster device or a lower precision would help, more bandwidth would not",
    "bandwidth": "by memory bandwidth: fewer or smaller tensors would help, a higher rate of arithmetic would not",
    "launches": "by starting kernels: a larger micro-batch, or fusing operators with torch.compile, would help",
    "communication": "by waiting for the other devices: a faster link or more rows on each device would help",
    "loader": "by the loader: more host cores, or rows that are quicker to prepare, would help",
}


def reasons(found: Found, evaluated: str = "") -> tuple[str, ...]:
    """One sentence for each choice, that of evaluation given, then what binds, then what was not counted."""
    best = int(found.order[0])
    said = [
        _devices(found, best),
        _parallel(found, best),
        _arithmetic(found, best),
        _checkpointing(found, best),
        _micro_batch(found, best),
        _workers(found, best),
        f"A step is bound {MEANING[BINDERS[int(found.columns.bound_by[best])]]}.",
        evaluated,
        _limit(found, best),
        _counted(found),
        *_uncounted(found, best),
        *_learned(found, best),
    ]
    return tuple(sentence for sentence in said if sentence)


def alternatives(found: Found) -> tuple[Alternative, ...]:
    """The best configuration of each other choice, whether it fits or not, best first."""
    best, c = int(found.order[0]), found.columns
    rows = [
        _first(found, c.footprint == number)
        for number in range(len(found.question.footprints))
        if number != int(c.footprint[best])
    ]
    rows += [_first(found, (c.parallel == p) & (c.devices > 1)) for p in (1, 2) if p != int(c.parallel[best])]
    rows += [_first(found, c.devices == n) for n in {1, int(c.devices[best]) - 1} if n != c.devices[best]]
    rows.append(_larger(found, best))
    place = {int(row): i for i, row in enumerate(ranked(found.question, c))}
    kept = sorted({row for row in rows if row is not None and row != best}, key=place.__getitem__)
    return tuple(
        Alternative(
            configuration=found.configuration(row),
            cost=found.cost(row),
            why=broken(found, row) or _against(found, best, row),
        )
        for row in kept
    )


def _first(found: Found, where: Rows) -> int | None:
    """The best row among these: the best that fits, or where none does the one that asks for least memory."""
    fitting = found.order[where[found.order]]
    if len(fitting):
        return int(fitting[0])
    rows = np.flatnonzero(where)
    return int(rows[np.argmin(found.columns.memory_bound[rows])]) if len(rows) else None


def _larger(found: Found, best: int) -> int | None:
    """The same choices with the next larger micro-batch."""
    c = found.columns
    alike = (c.footprint == c.footprint[best]) & (c.devices == c.devices[best]) & (c.parallel == c.parallel[best])
    rows = np.flatnonzero(alike & (c.micro_batch > c.micro_batch[best]))
    return int(rows[np.argmin(c.micro_batch[rows])]) if len(rows) else None


def _versus(found: Found, best: int, row: int | None, name: str | Callable[[int], str]) -> str:
    if row is None:
        return ""
    lost, named = broken(found, row), name if isinstance(name, str) else name(row)
    return f"{named} {lost}" if lost else f"{named} would be {_against(found, best, row)}"


def _against(found: Found, best: int, row: int) -> str:
    said = compare(found, best, row)
    return f"{said}, less than a plan can tell" if too_little(found.question, found.columns, best, row) else said


def _devices(found: Found, best: int) -> str:
    c, device, there = found.columns, found.question.cluster.device.name, found.question.cluster.count
    count = int(c.devices[best])
    if there == 1:
        return f"Devices: the one {device} that there is."
    other = _first(found, c.devices == 1) if count > 1 else _first(found, c.devices > 1)
    against = _versus(found, best, other, lambda row: f"{int(c.devices[row])} {device}")
    return f"Devices: {count} of {there} {device}; {against}."


def _parallel(found: Found, best: int) -> str:
    c = found.columns
    if c.devices[best] == 1:
        return "Parallelism: none, as one device does it all."
    mine = int(c.parallel[best])
    other = _first(found, (c.parallel == 3 - mine) & (c.devices == c.devices[best]))
    why = {1: "every device keeps the whole model", 2: "each device keeps its part of the model"}[mine]
    against = _versus(found, best, other, lambda row: PARALLELS[int(c.parallel[row])].upper())
    head = f"Parallelism: {PARALLELS[mine].upper()}, {why}"
    return f"{head}; {against}." if against else f"{head}."


def _arithmetic(found: Found, best: int) -> str:
    c, footprints = found.columns, found.question.footprints
    mine = footprints[int(c.footprint[best])].arithmetic
    said = []
    for other in dict.fromkeys(f.arithmetic for f in footprints if f.arithmetic != mine):
        numbers = [i for i, f in enumerate(footprints) if f.arithmetic == other]
        said.append(_versus(found, best, _first(found, np.isin(c.footprint, numbers)), other))
    return f"Precision: {mine}; {', '.join(said)}." if said else f"Precision: {mine}, the only one traced."


def _checkpointing(found: Found, best: int) -> str:
    c, footprints = found.columns, found.question.footprints
    mine = footprints[int(c.footprint[best])]
    numbers = [i for i, f in enumerate(footprints) if f.checkpointing != mine.checkpointing]
    alike = np.isin(c.footprint, [i for i in numbers if footprints[i].arithmetic == mine.arithmetic])
    name = "without" if mine.checkpointing else "with"
    against = _versus(found, best, _first(found, alike), lambda row: f"{name}, micro-batch {int(c.micro_batch[row])}")
    head = f"Checkpointing: {'yes' if mine.checkpointing else 'no'}"
    if against:
        return f"{head}; {against}."
    none = (
        "memory keeps out nothing better" if found.question.checkpoints else "the module has no blocks to compute again"
    )
    return f"{head}, as {none}."


def _micro_batch(found: Found, best: int) -> str:
    c = found.columns
    micro, times, devices = (int(x[best]) for x in (c.micro_batch, c.accumulation, c.devices))
    whole = f"{micro} x {times} accumulation x {devices} device{'s' if devices > 1 else ''} = {micro * times * devices}"
    larger = _versus(found, best, _larger(found, best), lambda row: f"{int(c.micro_batch[row])}")
    return f"Micro-batch: {whole} rows, the global batch; {larger or 'it is the largest there is'}."


def _workers(found: Found, best: int) -> str:
    c = found.columns
    count, loading, working = int(c.workers[best]), c.loader_s[best], c.compute_s[best] + c.communication_s[best]
    if found.question.resident_bytes is not None:
        return "Workers: none, as all rows lie on each device."
    head = f"Workers: {count} for each device"
    if loading <= working:
        return f"{head}, the fewest that keep up: {show_seconds(loading)} to load what takes {show_seconds(working)} to compute."
    return f"{head}, and the step still waits: {show_seconds(loading)} to load what takes {show_seconds(working)} to compute."


def _limit(found: Found, best: int) -> str:
    name = binding(found)
    if name is None:
        return NOTHING_BINDS
    demand = demands(found.question, found.columns)[name]
    asked, limit = show_limit(name, float(demand.asked[best])), show_limit(name, demand.limit)
    return f"Binding limit: {SAID[name]}, {asked} of {limit} at its upper bound."


def _counted(found: Found) -> str:
    whole, fit, kept = len(found.columns.devices), len(found.order), len(undominated(found))
    return f"Of {whole} configurations {fit} fit, and {kept} cannot be beaten in {found.question.objective} and memory at once."


def _learned(found: Found, best: int) -> list[str]:
    taught = of(found.question.learned, found.question.footprints[int(found.columns.footprint[best])].arithmetic)
    return [told(taught)] if taught is not None and taught.runs else []


def _uncounted(found: Found, best: int) -> list[str]:
    footprint = found.question.footprints[int(found.columns.footprint[best])]
    said = []
    if footprint.uncounted:
        count = len(footprint.uncounted)
        names = listed(footprint.uncounted)
        said.append(
            f"Not counted: the arithmetic of {names}, as {'it has' if count == 1 else 'they have'} no formula; their "
            f"memory traffic is in the time, and the bounds of time, energy and cost are {time_margin(footprint):.0%} wider."
        )
    if footprint.recurrent:
        said.append(
            "Recurrent layers: a processor's own kernels for them take memory that no trace sees, so that the bound of "
            f"memory lies {footprint.margin:.0%} above the prediction."
        )
    if footprint.method == "measured":
        why = f" ({clip(footprint.reason, 200).rstrip('.')})" if footprint.reason else ""
        said.append(f"The module could not be traced{why}: its memory was measured in a process of its own.")
    return said


def headline(found: Found) -> str:
    """The winner in one line."""
    return describe(found.configuration(int(found.order[0])))
