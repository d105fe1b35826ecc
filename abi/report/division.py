"""The page's section about the plan: where the envelope went, beside the even split, and why."""

from __future__ import annotations

from typing import Any, Final

from abi.report.axis import Axis
from abi.report.content import Report
from abi.report.groups import Group, by_group, division_of, most_of
from abi.report.summary import compared, is_network
from abi.report.summary import kept as family
from abi.report.wording import clean, number, percent, plural
from abi.types import Capacity, FeatureCapacity, LayerSplit, Plan
from abi.units import show_bytes, show_count, show_energy, show_seconds

TOP: Final = 20
LISTED: Final = 200
WRITTEN: Final = 20
TREATMENTS: Final = {"numeric": "numbers", "categories": "categories", "statistics": "target statistics"}


def plan(report: Report) -> dict[str, Any]:
    """Where the envelope went, beside the even split, and why."""
    kept, control = report.plan, report.control_plan
    even = {f.feature: f.width for f in control.capacity.features} if control is not None else {}
    trained = report.evaluation.trained
    left = dict(zip((f.feature for f in kept.capacity.features), trained.kept, strict=False))
    order = sorted(kept.capacity.features, key=lambda f: (-left.get(f.feature, 0), -f.width, -f.parameters))
    given = {f.feature: f for f in order}
    groups = by_group(report.checks.problem.schema, given)
    axis = Axis.upto([v for f in order for v in (f.width, even.get(f.feature, 0))])
    widths = [
        _width(kept, group, [given[name] for name in names], even, left, axis)
        for group, names in list(groups.items())[:LISTED]
    ]
    run, size = kept.execution, kept.capacity
    stacks = [
        _stack(name, layers)
        for name, layers in (
            (
                "training starts with" if trained.layers else "this plan",
                kept.capacity.layers if is_network(kept) else None,
            ),
            ("what training left", trained.layers),
            ("even split", control.capacity.layers if control and is_network(control) else None),
        )
        if layers is not None
    ]
    return {
        "stacks": stacks,
        "family": clean(family(report), 400) if report.decision is not None else "",
        "candidates": _candidates(report),
        "trees": _trees(kept, control),
        "widths": widths[:TOP],
        "pruned": bool(left),
        "all": widths,
        "count": len(groups),
        "control": control is not None,
        "reasons": [clean(reason, 400) for reason in (*kept.reasons[:WRITTEN], *_revised(report))],
        "more_reasons": max(0, len(kept.reasons) - WRITTEN),
        "backbone": _backbone(size) if is_network(kept) else "",
        "execution": f"{run.device}, {plural(run.threads, 'thread')}"
        if not is_network(kept)
        else (
            f"{run.device} in {run.precision}, {plural(run.batch_rows, 'row')} per step, at most "
            f"{plural(run.epochs, 'epoch')} ({plural(run.steps, 'step')}), {plural(run.threads, 'thread')}"
        ),
        "envelope": _envelope(kept),
        "trials": _trial_counts(report),
    }


def _width(
    of: Plan,
    group: Group,
    given: list[FeatureCapacity],
    even: dict[str, int],
    left: dict[str, int],
    axis: Axis,
) -> dict[str, Any]:
    """One row: a feature's width, or the mean width of a group's members."""
    width = sum(f.width for f in given) / len(given)
    beside = [even[f.feature] for f in given if f.feature in even]
    trunk = next((grid.parameters for grid in of.capacity.grids if grid.column == group.name), 0)
    mean_even = sum(beside) / len(beside) if beside else None
    kept = [left[f.feature] for f in given if f.feature in left]
    return {
        "name": clean(group.name),
        "members": group.counted,
        "width": _mean(width),
        "even": None if mean_even is None else _mean(mean_even),
        "fill": axis.at(width),
        "even_fill": axis.at(mean_even or 0),
        "bins": sum(f.bins for f in given),
        "rows": sum(f.rows for f in given),
        "parameters": show_count(sum(f.parameters for f in given) + (0 if group.alone else trunk)),
        "left": show_count(sum(kept)) if kept else "",
        "reason": clean(given[0].reason if group.alone else division_of(of, group), 300),
    }


def _mean(width: float | int) -> str:
    return str(int(width)) if width == int(width) else number(width, 1)


def _revised(report: Report) -> list[str]:
    """What training changed about the plan."""
    return [
        f"Memory ran out ({r.reason}): from epoch {r.epoch + 1} on, a step was done in parts of {plural(r.micro_batch, 'row')}, not of {r.micro_batch_before}; it took as many rows as before."
        for r in report.evaluation.trained.revisions
    ]


def _backbone(size: Capacity) -> str:
    if not size.blocks:
        return "No backbone: the output layer reads what the encoders give."
    return f"Backbone: {plural(size.members, 'ensemble member')}, each of {plural(size.blocks, 'block')} of width {size.block_width:,}."


def _candidates(report: Report) -> list[dict[str, str]]:
    """The families that were trained, where there was a choice."""
    tried = report.decision.candidates if report.decision is not None else ()
    return [
        {
            "family": c.family,
            "loss": number(c.loss),
            "metric": "not defined" if c.metric is None else number(c.metric),
            "parameters": show_count(c.cost.parameters),
            "latency": show_seconds(c.cost.latency_s),
            "time": show_seconds(c.cost.train_time_s),
            "chosen": "yes" if c.family == report.evaluation.trained.family else "",
        }
        for c in tried
    ]


def _trees(of: Plan, control: Plan | None) -> dict[str, Any] | None:
    """Bins and contribution of each feature in the trees, where the kept model has any."""
    if of.trees is None:
        return None
    even = {f.feature: f.bins for f in control.trees.features} if control is not None and control.trees else {}
    size, given = of.trees, {f.feature: f for f in of.trees.features}
    shares = {name: f.contribution for name, f in given.items()}
    groups = sorted(
        by_group(of.attention.scores.problem.schema, given).items(),
        key=lambda item: (-item[0].total(shares), -sum(given[name].bins for name in item[1])),
    )
    axis = Axis.upto([group.total(shares) for group, _ in groups])
    rows = [
        {
            "name": clean(group.name),
            "members": group.counted,
            "contribution": percent(group.total(shares)),
            "fill": axis.at(group.total(shares)),
            "bins": sum(given[name].bins for name in names),
            "even": sum(even[name] for name in names if name in even) if even else None,
            "treatment": TREATMENTS[given[names[0]].treatment],
            "reason": clean(given[names[0]].reason if group.alone else most_of(group, shares, "contribution"), 300),
        }
        for group, names in groups[:LISTED]
    ]
    text = f"Trees: at most {plural(size.rounds, 'round')} with {plural(size.leaves, 'leaf', 'leaves')} each"
    return {"rows": rows, "top": rows[:TOP], "count": len(groups), "text": text}


def _stack(name: str, layers: LayerSplit) -> dict[str, Any]:
    parts = (
        ("feature extraction", layers.feature_extraction),
        ("middle", layers.middle),
        ("output", layers.output),
    )
    total = sum(count for _, count in parts) or 1
    axis = Axis(0, total)
    return {
        "name": name,
        "total": show_count(total),
        "parts": [
            {"name": part, "fill": axis.at(count), "share": percent(count / total), "count": show_count(count)}
            for part, count in parts
            if count
        ],
    }


def _envelope(of: Plan) -> str:
    limits = (
        (of.envelope.parameters, show_count, "parameters"),
        (of.envelope.memory_bytes, show_bytes, "memory"),
        (of.envelope.train_time_s, show_seconds, "training"),
        (of.envelope.latency_s, show_seconds, "per prediction"),
        (of.envelope.energy_j, show_energy, "of energy"),
        (of.envelope.cost, str, "of cost"),
    )
    said = [f"{show(limit)} {what}" for limit, show, what in limits if limit is not None]
    return ", ".join(said) or "no limits"


def _trial_counts(report: Report) -> str:
    uniform = compared(report.evaluation, "uniform")
    if uniform is None:
        return ""
    return (
        f"The model is the best of {plural(report.evaluation.trials, 'training')}, the even split of "
        f"{plural(uniform.trials, 'training')} under the same envelope."
    )
