"""What if there were more memory, fewer devices, another batch: the same question with other numbers, solved again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from abi.devices.request import MOST as MOST_DEVICES
from abi.errors import UsageError
from abi.execution.costing import Question
from abi.execution.demands import FIELDS, assignments, parse_limit, parse_whole, with_limit
from abi.execution.types import ExecutionPlan
from abi.execution.wording import differing
from abi.units import show_bytes, show_energy, show_seconds

EXAMPLES = {"gpus": "2", "global_batch": "256", "steps": "1000"}
KEYS = (*FIELDS, *EXAMPLES)


def changed(question: Question, texts: Sequence[str]) -> Question:
    """``['memory=16GiB,gpus=2']`` laid over a question.

    Raises:
        UsageError: an unknown key, no unit, nothing above zero, or two values for one key.
    """
    for name, text in assignments(texts, KEYS, "a change"):
        if name in FIELDS:
            question = with_limit(question, name, parse_limit(name, text))
        elif name == "gpus":
            count = parse_whole(name, text, EXAMPLES[name])
            if count > MOST_DEVICES:
                msg = f"Expected gpus of at most {MOST_DEVICES} in one machine, got {text!r}: ask for fewer."
                raise UsageError(msg)
            device = question.cluster.device
            if count > 1 and device.single:
                what = "processor, whose cores count as one device" if device.kind == "cpu" else "slice of a GPU"
                msg = f"Expected gpus=1 of {device.name}, got {text!r}: a process uses one {what}; leave it out."
                raise UsageError(msg)
            question = question.with_devices(count)
        else:
            question = replace(question, job=replace(question.job, **{name: parse_whole(name, text, EXAMPLES[name])}))
    return question


def difference(before: ExecutionPlan, after: ExecutionPlan) -> str:
    """What another envelope does to the plan, in one sentence."""
    old, new = before.predicted, after.predicted
    change = differing(before.configuration, after.configuration)
    figures = (
        f"{show_seconds(old.train_s)} -> {show_seconds(new.train_s)} of training",
        f"{show_bytes(old.memory_bound)} -> {show_bytes(new.memory_bound)} of device memory at most",
        f"{show_energy(old.energy_j)} -> {show_energy(new.energy_j)}",
    )
    return f"What if: {change}; {', '.join(figures)}."
