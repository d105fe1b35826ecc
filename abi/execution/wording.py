"""Configurations and how they compare, in words."""

from __future__ import annotations

from abi.execution.demands import SAID, demands, show_limit
from abi.execution.search import Found
from abi.execution.types import Configuration

SAME = 5e-4
"""A difference below half a thousandth is none."""

MUCH = 1.95
"""From this ratio on, times are said and not percents."""


def describe(c: Configuration) -> str:
    """``'2 x FSDP, bfloat16, checkpointing, micro-batch 16 x 4'``."""
    shared = f"{c.devices} x {c.parallel.upper()}" if c.devices > 1 else "one device"
    kept = ", checkpointing" if c.checkpointing else ""
    return f"{shared}, {c.arithmetic}{kept}, micro-batch {c.micro_batch} x {c.accumulation}"


def differing(old: Configuration, new: Configuration) -> str:
    """What is different in the new one: ``'micro-batch 48, 2 workers'``."""
    said = {
        "devices": f"{new.devices} device{'s' if new.devices > 1 else ''}",
        "parallel": new.parallel.upper() if new.devices > 1 else "",
        "arithmetic": new.arithmetic,
        "checkpointing": "checkpointing" if new.checkpointing else "no checkpointing",
        "micro_batch": f"micro-batch {new.micro_batch}",
        "accumulation": "",
        "workers": f"{new.workers} worker{'s' if new.workers > 1 else ''}",
    }
    parts = [text for name, text in said.items() if text and getattr(old, name) != getattr(new, name)]
    return ", ".join(parts) or "the same configuration"


def _ratio(ratio: float, less: str, more: str) -> str:
    """`ratio` = new / old of what should be small."""
    if abs(ratio - 1) < SAME:
        return ""
    word, by = (more, ratio) if ratio > 1 else (less, 1 / ratio)
    if by >= MUCH:
        return f"{by:.1f} times {word.replace('slower', 'as slow').replace('faster', 'as fast')}"
    return f"{abs(ratio - 1) if word not in {'faster'} else by - 1:.1%} {word}"


def compare(found: Found, old: int, new: int, other: Found | None = None) -> str:
    """The new row beside the old one: ``'3.1% faster'``, by the objective first; `other` is where the new one stands."""
    before, after = found.cost(old), (other or found).cost(new)
    speed = _ratio(after.step_s / before.step_s, "faster", "slower")
    parts = {
        "throughput": [speed],
        "energy": [_ratio(after.energy_j / before.energy_j, "less energy", "more energy"), speed],
        "cost": [_ratio((after.price or 1.0) / (before.price or 1.0), "cheaper", "dearer"), speed],
        "memory": [_ratio(after.memory_bound / before.memory_bound, "less memory", "more memory"), speed],
    }[found.question.objective]
    memory = _ratio(after.memory_bound / before.memory_bound, "less memory", "more memory")
    energy = _ratio(after.energy_j / before.energy_j, "less energy", "more energy")
    also = " and ".join(part for part in (energy, memory) if part)
    said = [part for part in parts if part] or ([f"as fast, with {also}"] if also else ["no better"])
    return ", ".join(said)


def broken(found: Found, row: int) -> str:
    """Which limits a row does not keep: ``'needs 30 GiB of device memory, 24 GiB are there'``; empty where it keeps all."""
    said = []
    for name, demand in demands(found.question, found.columns).items():
        if not demand.kept[row]:
            asked, limit = (show_limit(name, value) for value in (float(demand.asked[row]), demand.limit))
            if asked == limit:
                asked = f"slightly more than {asked}"
            row_alone = name == "memory" and (
                found.columns.memory_bound[row] <= demand.limit < found.columns.evaluation_bound[row]
            )
            what = f"{SAID[name]} to evaluate one row" if row_alone else SAID[name]
            said.append(f"needs {asked} of {what}, the limit is {limit}")
    return "; ".join(said)
