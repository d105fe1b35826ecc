"""What if there were more memory, fewer parameters, less time, other devices: the envelope with other limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from abi.errors import UsageError
from abi.execution.demands import assignments, parse_price, parse_whole
from abi.planning.compare import LIMITS
from abi.planning.prices import with_limit
from abi.types import Envelope
from abi.units import parse_bytes, parse_count, parse_energy, parse_seconds

PARSE: Final[dict[str, Callable[[object], float | int]]] = {
    "parameters": parse_count,
    "memory": parse_bytes,
    "train_time": parse_seconds,
    "latency": parse_seconds,
}
DEVICES: Final = "gpus"
BATCH: Final = "global_batch"
LEAST_ROWS: Final = 2
MOST_ROWS: Final = 2**31 - 1
KNOWN: Final = (*LIMITS, "energy", "cost", DEVICES, BATCH)
OF_MODULES: Final = ("steps",)
"""Changes that a plan of a module takes, and a plan of attention does not."""


@dataclass(frozen=True)
class Changed:
    """What another plan is made for.

    Attributes:
        envelope: its limits.
        gpus: how many of the device; None where that stays.
        global_batch: rows of a step over all devices; None where that stays.
    """

    envelope: Envelope
    gpus: int | None = None
    global_batch: int | None = None


def expect_rows(rows: int) -> int:
    """Rows of a step over all devices, as a network can be trained by.

    Raises:
        UsageError: fewer than two, or more than any step has.
    """
    if rows < LEAST_ROWS:
        msg = f"Expected a global batch of at least {LEAST_ROWS} rows where attention is planned for, got {rows}: take more."
        raise UsageError(msg)
    if rows > MOST_ROWS:
        msg = f"Expected a global batch of at most {MOST_ROWS:,} rows, got {rows:,}: take fewer."
        raise UsageError(msg)
    return rows


def changed(envelope: Envelope, texts: Sequence[str]) -> Changed:
    """``['memory=16GiB,parameters=100k,gpus=4']`` laid over an envelope.

    Raises:
        UsageError: an unknown limit, no unit, nothing above zero, or two values for one limit.
    """
    gpus = rows = None
    for name, text in assignments(texts, (*KNOWN, *OF_MODULES), "a change"):
        if name in OF_MODULES:
            msg = f"Expected a change of {', '.join(KNOWN)} where attention is planned for, got '{name}={text}': leave it out."
            raise UsageError(msg)
        if name == DEVICES:
            gpus = parse_whole(DEVICES, text, "2")
        elif name == BATCH:
            rows = expect_rows(parse_count(text))
        elif name == "energy":
            envelope = replace(envelope, energy_j=parse_energy(text))
        elif name == "cost":
            envelope = replace(envelope, cost=float(parse_price(text)))
        else:
            envelope = with_limit(envelope, name, PARSE[name](text))
    return Changed(envelope, gpus, rows)
