"""Replays, what-ifs, explanations and comparisons as a person reads them in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.table import Table

from abi.audit.gist import gist
from abi.errors import clip
from abi.outcomes import Gain
from abi.report.wording import METRICS, blend_sentence, interval, metric_name, number, percent, plural, split_name
from abi.types import Estimate, Trial
from abi.units import show_count
from tasks.parts import SHOWN, Part, both, cost_line, left_out, new_table
from tasks.plan_stories import change_lines, next_step

if TYPE_CHECKING:
    from abi.audit.diff import FeatureDiff, RunDiff
    from abi.audit.explain import Event, Explanation, RoundStory
    from abi.audit.what_if import WhatIf
    from abi.planning.steps import NextStep
    from abi.types import FeatureCapacity, FeatureScore
    from tasks.replay import Replayed

ID = 12


def of_replay(found: Replayed) -> list[Part]:
    """A line for each decision."""
    table = new_table("decision", "recorded", "recomputed", "")
    for d in found.decisions:
        said = (
            "identical" if d.same else f"not replayed: {d.why}" if d.recomputed is None else f"differs: {d.difference}"
        )
        table.add_row(d.name, d.recorded[:ID], (d.recomputed or "")[:ID], said)
    same = sum(d.same for d in found.decisions)
    return [table, f"{same} of {plural(len(found.decisions), 'decision')} identical, byte for byte", *found.notes]


def of_what_if(found: WhatIf) -> list[Part]:
    """What would change, the feature whose attention moves most first."""
    trees = any(f.contribution != (None, None) for f in found.features)
    columns = ["attention", "width", "parameters", *(["contribution", "bins"] if trees else [])]
    table = new_table("feature", *columns)
    ranked = sorted(found.features, key=lambda f: -abs(f.attention[1] - f.attention[0]))
    for f in ranked[:SHOWN]:
        cells = [both(f.attention, percent), both(f.width), both(f.parameters)]
        table.add_row(clip(f.feature), *cells, *([both(f.contribution, percent), both(f.bins)] if trees else []))
    asked = ", ".join(f"{key}={value}" for key, value in found.changes.items())
    return [
        f"With {asked}, round {found.round} would have been planned so (nothing was trained):",
        table,
        *left_out(len(ranked)),
        f"Attention moves by {percent(found.moved)}; family {both(found.family)}.",
        cost_line("Predicted", found.predicted),
        *found.reasons,
    ]


def of_explanation(told: Explanation) -> list[Part]:
    """The story in the order in which it happened."""
    f, s = told.feature, told.score
    column = "" if f.column == f.name else f", {f.part or 'part'} of column {clip(f.column)!r}"
    parts: list[Part] = [
        f"{clip(f.name)} in {told.model} (run {told.run_id})",
        f"data       {f.kind}{column}, {plural(f.distinct, 'distinct value')}, {percent(f.missing_share)} missing",
        f"score      {number(s.score, 3)} ({number(s.low, 3)} to {number(s.high, 3)}), rank {told.score_rank} of {told.features}: "
        f"relevance {number(s.relevance, 3)}, discrimination {number(s.discrimination, 3)}, redundancy {number(s.redundancy, 3)}, complexity {number(s.complexity, 3)}",
        f"           a shuffled target reaches a relevance of {number(s.null, 3)} (p = {number(s.p_value, 3)}): {_signal(s)}",
        f"split      {_split(told)}",
    ]
    parts += [f"  tried    {_trial(t)}" for t in told.trials]
    parts += [f"  trees    {_trial(t)}" for t in told.trees_trials]
    if told.blend is not None:
        parts.append(f"           {blend_sentence(told.blend)}")
    parts += _tail(told)
    for turn in told.rounds:
        parts += _turn(turn, told)
    parts += [f"{'next' if i == 0 else '':<10} {_next(step, told)}" for i, step in enumerate(told.next)]
    if (said := _even(told)) is not None:
        parts.append(f"even split {said}")
    parts += [
        f"slice      {clip(s.group)}: {_estimate(s.metric)} on {plural(s.rows, 'held-out row')}" for s in told.slices
    ]
    if told.terms:
        top = sorted(told.terms, key=lambda t: -t.width)[:5]
        parts.append(f"terms      kept most of: {', '.join(f'{t.term} ({t.width})' for t in top)}")
    parts += [f"drift      {_drifted(e)}" for e in told.drift]
    parts += [f"version    {_event(e)}" for e in told.approvals]
    return parts


def of_diff(found: RunDiff) -> list[Part]:
    """What changed around the decision, then the decision, then what it led to."""
    rows = (
        f"{found.rows[0]:,} -> {found.rows[1]:,} rows" if found.rows[0] != found.rows[1] else f"{found.rows[0]:,} rows"
    )
    changed = [f for f in found.features if f.change != "kept"]
    schema = ", ".join(
        f"{clip(f.feature)} {f.change if f.change != 'kind' else f'{f.kind[0]} -> {f.kind[1]}'}"
        for f in changed[:SHOWN]
    )
    settings = found.settings
    said = (
        "not recorded"
        if settings is None
        else ", ".join(f"{key} {a} -> {b}" for key, (a, b) in list(settings.items())[:SHOWN]) or "the same"
    )
    code = (
        "the same"
        if found.code[0] == found.code[1]
        else f"{(found.code[0] or 'unknown')[:ID]} -> {(found.code[1] or 'unknown')[:ID]}"
    )
    libraries = ", ".join(f"{name} {a} -> {b}" for name, (a, b) in found.libraries.items())
    table = _features(found)
    quality = new_table("metric", found.before, found.after, "")
    for m in found.metrics:
        meet = "" if m.overlap is None else "intervals overlap" if m.overlap else "intervals apart"
        quality.add_row(metric_name(m.metric), _estimate(m.before), _estimate(m.after), meet)
    for g in found.gains:
        quality.add_row(f"gain over {g.control}", _gain(g.before), _gain(g.after), "")
    parts: list[Part] = [
        f"{found.before} -> {found.after}",
        f"data       {'the same snapshot' if found.same_data else 'another snapshot'}, {rows}{'; ' + schema if schema else ''}",
        f"settings   {said}",
        f"code       {code}{'; ' + libraries if libraries else ''}",
        f"attention  {percent(found.total_variation)} moved (total variation), Jensen-Shannon distance {number(found.jensen_shannon, 3)}; temperature {both(found.split)}; family {both(found.family)}",
        table,
        *left_out(len(found.features)),
        cost_line("Predicted", found.predicted),
        cost_line("Measured", found.measured),
        *change_lines(found.plan, attention=False),
        quality,
    ]
    if not found.same_test:
        parts.append("The held-out rows are others: metrics are not of the same rows.")
    return parts


def _features(found: RunDiff) -> Table:
    """A row for each feature; what neither run gave any of them has no column."""
    columns: dict[str, Callable[[FeatureDiff], tuple[tuple[Any, Any], Any]]] = {
        "score": lambda f: (f.score, lambda x: number(x, 3)),
        "attention": lambda f: (f.attention, percent),
        "width": lambda f: (f.width, str),
        "parameters": lambda f: (f.parameters, str),
        "contribution": lambda f: (f.contribution, percent),
    }
    there = {name: of for name, of in columns.items() if any(of(f)[0] != (None, None) for f in found.features)}
    table = new_table("feature", *there)
    for f in found.features[:SHOWN]:
        table.add_row(clip(f.feature), *(both(*of(f)) for of in there.values()))
    return table


def _tail(told: Explanation) -> list[str]:
    """The classes of the tail that the feature is selected for, where attention has a share for them."""
    if told.tail_classes is None:
        return []
    share = "none of attention" if told.tail is None else f"{percent(told.tail)} of attention"
    lines = [
        f"tail       selected for {len(told.selected_for)} of {plural(told.tail_classes, 'rare class', 'rare classes')}, which share {share}"
    ]
    for s in told.selected_for[:SHOWN]:
        terms = f"; terms {', '.join(clip(term) for term in s.terms)}" if s.terms else ""
        lines.append(
            f"           {clip(s.label)} ({plural(s.rows, 'row')}): tells {percent(s.tells)} of it alone{terms}"
        )
    return lines


def _turn(turn: RoundStory, told: Explanation) -> list[str]:
    w = turn.weight
    bound = (
        f", on its {turn.bound} of {percent(turn.floor if turn.bound == 'floor' else turn.cap)}" if turn.bound else ""
    )
    head = f"round {turn.round}"
    lines = [
        f"{head:<11}{'kept: ' if turn.kept else ''}attention {percent(w.value)} ({percent(w.low)} to {percent(w.high)}), {number(w.value * told.features, 1)}x the even share, rank {turn.rank} of {told.features}{bound}"
    ]
    if turn.before is not None and turn.shown is not None:
        share = "" if turn.shown.share is None else f", {percent(turn.shown.share)} of its importance"
        lines.append(
            f"           moved from {percent(turn.before)}: the model of the round before gave it a score of {number(turn.shown.score, 3)} ({number(turn.shown.low, 3)} to {number(turn.shown.high, 3)}){share}"
        )
    if turn.capacity is not None:
        c = turn.capacity
        lines.append(f"           width {c.width}, {_encoded(c)}, {show_count(c.parameters)} parameters: {c.reason}")
    if turn.trees is not None:
        t = turn.trees
        own = "" if turn.trees_weight is None else f" attention {percent(turn.trees_weight)},"
        lines.append(
            f"           trees:{own} {t.bins} bins, as {t.treatment}, contribution {percent(t.contribution)}: {t.reason}"
        )
    left = "" if turn.left is None else f", left it {show_count(turn.left)} parameters"
    lines.append(f"           training moved its weight to {percent(turn.trained_weight)}{left}")
    if turn.ablation is not None:
        lines.append(
            f"           ablation: shuffling it adds {_estimate(turn.ablation, sign=True)} to the validation loss, rank {turn.ablation_rank} of {told.features}"
        )
    if turn.trees_ablation is not None:
        lines.append(f"           ablation in the trees: {_estimate(turn.trees_ablation, sign=True)}")
    return lines


def _next(step: NextStep, told: Explanation) -> str:
    part = f"{step.part}: " if len(told.next) > 1 else ""
    return f"{part}{next_step(step)}"


def _even(told: Explanation) -> str | None:
    """What it would have had then."""
    said = []
    if told.even is not None:
        c = told.even
        said.append(f"width {c.width}, {_encoded(c)}, {show_count(c.parameters)} parameters")
    if told.even_trees is not None:
        said.append(f"{told.even_trees.bins} bins in the trees, where all count the same")
    return f"would have given it {' and '.join(said)}; attention {percent(1 / told.features)}" if said else None


def _encoded(c: FeatureCapacity) -> str:
    return f"{c.bins} bins" if c.bins else f"{c.rows} rows" if c.rows else "no table"


def _split(told: Explanation) -> str:
    chosen = Trial(
        temperature=told.temperature, loss=0.0, metric=None, frugal=told.frugal, pruned=told.pruned,
        blended=told.blend is not None, lean=told.lean,
    )  # fmt: skip
    if not told.trials:
        return f"{split_name(chosen)}; there was nothing to try"
    return f"{split_name(chosen)}, chosen from {plural(len(told.trials), 'trial')} on validation rows"


def _signal(score: FeatureScore) -> str:
    """Whether the feature carries signal, and by which test."""
    if score.only_beside and score.beside is not None:
        return f"alone it tells no more than that, but it does beside the others (p = {number(score.beside, 3)})"
    return "it carries signal" if score.carries_signal else "it tells no more than that"


def _trial(trial: Trial) -> str:
    gain = ""
    if trial.gain is not None:
        errors = "" if not trial.error else f", {number(trial.gain / trial.error, 1, sign=True)} standard errors"
        gain = f" ({number(trial.gain, sign=True)} over the one preferred before{errors})"
    return f"{split_name(trial)}: validation loss {number(trial.loss)}{gain}"


def _event(event: Event) -> str:
    return f"{_when(event)}: {gist(event.kind, event.said) or event.kind} (entry {event.seq}, by {event.actor})"


def _drifted(event: Event) -> str:
    """What one look at new rows found of this feature."""
    psi = event.said.get("psi")
    size = "" if psi is None else f" (PSI {number(psi, 3)})"
    return f"{_when(event)}: {'drifted' if event.said['drifted'] else 'within its limit'}{size} (entry {event.seq})"


def _when(event: Event) -> str:
    return event.time[:16].replace("T", " ")


def _estimate(estimate: Estimate | None, *, sign: bool = False) -> str:
    return "none" if estimate is None else "{} ({})".format(*interval(estimate, sign))


def _gain(gain: Gain | None) -> str:
    return (
        "none" if gain is None else f"{METRICS.get(gain.metric, gain.metric)} {_estimate(gain.difference, sign=True)}"
    )
