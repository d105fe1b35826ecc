"""What if there were more memory, fewer parameters, less time: the envelope with other limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from abi.errors import UsageError
from abi.execution.demands import assignments
from abi.planning.compare import LIMITS
from abi.planning.prices import with_limit
from abi.types import Envelope
from abi.units import parse_bytes, parse_count, parse_seconds

PARSE: Final[dict[str, Callable[[object], float | int]]] = {
    "parameters": parse_count,
    "memory": parse_bytes,
    "train_time": parse_seconds,
    "latency": parse_seconds,
}
OF_DEVICES: Final = ("gpus", "global_batch", "steps")
"""Changes that a plan of a module takes, and a plan of attention does not."""


def changed(envelope: Envelope, texts: Sequence[str]) -> Envelope:
    """``['memory=16GiB,parameters=100k']`` laid over an envelope.

    Raises:
        UsageError: an unknown limit, no unit, nothing above zero, or two values for one limit.
    """
    for name, text in assignments(texts, (*LIMITS, *OF_DEVICES), "a change"):
        if name in OF_DEVICES:
            msg = f"Expected a change of {', '.join(LIMITS)} where attention is planned for, got '{name}={text}': plan again with --gpus for other devices."
            raise UsageError(msg)
        envelope = with_limit(envelope, name, PARSE[name](text))
    return envelope
