"""The page's section on where memory and time go: by phase, part of the network and feature, and against the device's roof."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from abi.inputs import trunk, windows
from abi.planning.cost import ACTIVATION_COPIES, FLOAT_BYTES, start_parameters, total_width
from abi.planning.forecast import Forecast
from abi.report import charts
from abi.report.axis import Axis
from abi.report.content import Report
from abi.report.groups import by_group
from abi.report.summary import is_network
from abi.report.wording import clean, number, percent, plural
from abi.resources import Held, Part, Stage, StageMemory, StepProfile, Work
from abi.types import Capacity, Execution, FeatureCapacity, GridCapacity
from abi.units import show_bandwidth, show_bytes, show_rate, show_seconds

TOP = 15
ORDER: tuple[Held, ...] = (
    "data", "copies", "weights", "gradients", "optimizer state", "feature extraction", "middle", "output", "update",
)  # fmt: skip
NAMES: dict[Held, str] = {
    "data": "data",
    "copies": "copies of the weights",
    "weights": "weights",
    "gradients": "gradients",
    "optimizer state": "optimizer state",
    "feature extraction": "activations: feature extraction",
    "middle": "activations: middle",
    "output": "activations: output",
    "update": "update",
}
STAGES: dict[Stage, str] = {
    "forward": "forward pass",
    "backward": "backward pass",
    "optimizer": "optimizer step",
    "evaluate": "evaluation",
}
NUMERIC_BYTES, CATEGORY_BYTES = 8, 4
MOMENTS = 4
"""Weights, gradients and two moments."""


def where(report: Report) -> dict[str, Any]:
    """Memory by phase and part, time by phase and part, the roofline, and the features with the most of both."""
    trained, forecast = report.evaluation.trained, report.forecast
    plan = report.plan
    if not is_network(plan):
        return {"network": False}
    profile = trained.profile
    found: dict[str, Any] = {"network": True, "traced": profile is not None, "features": _features(report)}
    used = by_group(report.checks.problem.schema, [f.feature for f in plan.capacity.features if f.width > 0])
    found["left_out"] = max(0, len(used) - TOP)
    if profile is None:
        found |= _memory([_formula(plan.capacity, plan.execution, trained.predicted.memory_bytes)])
        return found | {"sentence": "", "times": [], "pieces": [], "roofline": "", "device": ""}
    found |= _memory([(STAGES[m.stage], m.held) for m in profile.memory])
    return found | {
        "sentence": _sentence(profile),
        "rows": plural(profile.rows, "row"),
        "parts": profile.parts,
        "times": _times(profile),
        "pieces": [_piece(w, forecast) for w in profile.work if w.stage != "evaluate"],
        "uncounted": ", ".join(name.removeprefix("aten.") for name in profile.uncounted[:6]),
        "extraction": any(w.flops for w in profile.work if w.part == "feature extraction"),
        "roofline": charts.roofline(profile.work, forecast) if forecast is not None else "",
        "device": "" if forecast is None else _device(forecast, report.plan.execution),
    }


def _device(forecast: Forecast, run: Execution) -> str:
    threads = f" with {plural(forecast.threads, 'thread')}" if not run.device.startswith("cuda") else ""
    measured = "measured" in forecast.source
    return (
        f"{clean(forecast.device)}{threads}: {show_rate(forecast.rate)} and {show_bandwidth(forecast.bandwidth)} "
        f"{'as measured' if measured else 'by its description (`abi calibrate` measures them)'}"
    )


def _memory(phases: Iterable[tuple[str, dict[Held, int]]]) -> dict[str, Any]:
    phases = list(phases)
    axis = Axis.upto(sum(held.values()) for _, held in phases)
    used = [name for name in ORDER if any(held.get(name) for _, held in phases)]
    return {
        "memory": [
            {
                "name": name,
                "total": show_bytes(sum(held.values())),
                "width": axis.at(sum(held.values())),
                "parts": _shares([(NAMES[h], ORDER.index(h), held.get(h, 0)) for h in ORDER], show_bytes),
            }
            for name, held in phases
        ],
        "legend": [(NAMES[name], ORDER.index(name)) for name in used],
    }


def _shares(parts: list[tuple[str, int, Any]], show: Any) -> list[dict[str, Any]]:
    whole = sum(size for _, _, size in parts) or 1
    return [
        {
            "name": name,
            "colour": colour,
            "fill": round(100 * size / whole, 2),
            "text": f"{show(size)}, {percent(size / whole)}",
        }
        for name, colour, size in parts
        if size
    ]


def _times(profile: StepProfile) -> list[dict[str, Any]]:
    stages = [stage for stage in STAGES if stage != "evaluate"]
    seconds = {stage: [(p, s) for (one, p), s in profile.seconds.items() if one == stage] for stage in stages}
    axis = Axis.upto(sum(s for _, s in found) for found in seconds.values())
    rows = []
    for stage, found in seconds.items():
        total = sum(s for _, s in found)
        parts = sorted((ORDER.index(part or "update"), part or "all weights", s) for part, s in found)
        rows.append(
            {
                "name": STAGES[stage],
                "total": show_seconds(total),
                "width": axis.at(total),
                "parts": _shares([(name, colour, s) for colour, name, s in parts], show_seconds),
            }
        )
    return rows


def _sentence(profile: StepProfile) -> str:
    fullest: StageMemory = max(profile.memory, key=lambda m: m.peak_bytes)
    most = max(fullest.held, key=lambda name: fullest.held[name])
    seconds = profile.seconds
    stage, part = max(seconds, key=lambda piece: seconds[piece])
    whole = sum(seconds.values())
    return (
        f"Memory is fullest in the {STAGES[fullest.stage]}: {show_bytes(fullest.peak_bytes)}, "
        f"{percent(fullest.held[most] / fullest.peak_bytes)} of it {_said(most)}. The longest piece of a step is "
        f"the {STAGES[stage]}{f' of the {part}' if part else ''}, "
        f"{percent(seconds[stage, part] / whole)} of {show_seconds(whole)}."
    )


def _said(held: Held) -> str:
    name = NAMES[held]
    return name.replace("activations: ", "activations of the ") if name.startswith("activations") else name


def _piece(work: Work, forecast: Forecast | None) -> dict[str, str]:
    """One line of the table beside the roofline."""
    intensity = work.flops / work.bytes if work.bytes else 0.0
    rate, moved = work.flops / work.seconds, work.bytes / work.seconds
    share = "–"
    if forecast is not None:
        roof = min(forecast.rate, intensity * forecast.bandwidth) if work.flops else forecast.bandwidth
        share = f"{(rate if work.flops else moved) / roof:.0%}" if roof else "–"
    return {
        "name": f"{work.stage}: {work.part}" if work.part else STAGES[work.stage],
        "time": show_seconds(work.seconds),
        "intensity": number(intensity, 1) if work.flops else "–",
        "rate": show_rate(rate) if work.flops else "–",
        "moved": show_bandwidth(moved),
        "share": share,
    }


def _formula(capacity: Capacity, run: Execution, whole: int) -> tuple[str, dict[Held, int]]:
    """Without a trace: what the plan's formula adds up."""
    weights = FLOAT_BYTES * start_parameters(capacity)
    hidden = capacity.members * capacity.block_width * capacity.blocks
    middle = int(run.part_rows * ACTIVATION_COPIES * hidden * (2 if run.precision == "bfloat16" else FLOAT_BYTES))
    extraction = run.part_rows * 6 * total_width(capacity) * FLOAT_BYTES
    held: dict[Held, int] = {
        "copies": weights * (1 + bool(run.average)),
        "weights": weights,
        "gradients": weights,
        "optimizer state": 2 * weights,
        "feature extraction": extraction,
        "middle": middle,
    }
    held["data"] = max(0, whole - sum(held.values()))
    return "peak, as the plan's formula has it", held


def _features(report: Report) -> list[dict[str, Any]]:
    """The features with the most memory: what their weights keep, and the activations of their embeddings."""
    plan, profile = report.plan, report.evaluation.trained.profile
    kinds = {f.name: f.kind for f in report.checks.problem.schema.features}
    width = total_width(plan.capacity) or 1
    given = {f.feature: f for f in plan.capacity.features}
    grids = {grid.column: grid for grid in plan.capacity.grids}
    sizes = []
    for group, names in by_group(report.checks.problem.schema, given).items():
        if group.what in ("picture", "sound"):
            grid = grids.get(group.name)
            sizes.append((group, *((0, 0, 0) if grid is None else _grid_bytes(grid, plan.capacity, plan.execution))))
            continue
        parts = [_feature_bytes(given[n], kinds.get(n, ""), plan.capacity, plan.execution) for n in names]
        sizes.append((group, sum(given[n].width for n in names), sum(p[0] for p in parts), sum(p[1] for p in parts)))
    sizes.sort(key=lambda item: (-sum(item[2:]), item[0].name))
    axis = Axis.upto(sum(item[2:]) for item in sizes)
    time = _time_by_width(profile, plan.capacity) if profile is not None and not grids else None
    return [
        {
            "name": clean(group.name),
            "members": group.counted,
            "width": wide,
            "kept": axis.at(kept),
            "passing": round(axis.at(kept + passing) - axis.at(kept), 2),
            "total": show_bytes(kept + passing),
            "time": "" if time is None else f"{percent(time * wide / width)} of a step",
        }
        for group, wide, kept, passing in sizes[:TOP]
        if kept + passing
    ]


def _grid_bytes(grid: GridCapacity, capacity: Capacity, run: Execution) -> tuple[int, int, int]:
    """(width of the picture's embedding, bytes of the encoder's weights and columns, of its maps of a micro-batch)."""
    width = trunk.STAGES[-1] * grid.base
    columns = width * (capacity.block_width + capacity.members if capacity.blocks else capacity.members)
    kept = (grid.parameters + columns) * FLOAT_BYTES * (MOMENTS + 1 + bool(run.average))
    return width, kept, run.part_rows * grid.activations * FLOAT_BYTES


def _feature_bytes(given: FeatureCapacity, kind: str, capacity: Capacity, run: Execution) -> tuple[int, int]:
    """Bytes of a feature's weights with what training keeps beside each, and of its cells and embeddings of a micro-batch."""
    if not given.width:
        return 0, 0
    columns = given.width * (capacity.block_width + capacity.members if capacity.blocks else capacity.members)
    kept = (given.parameters + columns) * FLOAT_BYTES * (MOMENTS + 1 + bool(run.average))
    cell = NUMERIC_BYTES if kind == "numeric" else CATEGORY_BYTES
    read = windows.activations(given.width, given.length) * FLOAT_BYTES if given.length else 0
    return kept, run.part_rows * (6 * given.width * FLOAT_BYTES + cell + read)


def _time_by_width(profile: StepProfile, capacity: Capacity) -> float:
    """The share of a step that goes with the widths: the encoders, and the columns of the layer that reads them."""
    seconds = profile.seconds
    whole, first = sum(seconds.values()), total_width(capacity)
    middle = first + max(0, capacity.blocks - 1) * capacity.block_width
    reader: Part = "middle" if capacity.blocks else "output"
    reading = sum(s for (_, part), s in seconds.items() if part == reader)
    extraction = sum(s for (_, part), s in seconds.items() if part == "feature extraction")
    return (extraction + reading * first / middle) / whole if middle and whole else 0.0
