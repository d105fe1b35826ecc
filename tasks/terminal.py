"""Values as a person reads them in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from abi.errors import clip
from abi.monitored import Drift
from abi.outcomes import Evaluation, Trained
from abi.planning.on_devices import on_devices
from abi.problem import Checks
from abi.report.groups import Group, by_group, division_of, most_of
from abi.report.robust import lines, names, steadiness
from abi.report.summary import ranking_sentence, verdict
from abi.report.wording import alignment_sentence, blend_sentence, metric_name, refit_sentence, split_name
from abi.robustness import Robustness
from abi.types import Attention, FeatureCapacity, FeatureScore, Plan, Scores
from abi.units import show_bytes, show_count, show_seconds
from abi.values import Value
from tasks.stdout import print_whole, stdout_console

SHOWN = 40
NARROW = 100
BARS = 72


def show(value: Value, *, no_color: bool = False) -> None:
    """Print a stage's value as a table and a line or two."""
    console = stdout_console(no_color=no_color)
    table, told = _VIEWS[type(value)](value)
    if table is not None:
        print_whole(console, table)
    for line in told:
        console.print(line, markup=False)
    if isinstance(value, Evaluation) and value.robustness is not None:
        show_robustness(value.robustness, no_color=no_color)


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    no_color: bool = False,
    numbers: Collection[int] = (),
    whole: Collection[int] = (),
) -> None:
    """Print rows of text; the columns in `numbers` stand to the right, those in `whole` are never broken."""
    table = Table(box=None, pad_edge=False)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i in numbers else "left", overflow="fold", no_wrap=i in whole)
    for row in rows:
        table.add_row(*map(escape, row))
    print_whole(stdout_console(no_color=no_color), table)


def has_bars(console: Console) -> bool:
    """Whether there is room for bars beside figures."""
    return console.width >= BARS


def is_narrow() -> bool:
    """Whether a wide table would break its words."""
    return Console().width < NARROW


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 or column == "why" else "right", overflow="fold")
    return table


def _more(count: int) -> list[str]:
    return [f"… and {count - SHOWN} more (--json has all)"] if count > SHOWN else []


def _checks(value: Checks) -> tuple[Table | None, list[str]]:
    from abi.data.order_checks import order_sentence  # it imports pandas, which a plan is shown without

    open_ = [r for r in value.results if r.status != "passed"]
    table = _table("check", "column", "severity", "expected", "found") if open_ else None
    for r in open_[:SHOWN]:
        assert table is not None
        table.add_row(r.name, clip(r.column or ""), r.severity, r.expected, r.observed)
    aside = [f"set aside: {clip(s.column)} ({s.reason})" for s in value.problem.schema.set_aside[:SHOWN]]
    ordered = [order_sentence(value.problem)] if value.problem.split.order else []
    return table, [
        *_more(len(open_)),
        *ordered,
        f"{len(value.results) - len(open_)} of {len(value.results)} checks passed",
        *aside,
    ]


def _signal(score: FeatureScore) -> str:
    return "beside others" if score.only_beside else "yes" if score.carries_signal else "none"


def _scores(value: Scores) -> tuple[Table | None, list[str]]:
    table = _table("feature", "score", "95% interval", "relevance", "discrimination", "complexity", "signal")
    order = {f.feature: f for f in sorted(value.features, key=lambda f: (-f.score, not f.carries_signal))}
    groups = by_group(value.problem.schema, order)
    for group, members in list(groups.items())[:SHOWN]:
        f = order[members[0]]
        terms = [f"{x:.3f}" for x in (f.relevance, f.discrimination, f.complexity)]
        signals = sum(order[name].carries_signal for name in members)
        table.add_row(
            clip(group.name),
            f"{f.score:.3f}",
            f"{f.low:.3f}–{f.high:.3f}",
            *terms,
            _signal(f) if group.alone else f"{signals} of {len(members)}",
        )
    told = [
        f"{clip(group.name)}: {group.counted}, the best is {group.short(members[0])}, whose figures these are"
        for group, members in groups.items()
        if not group.alone
    ]
    return table, [*_more(len(groups)), *told[:SHOWN]]


def _attention(value: Attention) -> tuple[Table | None, list[str]]:
    table = _table("feature", "attention", "95% interval", "bound")
    given = {w.feature: w for w in value.weights}
    weights = {w.feature: w.weight for w in value.weights}
    groups = sorted(by_group(value.scores.problem.schema, given), key=lambda group: -group.total(weights))
    for group in groups[:SHOWN]:
        if group.alone:
            w = given[group.name]
            table.add_row(clip(w.feature), f"{w.weight:.1%}", f"{w.low:.1%}–{w.high:.1%}", w.bound or "")
        else:
            table.add_row(clip(group.name), f"{group.total(weights):.1%}", group.counted, "")
    chosen = split_name(value)
    told = [f"{clip(g.name)}: {most_of(g, weights, 'attention')}" for g in groups if not g.alone][:SHOWN]
    told += [] if value.blend is None else [blend_sentence(value.blend)]
    spread = f"entropy {value.entropy:.3f} nats, as over {value.effective:.1f} features"
    return table, [*_more(len(groups)), f"{chosen}, {spread}", *told]


def _plan(value: Plan) -> tuple[Table | None, list[str]]:
    schema = value.attention.scores.problem.schema
    if value.capacity.empty and value.trees is not None:
        table = _table("feature", "contribution", "bins", "why")
        counts = {t.feature: t for t in sorted(value.trees.features, key=lambda f: -f.contribution)}
        shares = {name: t.contribution for name, t in counts.items()}
        groups = sorted(by_group(schema, counts), key=lambda group: -group.total(shares))
        for group in groups[:SHOWN]:
            bins = str(sum(counts[name].bins for name in group.members))
            why = counts[group.name].reason if group.alone else most_of(group, shares, "contribution")
            table.add_row(clip(group.name), f"{group.total(shares):.0%}", bins, why)
    else:
        table = _table("feature", "width", "bins or rows", "parameters", "why")
        given = {f.feature: f for f in sorted(value.capacity.features, key=lambda f: -f.width)}
        groups = list(by_group(schema, given))
        for group in groups[:SHOWN]:
            table.add_row(*_given(value, group, [given[name] for name in group.members]))
    cost = value.predicted
    macs = "" if not cost.macs else f", {show_count(cost.macs)} multiply-accumulates per row"
    total = f"{show_count(cost.parameters)} parameters, {show_bytes(cost.memory_bytes)}, {show_seconds(cost.train_time_s)} of training, {show_seconds(cost.latency_s)} per row{macs}"
    planned = on_devices(value)
    runs = () if planned is None else planned.reasons
    return table, [*_more(len(groups)), *value.reasons, *runs, f"Predicted: {total}."]


def _given(plan: Plan, group: Group, given: Sequence[FeatureCapacity]) -> tuple[str, ...]:
    """A row of the plan's table: a feature, or the range of widths of several."""
    first = given[0]
    if group.alone:
        size = str(first.bins or first.rows)
        return clip(first.feature), str(first.width), size, show_count(first.parameters), first.reason
    widths = [f.width for f in given]
    span = str(widths[0]) if min(widths) == max(widths) else f"{min(widths)}–{max(widths)}"
    trunk = next((grid.parameters for grid in plan.capacity.grids if grid.column == group.name), 0)
    own = sum(f.parameters for f in given)
    size = str(sum(f.bins or f.rows for f in given) or "")
    return clip(group.name), span, size, show_count(own + trunk), division_of(plan, group)


def _trained(value: Trained) -> tuple[Table | None, list[str]]:
    measured, predicted = value.measured, value.predicted
    table = _table("", "predicted", "measured")
    table.add_row("parameters", show_count(predicted.parameters), show_count(measured.parameters))
    table.add_row("memory", show_bytes(predicted.memory_bytes), show_bytes(measured.memory_bytes))
    table.add_row("training", show_seconds(predicted.train_time_s), show_seconds(measured.train_time_s))
    best = f"{value.best_epoch} rounds of boosting" if value.family == "trees" else f"best of {len(value.history)} epochs at {value.best_epoch}"  # fmt: skip
    why = [] if value.choice is None else [f"{value.family}: {value.choice.reason}"]
    if aligned := alignment_sentence(value):
        why.append(f"modalities aligned with {aligned}")
    if value.refit is not None:
        why.append(f"trained once more on all taught rows: {refit_sentence(value.family, value.refit)}")
    return table, [f"validation loss {value.loss:.5f}, {best}", *why]


def _evaluation(value: Evaluation) -> tuple[Table | None, list[str]]:
    table = _table("metric", "model", *(c.name for c in value.controls))
    for name, estimate in value.metrics.items():
        table.add_row(name, *(f"{e.value:.4f}" for e in (estimate, *(c.metrics[name] for c in value.controls))))
    if value.ranking is not None:
        for name, estimate in value.ranking.metrics.items():
            table.add_row(
                name, f"{estimate.value:.4f}", *(f"{value.ranking.controls[c.name][name]:.4f}" for c in value.controls)
            )
        return table, [verdict(value), ranking_sentence(value.ranking)]
    return table, [verdict(value)]


def show_robustness(found: Robustness, *, no_color: bool = False) -> None:
    """Print how the model bears changed inputs, and how steady its attention is."""
    header = [f"{metric_name(found.metric)} where inputs are", *names(found).values()]
    print_table(header, lines(found), no_color=no_color, numbers=set(range(1, len(header))))
    header = ["attention fitted again to", "rank of scores", "moved", "at most", "refits"]
    if found.stability:
        print_table(header, map(steadiness, found.stability), no_color=no_color, numbers={1, 2, 3, 4})


def _drift(value: Drift) -> tuple[Table | None, list[str]]:
    table = _table("feature", "attention", "PSI", "p", "distance", "missing", "unseen", "drifted")
    ordered = sorted(value.features, key=lambda f: (not f.drifted, -f.psi))
    for f in [*ordered[:SHOWN], *((value.prediction,) if value.prediction is not None else ())]:
        table.add_row(
            "predictions" if f is value.prediction else clip(f.feature),
            "" if f is value.prediction else f"{f.weight:.1%}",
            f"{f.psi:.3f}",
            f"{f.p_value:.2g}",
            "" if f.distance is None else f"{f.distance:.2f}",
            f"{f.missing_before:.0%} → {f.missing_now:.0%}",
            f"{f.unseen:.0%}",
            ("yes" if f.drifted else "no") if f.judged else "date",
        )
    moved = value.attention
    told = (
        [f"attention: Jensen-Shannon distance {moved.distance:.3f} over {moved.rows} rows with a target"]
        if moved
        else []
    )
    told += [f"attention: chance stays below {moved.band:.3f}"] if moved and moved.band else []
    state = f"alarm on since {value.since}" if value.alarm else "no alarm"
    last = f"{value.rows} rows against {value.model} {value.version}: {state}{', a retraining is due' if value.due else ''}"  # fmt: skip
    return table, [*_more(len(value.features)), *told, *value.notes, *value.reasons, last]


_VIEWS: dict[type[Value], Callable[[Any], tuple[Table | None, list[str]]]] = {
    Checks: _checks,
    Scores: _scores,
    Attention: _attention,
    Plan: _plan,
    Trained: _trained,
    Evaluation: _evaluation,
    Drift: _drift,
}
