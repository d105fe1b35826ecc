"""What configurations ask of each limit, and whether they keep it; time, energy, price and latency count at their bounds."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from abi.devices.device import Device
from abi.errors import UsageError
from abi.execution import energy
from abi.execution.columns import Columns, Numbers
from abi.execution.costing import Question
from abi.execution.types import Limits
from abi.units import parse_bytes, parse_count, parse_energy, parse_seconds, show_bytes, show_energy, show_seconds

FIELDS = {
    "memory": "memory_bytes",
    "host_memory": "host_memory_bytes",
    "train_time": "train_time_s",
    "energy": "energy_j",
    "cost": "cost",
    "latency": "latency_s",
}
"""Names that users write -> fields of Limits."""

SAID = {
    "memory": "device memory",
    "host_memory": "host memory",
    "train_time": "training time",
    "energy": "energy",
    "cost": "cost",
    "latency": "latency",
}

CENTS = 0.1
"""From this price on, hundredths are enough."""
_SIZES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_TIMES = (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6))
_WRITTEN: dict[str, tuple[tuple[str, float], ...]] = {
    "memory": _SIZES,
    "host_memory": _SIZES,
    "train_time": _TIMES,
    "latency": _TIMES,
    "energy": (("kWh", 3.6e6), ("kJ", 1e3), ("J", 1.0)),
}


@dataclass(frozen=True)
class Demand:
    """What each configuration asks of one limit."""

    asked: Numbers
    limit: float | int

    @property
    def kept(self) -> Bool[np.ndarray, " configurations"]:
        """Where it is kept."""
        return self.asked <= self.limit


def demands(question: Question, columns: Columns) -> dict[str, Demand]:
    """Every limit that there is: the two memories always, the others where the user set them."""
    limits, wider = question.limits, columns.train_bound_s / columns.train_s
    beside, device = question.beside, question.cluster.device
    beside_j = energy.beside_j(device, columns.devices, beside.energy_j, beside.seconds)
    beside_price = energy.price(device, columns.devices, beside.seconds)
    found = {
        "memory": Demand(_memory_bytes(device, columns), question.memory_limit),
        "host_memory": Demand(columns.host_bytes, question.host_limit),
    }
    asked = {
        "train_time": columns.train_bound_s + beside.seconds * wider,
        "energy": (columns.energy_j + beside_j) * wider,
        "cost": (columns.price + beside_price) * wider,
        "latency": columns.latency_s * wider,
    }
    for name, values in asked.items():
        limit = getattr(limits, FIELDS[name])
        if limit is not None:
            found[name] = Demand(values, limit)
    return found


def _memory_bytes(device: Device, columns: Columns) -> Numbers:
    """Of one device; a processor's is the host's, so that batches on their way count where it cannot hold them too."""
    asked: Numbers = np.maximum(columns.memory_bound, columns.evaluation_bound)
    if device.kind != "cpu":
        return asked
    both = asked + columns.host_bytes
    counted: Numbers = np.where(both > device.memory_bytes, both, asked)
    return counted


def with_limit(question: Question, name: str, value: float | int) -> Question:
    """The same question with another limit; more device or host memory than there is means a larger device or host."""
    whole = name in {"memory", "host_memory"}
    limits = replace(question.limits, **{FIELDS[name]: int(value) if whole else value})  # type: ignore[arg-type]
    cluster = question.cluster
    if name == "memory":
        device = replace(cluster.device, memory_bytes=max(int(value), cluster.device.memory_bytes))
        cluster = replace(cluster, device=device)
    elif name == "host_memory":
        cluster = replace(cluster, host_memory_bytes=max(int(value), cluster.host_memory_bytes))
    return replace(question, limits=limits, cluster=cluster)


def parse_limit(name: str, text: str) -> float | int:
    """A limit as users write it."""
    if name in {"memory", "host_memory"}:
        return parse_bytes(text)
    if name in {"train_time", "latency"}:
        return parse_seconds(text)
    return parse_energy(text) if name == "energy" else parse_price(text)


def parse_whole(name: str, text: str, example: str) -> int:
    """How many: a whole number above zero, said as in `example`.

    Raises:
        UsageError: it is none.
    """
    try:
        return parse_count(text)
    except UsageError:
        msg = f"Expected {name} as a whole number above zero, got {text!r}: write it as {name}={example}, or leave it out."
        raise UsageError(msg) from None


def parse_price(text: str) -> float | int:
    """``'12.5'`` -> 12.5, in the currency of the device's price per hour."""
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0 < value < np.inf:
        msg = f"Expected a cost above zero such as 12.50, in the currency of the device's price, got {text!r}."
        raise UsageError(msg)
    return value


def show_limit(name: str, value: float | int) -> str:
    """A limit as people read it."""
    if name in {"memory", "host_memory"}:
        return show_bytes(value)
    if name in {"train_time", "latency"}:
        return show_seconds(value)
    return show_energy(value) if name == "energy" else show_price(value)


def show_price(value: float | int) -> str:
    """Two digits after the point, or three that say something."""
    return f"{value:.2f}" if value >= CENTS else f"{value:.3g}"


def write_limit(name: str, value: float | int) -> str:
    """At least `value`, with three or four digits, as users would write it: ``1.31GiB``."""
    if name == "cost":
        digits = 2 if value >= CENTS else 2 - math.floor(math.log10(value))
        return f"{math.ceil(value * 10**digits) / 10**digits:.{digits}f}"
    unit, size = next((unit, size) for unit, size in _WRITTEN[name] if value >= size or size == _WRITTEN[name][-1][1])
    text = math.ceil(value / size * 100) / 100
    return f"{text:g}{unit}" if text < 1e4 else f"{math.ceil(text)}{unit}"  # noqa: PLR2004 - :g would write an exponent


def parse_limits(texts: Sequence[str]) -> Limits:
    """``['memory=8GiB,latency=2ms']`` -> Limits.

    Raises:
        UsageError: an unknown name, no unit, nothing above zero, or two values for one.
    """
    given: dict[str, Any] = {}
    for name, text in assignments(texts, tuple(FIELDS), "a limit"):
        given[FIELDS[name]] = parse_limit(name, text)
    return Limits(**given)


def assignments(texts: Sequence[str], names: tuple[str, ...], what: str) -> list[tuple[str, str]]:
    """``['a=1,b=2', 'c=3']`` -> pairs, each name known and given once."""
    found: dict[str, str] = {}
    for item in (part.strip() for text in texts for part in text.split(",")):
        name, equals, text = (part.strip() for part in item.partition("="))
        if not equals or not text:
            msg = f"Expected {what} as {names[0]}=…, got {item!r}: name one of {', '.join(names)} and its value."
            raise UsageError(msg)
        if name not in names:
            near = difflib.get_close_matches(name, names, n=2, cutoff=0.5)
            remedy = f"did you mean {' or '.join(near)}?" if near else "choose one of them."
            msg = f"Expected {what} of {', '.join(names)}, got {name!r}: {remedy}"
            raise UsageError(msg)
        if found.get(name, text) != text:
            msg = f"Expected one value of {name}, got {found[name]} and {text}: they contradict each other, keep one."
            raise UsageError(msg)
        found[name] = text
    return list(found.items())
