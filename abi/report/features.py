"""The page's sections about data and features: checks, scores, attention."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from abi.outcomes import TermWidth
from abi.problem import Check
from abi.report.axis import Axis
from abi.report.content import Report
from abi.report.groups import Group, by_group
from abi.report.summary import capacities, is_even, is_network
from abi.report.tuned import tuned_sentence
from abi.report.wording import blend_sentence, clean, metric_name, number, percent, plural, split_name
from abi.types import Attention, FeatureCapacity, FeatureScore
from abi.units import show_bytes

TOP = 20
TOP_TEXTS = 6
TOP_TERMS = 15
LISTED = 200
WRITTEN = 20
CSV_BYTES = 180_000
_Z95 = 1.96
_TERMS = ("relevance", "discrimination", "redundancy", "complexity")


def checks(report: Report) -> dict[str, Any]:
    """What the data checks found, the worst first."""
    results = report.checks.results
    critical, warned = report.checks.failed("critical"), report.checks.failed("warning")
    schema = report.checks.problem.schema
    order = sorted(results, key=lambda r: (r.status == "passed", r.severity != "critical"))
    return {
        "passed": sum(r.status == "passed" for r in results),
        "warned": len(warned),
        "failed": len(critical),
        "written": [_check(r) for r in (*critical, *warned)[:WRITTEN]],
        "more": max(0, len(critical) + len(warned) - WRITTEN),
        "set_aside": [
            {"column": clean(s.column), "kind": clean(s.kind), "reason": clean(s.reason, 300)}
            for s in schema.set_aside[:LISTED]
        ],
        "set_aside_count": len(schema.set_aside),
        "tuned": [tuned_sentence(one) for one in report.checks.tuned],
        "all": [_check(r) for r in order[:LISTED]],
        "count": len(results),
        "features": len(schema.features),
        "target": clean(schema.target),
        "task": {
            "binary": "two classes",
            "multiclass": f"{len(schema.classes):,} classes",
            "multilabel": f"any of {plural(len(schema.classes), 'label')}",
            "regression": "a number",
        }[schema.task],
        "held_out": report.evaluation.rows,
        "files": [
            {"role": f.role, "rows": f.rows, "size": show_bytes(f.size_bytes), "format": f.format}
            for f in report.checks.problem.snapshot.files
        ],
    }


def _check(result: Check) -> dict[str, Any]:
    status = result.status
    if status == "failed" and result.severity == "warning":
        status_text = "warning"
    else:
        status_text = {"passed": "passed", "failed": "failed", "error": "could not be evaluated"}[status]
    return {
        "name": clean(result.name.removeprefix("expect_").replace("_", " "), 120),
        "column": None if result.column is None else clean(result.column),
        "status": status_text,
        "tone": "good" if status == "passed" else ("bad" if result.severity == "critical" else "warn"),
        "expected": clean(result.expected, 300),
        "observed": clean(result.observed, 300),
    }


def scores(report: Report) -> dict[str, Any]:
    """Scores of the kept round, the highest first, beside those of the data alone."""
    kept = report.plan.attention.scores
    first = report.rounds[0].scores if report.rounds else kept
    from_data = (
        {f.feature: f.score for f in first.features} if kept.source == "model" and first.source == "data" else {}
    )
    order = sorted(kept.features, key=lambda f: (-f.score, not f.carries_signal))
    axis = Axis.upto([v for f in order for v in (f.high, from_data.get(f.feature, 0.0))])
    by_name = {f.feature: f for f in order}
    groups = by_group(report.checks.problem.schema, by_name)
    rows = [
        _score(by_name[names[0]], axis, from_data)
        | {"name": clean(group.name), **_members(group, [by_name[name] for name in names])}
        for group, names in list(groups.items())[:TOP]
    ]
    return {
        "rows": rows,
        "grouped": any(not group.alone for group in groups),
        "lines": len(groups),
        "count": len(order),
        "silent": sum(not f.carries_signal for f in order),
        "beside": sum(f.only_beside for f in order),
        "source": kept.source,
        "round": kept.round,
        "data_rows": kept.rows,
        "before": bool(from_data),
        **_texts(report),
        **_listing(report, order),
    }


def _texts(report: Report) -> dict[str, Any]:
    """The terms of each text that the model gave most width; texts with the most attention first."""
    found: dict[str, list[TermWidth]] = {}
    for term in report.evaluation.trained.terms:
        found.setdefault(term.feature, []).append(term)
    weights = {w.feature: w.weight for w in report.plan.attention.weights}
    order = sorted(found, key=lambda name: -weights.get(name, 0.0))
    return {
        "texts": [_text(report, name, found[name]) for name in order[:TOP_TEXTS]],
        "more_texts": max(0, len(found) - TOP_TEXTS),
    }


def _text(report: Report, name: str, widest: list[TermWidth]) -> dict[str, Any]:
    scored = report.plan.attention.scores.terms_of(name)
    rows = dict(zip(scored.terms, scored.rows, strict=True))
    errors = dict(zip(scored.terms, scored.errors, strict=True))
    count = len(scored.terms) + (report.excerpt.left_out.get(name, 0) if report.excerpt is not None else 0)
    axis = Axis(0, 1)
    return {
        "name": clean(name),
        "count": plural(count, "term"),
        "rows": plural(scored.texts, "text"),
        "size": _text_size(
            next(f for f in report.plan.capacity.features if f.feature == name), graded=report.plan.attention.frugal
        ),
        "terms": [
            {
                "term": clean(t.term, 40),
                "score": number(t.score, 3),
                "fill": axis.at(t.score),
                "whisker": axis.span(t.score - _Z95 * errors[t.term], t.score + _Z95 * errors[t.term]),
                "rows": f"{rows[t.term]:,.0f}",
                "width": t.width,
            }
            for t in widest[:TOP_TERMS]
        ],
    }


def _text_size(given: FeatureCapacity, *, graded: bool) -> str:
    """How wide its terms are; where they are graded and wider than a single number, one without a score has no width."""
    cells = given.rows * given.width
    if given.entries >= cells:
        return f"each {'with a score above 0 ' if graded and given.width > 1 else ''}has width {given.width}"
    return f"the most useful {given.entries:,} of {cells:,} cells (a term in one direction) are kept"


def _score(feature: FeatureScore, axis: Axis, from_data: dict[str, float]) -> dict[str, Any]:
    before = from_data.get(feature.feature)
    return {
        "name": clean(feature.feature),
        "value": number(feature.score, 3),
        "interval": f"{number(feature.low, 3)} to {number(feature.high, 3)}",
        "fill": axis.at(feature.score),
        "whisker": axis.span(feature.low, feature.high),
        "before": None if before is None else axis.at(before),
        "silent": not feature.carries_signal,
        "beside": feature.only_beside,
        "null": round(100 * min(max(feature.null, 0.0), 1.0), 1),
        "terms": [
            {"name": term, "value": number(getattr(feature, term), 2), "fill": Axis(0, 1).at(getattr(feature, term))}
            for term in _TERMS
        ],
    }


def _members(group: Group, features: list[FeatureScore]) -> dict[str, Any]:
    """What is said of a row that stands for several features: how many, and which is the best."""
    silent = sum(not f.carries_signal for f in features)
    said = "" if group.alone else f"{group.counted}, best {clean(group.short(features[0].feature), 40)}"
    return {
        "members": said + (f", {silent:,} without signal" if said and 0 < silent < len(features) else ""),
        "silent": silent == len(features),
    }


def _listing(report: Report, order: list[FeatureScore]) -> dict[str, Any]:
    """Every feature on a line, the page's one long list; capped by bytes."""
    weights = {w.feature: w.weight for w in report.plan.attention.weights}
    sizes = capacities(report.plan)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        [
            "feature",
            "score",
            "low",
            "high",
            *_TERMS,
            "p_value",
            "signal",
            "attention",
            "width" if is_network(report.plan) else "contribution",
        ]
    )
    written = 0
    for f in order:
        terms = (f"{getattr(f, term):.3g}" for term in _TERMS)
        signal = "beside others" if f.only_beside else "yes" if f.carries_signal else "no"
        figures = (f"{value:.3g}" for value in (f.score, f.low, f.high))
        weight, size = weights.get(f.feature, 0.0), sizes.get(f.feature, 0)
        writer.writerow([clean(f.feature), *figures, *terms, f"{f.p_value:.2g}", signal, f"{weight:.3g}", size])
        written += 1
        if buffer.tell() > CSV_BYTES or len(buffer.getvalue().encode()) > CSV_BYTES:
            break
    return {"csv": buffer.getvalue(), "csv_count": written}


def attention(report: Report) -> dict[str, Any]:
    """Weights of the kept round, the largest first, with the even weight beside them and their way over the rounds."""
    kept = report.plan.attention
    trained = report.evaluation.trained.attention
    after = (
        dict(zip((w.feature for w in kept.weights), trained, strict=False)) if len(trained) == len(kept.weights) else {}
    )
    count = len(kept.weights)
    by_name = {w.feature: w for w in kept.weights}
    sizes = {name: w.weight for name, w in by_name.items()}
    nothing = {f.feature for f in report.plan.capacity.features if not f.width}
    groups = sorted(
        by_group(report.checks.problem.schema, by_name),
        key=lambda g: (-g.total(sizes), nothing.issuperset(g.members), -g.total(after)),
    )
    axis = Axis.upto(
        [
            v
            for g in groups
            for v in (g.total(sizes), by_name[g.name].high if g.alone else 0.0, g.total(after), len(g.members) / count)
        ]
    )
    paths = [{w.feature: w.weight for w in r.split.weights} for r in report.rounds]
    turns = [[p for p in paths if all(name in p for name in g.members)] for g in groups]
    walks = [[g.total(p) for p in through] for g, through in zip(groups, turns, strict=True)]
    most = max((abs(v - walk[0]) for walk in walks for v in walk), default=0.0)
    rows = []
    for group, walk in list(zip(groups, walks, strict=True))[:TOP]:
        weight, own = group.total(sizes), by_name[group.name] if group.alone else None
        rows.append(
            {
                "name": clean(group.name),
                "members": group.counted,
                "empty": nothing.issuperset(group.members),
                "value": percent(weight),
                "interval": f"{percent(own.low)} to {percent(own.high)}"
                if own is not None and own.low < own.high
                else "",
                "fill": axis.at(weight),
                "whisker": None if own is None else axis.span(own.low, own.high),
                "even": axis.at(len(group.members) / count),
                "after": axis.at(group.total(after)) if after else None,
                "bound": None if own is None else own.bound,
                "path": _spark(walk, most) if len(walk) > 1 else None,
                "change": number(100 * (walk[-1] - walk[0]), 2, sign=True) + " pp" if len(walk) > 1 else None,
            }
        )
    rest = sum(group.total(sizes) for group in groups[TOP:])
    order = kept.weights
    return {
        "rows": rows,
        "count": count,
        "lines": len(groups),
        "rest": percent(rest),
        "even_text": percent(1 / count) if count else "–",
        "after": bool(after),
        "equal": len({w.weight for w in order}) == 1,
        "whiskers": any(w.low < w.high for w in order),
        "entropy": number(kept.entropy, 2),
        "entropy_most": number(math.log(count), 2) if count else "0",
        "effective": number(kept.effective, 1),
        "is_even": is_even(report.plan),
        "moved": kept.round > 0,
        "frugal": kept.frugal,
        "lean": kept.lean,
        "pruned": kept.pruned,
        "temperature": None if kept.temperature is None else f"{kept.temperature:.3g}",
        "blend": blend_sentence(kept.blend) if kept.blend is not None else "",
        "tail": "" if kept.tail is None else percent(kept.tail),
        "selected": _selected(report),
        "floor": percent(kept.floor),
        "cap": percent(kept.cap),
        "floored": sum(w.bound == "floor" for w in order),
        "capped": sum(w.bound == "cap" for w in order),
        **_trials(report),
        "rounds": [_round(report, i) for i in range(len(report.rounds))],
        "stopped": next((clean(r.why_stopped, 300) for r in reversed(report.rounds) if r.why_stopped), ""),
        "converged": _converged(report),
    }


def _selected(report: Report) -> list[dict[str, str]]:
    """A line for each class of the tail: what attention has a share for."""
    classes = report.checks.problem.schema.classes
    return [
        {
            "name": clean(classes[selection.place]),
            "rows": f"{selection.rows:,}",
            "features": ", ".join(f"{clean(name)} ({percent(share)})" for name, share in selection.features[:WRITTEN])
            or "–",
            "terms": ", ".join(clean(term, 40) for _, terms in selection.terms for term in terms),
        }
        for selection in report.plan.attention.scores.tail[:LISTED]
    ]


def _trials(report: Report) -> dict[str, Any]:
    """The candidates; a later round inherits the temperature, so they are looked for in the rounds before as well."""
    candidates = [report.plan.attention, *(r.split for r in reversed(report.rounds))]
    tried = next((a for a in candidates if a.trials), report.plan.attention)
    chosen = (tried.temperature, tried.frugal, tried.pruned, tried.lean, tried.blend is not None)
    return {
        "trials": [
            {
                "temperature": split_name(t),
                "loss": number(t.loss),
                "metric": "not defined" if t.metric is None else number(t.metric),
                "chosen": (t.temperature, t.frugal, t.pruned, t.lean, t.blended) == chosen,
            }
            for t in tried.trials[:LISTED]
        ],
        "metric": metric_name(report.evaluation.primary),
        "flatter": _flatter(tried),
    }


def _flatter(tried: Attention) -> bool:
    """Whether another candidate than the chosen one had the least loss."""
    own = (tried.temperature, tried.frugal, tried.pruned, tried.lean, tried.blend is not None)
    taken = [t.loss for t in tried.trials if (t.temperature, t.frugal, t.pruned, t.lean, t.blended) == own]
    return bool(taken) and min(taken) > min(t.loss for t in tried.trials)


def _round(report: Report, index: int) -> dict[str, Any]:
    turn = report.rounds[index]
    return {
        "number": index + 1,
        "source": turn.scores.source,
        "entropy": number(turn.split.entropy, 2),
        "effective": number(turn.split.effective, 1),
        "moved": "–" if index == 0 else percent(turn.split.moved),
        "asked": "–" if turn.convergence is None else percent(turn.convergence.movement),
        "change": "" if turn.convergence is None else percent(turn.convergence.plan_change),
        "loss": number(turn.trained.loss),
        "metric": "not defined" if turn.trained.metric is None else number(turn.trained.metric),
        "kept": turn.kept,
    }


def _converged(report: Report) -> str:
    """Whether attention still moved when the rounds ended."""
    last = next((r.convergence for r in reversed(report.rounds) if r.convergence is not None), None)
    if last is None:
        return ""
    left = (
        f"the last model would move {percent(last.movement)} of attention and {percent(last.plan_change)} of the plan"
    )
    return f"Attention has converged: {left}." if last.converged else f"Attention has not converged: {left}."


def _spark(path: list[float], most: float) -> str:
    """Points of a small line, 48 by 16, that starts half way up; `most` is the largest move of any feature."""
    step = 44 / (len(path) - 1)
    return " ".join(f"{2 + i * step:.1f},{8 - 6 * (v - path[0]) / (most or 1.0):.1f}" for i, v in enumerate(path))
