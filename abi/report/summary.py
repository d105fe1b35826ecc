"""The verdict in a sentence, and the few lines that end `abi run` on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from abi.outcomes import Control, Evaluation, Gain, Ranking
from abi.report.groups import by_group, division_of
from abi.report.wording import CONTROLS, clean, interval, metric_name, number, percent, plural
from abi.types import Estimate, Plan
from abi.units import show_bytes, show_count, show_energy, show_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from abi.report.content import Report

Standing = Literal["better", "same", "worse"]

_AGAINST = {"uniform": "the even split of the same envelope", "baseline": "the baseline"}
_OVER = "the smallest even split there is, which the envelope does not hold"
_COLOUR = {"better": "green", "same": "yellow", "worse": "red"}
_SHOWN = 8
_BAR = 24


def standing(gain: Gain) -> Standing:
    """What the interval of a gain allows to say: "same" where it includes zero."""
    if gain.difference.low > 0:
        return "better"
    return "worse" if gain.difference.high < 0 else "same"


def no_difference(gain: Gain) -> bool:
    """Whether both predict the same on every row that was drawn."""
    return gain.difference.low == gain.difference.high == 0


def compared(evaluation: Evaluation, name: str) -> Control | None:
    """The control of that name, or None where there was none."""
    return next((c for c in evaluation.controls if c.name == name), None)


def headline(evaluation: Evaluation) -> str:
    """The verdict in a few words, for the top of the page."""
    if lacks_signal(evaluation):
        return "No signal was found: the model does not do better than chance."
    uniform, baseline = compared(evaluation, "uniform"), compared(evaluation, "baseline")
    if is_even(evaluation.trained.plan):
        first = "The even split was kept: on validation data no other was measurably better."
    elif uniform is None:
        first = "There is no even split to compare with."
    else:
        first = {
            "better": "Attention paid off.",
            "same": "Attention brought no measurable gain.",
            "worse": "Attention made the model worse.",
        }[standing(uniform.gain)]
    if baseline is None:
        return first
    second = {
        "better": "The model beats the baseline.",
        "same": "The model cannot be told apart from the baseline.",
        "worse": "The baseline is better than the model.",
    }[standing(baseline.gain)]
    return f"{first} {second}"


def ranking_sentence(found: Ranking) -> str:
    """What the ranking metrics are means of."""
    return f"Rankings are of each user's held-out rows, over {plural(found.users, 'user')} with some of at least {number(found.threshold)} and some below."


def lacks_signal(evaluation: Evaluation) -> bool:
    """Whether held-out rows could not tell the model from chance."""
    return evaluation.signal is not None and not evaluation.signal.found


def no_signal(evaluation: Evaluation) -> str:
    """That nothing was found, and what it was held against, in one sentence."""
    found = evaluation.signal
    assert found is not None
    metric = metric_name(found.gain.metric)
    value, span = interval(evaluation.metrics[found.gain.metric])
    _, gained = interval(found.gain.difference, sign=True, significant=2)
    return (
        f"No signal was found: on {plural(evaluation.rows, 'held-out row')} {metric} is {value} (95% interval {span}) where chance "
        f"reaches {number(found.chance)}, a gain of {gained}; gates.signal does not let it be promoted"
    )


def verdict(evaluation: Evaluation) -> str:
    """What the model is worth beside the even split and the baseline, in one sentence.

    A difference counts only where its 95% interval leaves zero out.
    """
    value, span = interval(evaluation.metrics[evaluation.primary])
    if evaluation.along is not None:
        gained, its = interval(evaluation.along.gain.difference)
        return (
            f"On {plural(evaluation.rows, 'row')} of its stream, each before it was learned from, the model reaches "
            f"{metric_name(evaluation.primary)} {value} (95% interval {span}): {gained} over what the stream began with, never adapted "
            f"(95% interval {its})."
        )
    head = (
        no_signal(evaluation)
        if lacks_signal(evaluation)
        else (
            f"On {plural(evaluation.rows, 'held-out row')} the model reaches {metric_name(evaluation.primary)} {value} "
            f"(95% interval {span})"
        )
    )
    controls = [compared(evaluation, name) for name in _AGAINST]
    limit = evaluation.trained.plan.envelope.parameters
    clauses = [
        _clause(c, evaluation.primary, _OVER if c.name == "uniform" and exceeds(c, limit) else _AGAINST[c.name])
        for c in controls
        if c
    ]
    return f"{head}: {', and '.join(clauses)}." if clauses else f"{head}; nothing was trained to compare it with."


def exceeds(control: Control, limit: int | None) -> bool:
    """Whether a control has more parameters than the envelope allows, because no even split fits."""
    return limit is not None and control.parameters > limit


def _clause(control: Control, primary: str, against: str) -> str:
    gain = control.gain
    found = standing(gain)
    unit = "" if gain.metric == primary else f" {metric_name(gain.metric)}"
    value, span = interval(_turned(gain.difference) if found == "worse" else gain.difference, significant=2)
    if no_difference(gain):
        return f"no different from {against} (the difference is exactly zero)"
    if found == "same":
        side = "behind" if gain.difference.value < 0 else "ahead"
        return (
            f"not measurably different from {against} "
            f"({side} by {value.lstrip('−')}{unit}; the 95% interval {span} includes zero)"
        )
    return f"{found} than {against} by {value}{unit} (95% interval {span})"


def _turned(difference: Estimate) -> Estimate:
    return Estimate(value=-difference.value, low=-difference.high, high=-difference.low)


def is_network(plan: Plan) -> bool:
    """Whether there is a network in the plan, so that features have widths."""
    return not plan.capacity.empty


def capacities(plan: Plan) -> dict[str, str]:
    """What each feature was given, in a word: its encoder's width, or its contribution to the trees."""
    if is_network(plan):
        return {f.feature: str(f.width) for f in plan.capacity.features}
    return {f.feature: percent(f.contribution) for f in plan.trees.features} if plan.trees is not None else {}


def is_even(plan: Plan) -> bool:
    """True where the kept plan is itself the even split."""
    trees = plan.attention.trees
    uneven_trees = (
        plan.trees is not None and trees is not None and (trees.temperature is not None or trees.blend is not None)
    )
    return plan.allocation == "even" or (plan.attention.even and not uneven_trees)


@dataclass(frozen=True)
class CostLine:
    """One figure of plan against actual, as texts; ratios are of measured to predicted and to the limit."""

    name: str
    predicted: str
    bound: str
    measured: str
    limit: str
    ratio: float | None
    used: float | None


def costs(report: Report) -> list[CostLine]:
    """Plan against actual: what the envelope limits."""
    plan, trained = report.plan, report.evaluation.trained
    actual = report.evaluation.measured
    bound = trained.plan.bound if trained.predicted == trained.plan.predicted else None
    derived = plan.attention.scores.problem.schema.derivation is not None
    lines = []
    for field, name, show in (
        ("parameters", "parameters", show_count),
        ("memory_bytes", "memory", show_bytes),
        ("train_time_s", "training time", show_seconds),
        ("latency_s", f"latency of one row{', measured with derived columns' if derived else ''}", show_seconds),
    ):
        held = None if bound is None else getattr(bound, field)
        predicted, got, limit = (getattr(part, field) for part in (trained.predicted, actual, plan.envelope))
        lines.append(_line(name, show, predicted, held, got, limit))
    return lines + ([_macs(trained.predicted.macs, report.control_plan)] if trained.predicted.macs else [])


def _macs(macs: int, control: Plan | None) -> CostLine:
    """Multiply-accumulates of one row: known from the plan, and held against the even split's."""
    even = control.predicted.macs if control is not None else None
    return CostLine(
        name="multiply-accumulates",
        predicted=show_count(macs),
        bound="–",
        measured="–",
        limit="–" if not even else f"even {show_count(even)}",
        ratio=None,
        used=None,
    )


def resources(report: Report) -> list[CostLine]:
    """Plan against actual: time of a step and memory where they were measured, energy where it was measured or predicted."""
    taken, ahead = report.evaluation.trained.resources, report.forecast
    if taken is None:
        return []
    step = "a round of boosting" if report.evaluation.trained.family == "trees" else "a step"
    figures: tuple[tuple[str, Callable[[float | int], str], float | None, float | int | None], ...] = (
        (f"{step}, median", show_seconds, None if ahead is None else ahead.step_s, taken.step_s),
        (f"{step}, 95th percentile", show_seconds, None, taken.step_p95_s),
        ("memory reserved on the GPU", show_bytes, None, taken.reserved_bytes),
        ("memory of the process", show_bytes, None, taken.process_bytes),
    )
    lines = [_line(name, show, ahead, None, got, None, "–") for name, show, ahead, got in figures if got is not None]
    energy_j, limit_j = None if ahead is None else ahead.energy_j, report.plan.envelope.energy_j
    if energy_j is None and taken.energy_j is None:
        return lines
    return [*lines, _line("energy", show_energy, energy_j, None, taken.energy_j, limit_j, "–")]


def _line(
    name: str,
    show: Callable[[float | int], str],
    predicted: float | int | None,
    bound: float | int | None,
    got: float | int | None,
    limit: float | int | None,
    none: str = "no limit",
) -> CostLine:
    return CostLine(
        name=name,
        predicted="–" if predicted is None else show(predicted),
        bound="–" if bound is None else show(bound),
        measured="–" if got is None else show(got),
        limit=none if limit is None else show(limit),
        ratio=got / predicted if predicted and got is not None else None,
        used=got / limit if limit and got is not None else None,
    )


def kept(report: Report) -> str:
    """The family that was kept, and why."""
    names = {"network": "network", "trees": "trees", "blend": "blend of network and trees"}
    trained, decision = report.evaluation.trained, report.decision
    own = trained.choice or decision
    share = f" ({percent(own.weight)} network)" if trained.family == "blend" and own is not None else ""
    return f"{names[trained.family]}{share}" + (f": {decision.reason}" if decision is not None else "")


def terminal_summary(report: Report, path: Path | str | None = None, *, bars: bool = True) -> Panel:
    """A panel for the terminal: verdict, metrics, attention (with bars where there is room), plan against actual, and where the page lies."""
    evaluation = report.evaluation
    uniform = compared(evaluation, "uniform")
    colour = _COLOUR[standing(uniform.gain)] if uniform else "blue"
    colour = _COLOUR["worse"] if lacks_signal(evaluation) else colour
    parts: list[RenderableType] = [
        Text(headline(evaluation), style=f"bold {colour}"),
        Text(verdict(evaluation)),
        *([Text(f"Family: {kept(report)}")] if report.decision is not None else []),
        Text(),
        _metrics(evaluation),
        Text(),
        _attention(report, bars=bars),
        *_groups(report),
        Text(),
        _actual(report),
    ]
    if path is not None:
        parts += [Text(), Text(f"Report: {path}", style="bold", overflow="fold")]
    return Panel(Group(*parts), title=Text(clean(report.name)), border_style=colour, padding=(1, 2))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    return table


def _metrics(evaluation: Evaluation) -> Table:
    others = [c for c in evaluation.controls if c.name in CONTROLS]
    table = _table("held-out", "model", *(CONTROLS[c.name] for c in others))
    first = [evaluation.primary, *(m for m in evaluation.metrics if m != evaluation.primary)]
    for metric in first:
        cells = [evaluation.metrics[metric], *(c.metrics.get(metric) for c in others)]
        texts = (Text("–" if e is None else number(e.value)) for e in cells)
        table.add_row(Text(metric_name(metric)), *texts, style="bold" if metric == evaluation.primary else "")
    if evaluation.ranking is not None:
        for name, estimate in evaluation.ranking.metrics.items():
            controls = (evaluation.ranking.controls.get(c.name, {}).get(name) for c in others)
            texts = (Text("–" if v is None else number(v)) for v in (estimate.value, *controls))
            table.add_row(Text(name), *texts)
    return table


def _attention(report: Report, *, bars: bool) -> Table:
    weights = {w.feature: w.weight for w in report.plan.attention.weights}
    size = capacities(report.plan)
    groups = sorted(by_group(report.checks.problem.schema, weights), key=lambda group: -group.total(weights))
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("attention", overflow="fold")
    if bars:
        table.add_column("", no_wrap=True)
    table.add_column("share", justify="right")
    table.add_column("width" if is_network(report.plan) else "contribution", justify="right")
    top = groups[0].total(weights) if groups else 0.0
    for group in groups[:_SHOWN]:
        share = group.total(weights)
        bar = "━" * max(1, round(_BAR * share / top)) if top else ""
        width = size.get(group.name, "–") if group.alone else group.counted
        drawn = [Text(bar, style="blue")] if bars else []
        table.add_row(Text(clean(group.name, 24)), *drawn, percent(share), width)
    if len(groups) > _SHOWN:
        rest = sum(group.total(weights) for group in groups[_SHOWN:])
        table.add_row(Text(f"{len(groups) - _SHOWN:,} more", style="dim"), *([""] if bars else []), percent(rest), "")
    return table


def _groups(report: Report) -> list[Text]:
    """What the rows that stand for several features were given, the one with the most attention first."""
    weights = {w.feature: w.weight for w in report.plan.attention.weights}
    groups = [group for group in by_group(report.checks.problem.schema, weights) if not group.alone]
    groups.sort(key=lambda group: -group.total(weights))
    return [Text(f"{clean(g.name, 24)}: {division_of(report.plan, g)}", style="dim") for g in groups[:_SHOWN]]


def _actual(report: Report) -> Table:
    table = _table("cost", "planned", "measured", "envelope")
    for line in (*costs(report), *resources(report)):
        over = line.used is not None and line.used > 1
        table.add_row(line.name, line.predicted, Text(line.measured, style="bold red" if over else ""), line.limit)
    return table
