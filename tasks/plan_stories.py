"""Why a plan is as it is, and how two plans differ, as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from abi.errors import clip
from abi.execution.demands import show_price
from abi.report.groups import by_group
from abi.report.wording import number, percent
from abi.units import show_bytes, show_count, show_energy, show_seconds
from tasks.parts import SHOWN, Part, both, cost_line, left_out, new_table

if TYPE_CHECKING:
    from rich.table import Table

    from abi.execution.compare import ExecutionChange
    from abi.planning.compare import FeatureChange, PlanChange
    from abi.planning.explain import Division, PlanExplanation
    from abi.planning.steps import NextStep
    from abi.problem import Schema
    from abi.report.groups import Group

SHOWS: Final[dict[str, Callable[[Any], str]]] = {
    "parameters": show_count,
    "memory_bytes": show_bytes,
    "train_time_s": show_seconds,
    "latency_s": show_seconds,
    "step_s": show_seconds,
    "train_s": show_seconds,
    "energy_j": show_energy,
    "memory_bound": show_bytes,
    "host_memory_bytes": show_bytes,
    "rows per second": show_count,
    "price": show_price,
    "cost": show_price,
    "row_bytes": show_bytes,
}
RUN_COST: Final = ("memory_bound", "step_s", "train_s", "energy_j", "price", "latency_s")
EVALUATION: Final = {
    "batch": "rows at a time",
    "devices": "devices",
    "arithmetic": "arithmetic",
    "memory_bound": "memory_bound",
    "rows_per_s": "rows per second",
}
LAYERS: Final = {"feature_extraction": "feature extraction", "middle": "middle", "output": "output"}


def of_plan(told: PlanExplanation, schema: Schema) -> list[Part]:
    """What binds, what limits are worth, each feature's next step, and what lost."""
    parts: list[Part] = [told.bound, *(f"{p.limit}: {p.sentence}" for p in told.prices)]
    if told.division is not None:
        parts.append(_division(told.division))
    for part in ("network", "trees"):
        steps = [s for s in told.steps if s.part == part]
        whys = {s.why for s in steps if s.next is None}
        if len(steps) > 1 and len(whys) == 1 and all(s.next is None for s in steps):
            parts += ["", f"No next step for any of {len(steps)} features of the {part}: {whys.pop()}."]
        elif steps:
            groups = by_group(schema, (s.feature for s in steps))
            parts += ["", _steps(steps, part, groups), *left_out(len(groups))]
    if told.alternatives:
        lost = new_table("what lost", "why")
        lost.columns[1].justify = "left"
        for one in told.alternatives:
            lost.add_row(one.what, one.why)
        parts += ["", lost]
    return parts


def next_step(step: NextStep) -> str:
    """One feature's next step in words."""
    if step.next is None:
        return f"none: {step.why}"
    price = show_bytes(step.memory_bytes) if step.part == "trees" else f"{show_count(step.parameters)} parameters"
    return f"{step.unit} {step.now} -> {step.next} for {price} more, {_gain(step.gain)} expected gain"


def of_change(found: PlanChange) -> list[Part]:
    """What two plans have otherwise: features, layers, how they run, cost."""
    head = f"{found.before} -> {found.after}"
    if found.same:
        return [f"{head}: the same plan"]
    changed = [f for f in found.features if not f.same]
    parts: list[Part] = [head]
    if changed:
        parts += [_features(changed), *left_out(len(changed))]
    same = len(found.features) - len(changed)
    if same:
        parts.append(f"{same} feature{'s' if same > 1 else ''} with the same attention and capacity")
    return [*parts, *change_lines(found), cost_line("Predicted", found.predicted)]


def of_execution_change(found: ExecutionChange) -> list[Part]:
    """What two plans of modules have otherwise: what runs, how, under which limits, at what cost."""
    head = f"{found.before} -> {found.after}"
    if found.same:
        return [f"{head}: the same plan"]
    parts = (
        ("of", found.subject),
        ("runs", found.configuration),
        ("envelope", found.limits),
        ("job", found.job),
        ("evaluates", {said: found.evaluation[name] for name, said in EVALUATION.items() if name in found.evaluation}),
    )
    lines = [f"{name:<10} {_listed(pairs)}" for name, pairs in parts if pairs]
    cost = {name: (getattr(found.predicted[0], name), getattr(found.predicted[1], name)) for name in RUN_COST}
    return [head, *lines, f"Predicted: {_listed({n: p for n, p in cost.items() if p != (None, None)})}."]


def change_lines(found: PlanChange, *, attention: bool = True) -> list[str]:
    """The layers, the backbone, the trees, the envelope and the execution, where they differ."""
    moved = f"attention  {percent(found.total_variation)} moved (total variation); expected gain {both(found.gain, lambda x: number(x, 3))}"
    lines = [
        *([moved] if attention else []),
        f"layers     {', '.join(f'{said} {both(found.layers[name], show_count)}' for name, said in LAYERS.items())}",
        f"backbone   {_listed(found.backbone)}",
    ]
    parts = {"trees": found.trees, "envelope": found.envelope, "execution": found.execution, "devices": found.devices}
    for name, pairs in parts.items():
        if pairs:
            lines.append(f"{name:<10} {_listed(pairs)}")
    if attention and found.family[0] != found.family[1]:
        lines.append(f"family     {both(found.family)}")
    return lines


def _listed(pairs: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(f"{_said(name)} {both(pair, SHOWS.get(name, str))}" for name, pair in pairs.items())


def _said(name: str) -> str:
    return name.removesuffix("_bytes").removesuffix("_s").removesuffix("_j").replace("_", " ")


def _division(found: Division) -> str:
    return (
        f"Widths: worth {found.worth:.4g}, {found.gap:.2%} below {found.bound:.4g}, which no division of as many parameters "
        f"exceeds (linear relaxation); at its prices 1,000 parameters more for widths would bring {_gain(found.per_1000_parameters)} "
        f"and one more of width {_gain(found.per_width)}."
    )


def _steps(steps: list[NextStep], part: str, groups: Mapping[Group, Sequence[str]]) -> Table:
    """A row for each feature; one for all regions of a picture, with the step of the region whose next unit brings most."""
    trees, step_of = part == "trees", {s.feature: s for s in steps}
    unit = "per KiB" if trees else "per 1k parameters"
    table = new_table("feature", "attention", "bins" if trees else "width", "next", "price", "expected gain", unit)
    for group, names in list(groups.items())[:SHOWN]:
        of_group = [step_of[name] for name in names]
        s, said = of_group[0], " cells" if of_group[0].unit == "cells" else ""
        least, most = min(x.now for x in of_group), max(x.now for x in of_group)
        now = f"{least}{said}" if least == most else f"{least}–{most}{said}"
        name = clip(group.name) if group.alone else f"{clip(group.name)}, {group.counted}"
        head = (name, percent(sum(x.attention for x in of_group)), now)
        if s.next is None:
            table.add_row(*head, "none", "", "", s.why)
            continue
        place = "" if group.alone else f" in {group.short(s.feature)}"
        price = show_bytes(s.memory_bytes) if trees else show_count(s.parameters)
        table.add_row(*head, f"{s.next}{said}{place}", price, _gain(s.gain), _gain(s.gain_per_unit))
    return table


def _features(changed: list[FeatureChange]) -> Table:
    """A row for each feature that changed; what is the same in all has no column."""
    shows: dict[str, Callable[[Any], str]] = {
        "attention": percent, "width": str, "bins": str, "rows": str, "parameters": show_count,
        "tree_bins": str, "contribution": percent,
    }  # fmt: skip
    there = {name: show for name, show in shows.items() if any(len(set(getattr(f, name))) > 1 for f in changed)}
    table = new_table("feature", *(name.replace("_", " ") for name in there), *([""] if _comings(changed) else []))
    for f in changed[:SHOWN]:
        cells = [both(getattr(f, name), show) for name, show in there.items()]
        table.add_row(clip(f.feature), *cells, *([f.change if f.change != "kept" else ""] if _comings(changed) else []))
    return table


def _comings(changed: list[FeatureChange]) -> bool:
    return any(f.change != "kept" for f in changed)


def _gain(share: float) -> str:
    """A relative gain, fine enough that a small one is not nothing."""
    return f"{share:+.2%}" if abs(share) >= 5e-5 or share == 0 else f"{share:+.1e}"  # noqa: PLR2004 - what two digits show
