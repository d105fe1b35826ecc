"""The page's sections about the outcome: verdict, plan against actual, quality, provenance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from abi.errors import listed
from abi.frequency import GROUPS, ClassGroups, Lean
from abi.outcomes import Control, Evaluation
from abi.report import charts
from abi.report.axis import Axis
from abi.report.content import Report
from abi.report.summary import (
    compared,
    costs,
    headline,
    lacks_signal,
    no_difference,
    ranking_sentence,
    resources,
    standing,
    verdict,
)
from abi.report.wording import (
    CONTROLS,
    LOWER_IS_BETTER,
    clean,
    decimals,
    interval,
    metric_name,
    number,
    percent,
    plural,
    refit_sentence,
)
from abi.types import Estimate
from abi.units import show_bytes, show_count, show_seconds
from abi.values import Value

SLICES = 40
NAMED = 3
CONFIG_CHARACTERS = 20_000
_FULL_PERCENT = 100
_WORDS = {"better": "better", "same": "not measurable", "worse": "worse"}
_TONES = {"better": "good", "same": "warn", "worse": "bad"}


def opening(report: Report) -> dict[str, Any]:
    """The verdict, the gains on a line with zero, and the cards."""
    evaluation = report.evaluation
    controls = [c for c in (compared(evaluation, name) for name in CONTROLS) if c is not None]
    axis = Axis.over([0.0, *(e for c in controls for e in _edges(c.gain.difference))])
    uniform = compared(evaluation, "uniform")
    return {
        "headline": headline(evaluation),
        "tone": "bad" if lacks_signal(evaluation) else _TONES[standing(uniform.gain)] if uniform else "plain",
        "verdict": verdict(evaluation),
        "gains": [_gain(c, axis) for c in controls],
        "zero": axis.at(0.0),
        "metric": metric_name(controls[0].gain.metric) if controls else "",
        "cards": _cards(report),
    }


def _edges(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.low, estimate.value, estimate.high


def _gain(control: Control, axis: Axis) -> dict[str, Any]:
    value, span = interval(control.gain.difference, sign=True, significant=2)
    found = standing(control.gain)
    if no_difference(control.gain):
        value, span = "0", ""
    return {
        "name": f"over the {CONTROLS[control.name]}",
        "value": value,
        "interval": span,
        "word": _WORDS[found] if span else "no difference",
        "tone": _TONES[found],
        "dot": axis.at(control.gain.difference.value),
        "whisker": axis.span(control.gain.difference.low, control.gain.difference.high),
    }


def _cards(report: Report) -> list[dict[str, Any]]:
    evaluation, limits = report.evaluation, report.plan.envelope
    measured = evaluation.trained.measured
    value, span = interval(evaluation.metrics[evaluation.primary])
    return [
        {"name": metric_name(evaluation.primary), "value": value, "note": f"95% {span}", "fill": None, "over": False},
        _card("parameters", measured.parameters, limits.parameters, show_count),
        _card("training time", measured.train_time_s, limits.train_time_s, show_seconds),
        _card("latency of one row", evaluation.latency_s, limits.latency_s, show_seconds),
    ]


def _card(name: str, used: float | int, limit: float | int | None, show: Any) -> dict[str, Any]:
    note = "no limit set" if limit is None else f"of {show(limit)}"
    fill = None if limit is None else Axis(0, limit).at(used)
    return {"name": name, "value": show(used), "note": note, "fill": fill, "over": limit is not None and used > limit}


def actual(report: Report) -> dict[str, Any]:
    """Plan against actual."""
    rows = []
    for line in (*costs(report), *resources(report)):
        over = line.used is not None and line.used > 1
        rows.append(
            {
                "name": line.name,
                "predicted": line.predicted,
                "bound": line.bound,
                "measured": line.measured,
                "limit": line.limit,
                "ratio": "–" if line.ratio is None else f"{number(line.ratio, 2)}×",
                "used": "–" if line.used is None else percent(line.used),
                "tone": "bad" if over else "plain",
                "fill": None if line.used is None else min(round(100 * line.used, 1), _FULL_PERCENT),
            }
        )
    taken = report.evaluation.trained.resources
    return {
        "rows": rows,
        "over": [row["name"] for row in rows if row["tone"] == "bad"],
        "limited": any(row["fill"] is not None for row in rows),
        "bounded": any(row["bound"] != "–" for row in rows),
        "process": {
            None: "",
            "mark": "by the kernel's own mark",
            "samples": "sampled, as the process had been larger before",
        }[taken.process_by if taken is not None else None],
        "missing": [clean(said, 200) for said in taken.missing] if taken is not None else [],
    }


def quality(report: Report) -> dict[str, Any]:
    """Metrics of the model and its controls, curves, slices, calibration."""
    evaluation = report.evaluation
    names = [evaluation.primary, *(m for m in evaluation.metrics if m != evaluation.primary)]
    task = report.checks.problem.schema.task
    trained = evaluation.trained
    unit = "boosting round" if trained.family == "trees" else "epoch"
    histories = [r.trained.history for r in report.rounds if r.trained.history]
    kept = next((i for i, history in enumerate(histories) if history == trained.history), -1)
    if kept < 0 and trained.history:
        histories.append(trained.history)
        kept = len(histories) - 1
    return {
        "rows": evaluation.rows,
        "forests": [_forest(evaluation, name) for name in names],
        "leans": leaning(report.checks.problem.schema.classes, evaluation.leans),
        "groups": class_groups(report.checks.problem.schema.classes, evaluation.groups),
        "ranking": _ranking(evaluation),
        "contenders": _contenders(evaluation),
        "loss": charts.loss_curve(trained.history, trained.best_epoch, unit) if trained.history else "",
        "curve": charts.metric_curve(histories, kept, evaluation.primary, unit) if trained.history else "",
        "curves": len(histories),
        "stopped": {
            "finished": f"Training ran through all its {unit}s.",
            "early": "Training stopped early: validation loss no longer improved.",
            "time": "Training stopped at its time limit.",
        }[trained.stopped],
        "unit": unit,
        "best_epoch": trained.best_epoch,
        "refit": "" if trained.refit is None else refit_sentence(trained.family, trained.refit),
        "metric": metric_name(evaluation.primary),
        **_slices(evaluation),
        "calibration": charts.calibration_curve(evaluation.calibration, task)
        if evaluation.calibration is not None and evaluation.calibration.bins
        else "",
        "calibration_error": number(evaluation.calibration.error, min(3, decimals(evaluation.calibration.error)))
        if evaluation.calibration is not None
        else "",
    }


def class_groups(classes: Sequence[str], groups: ClassGroups | None) -> list[str]:
    """Which classes are head, medium and tail, with their training rows; none where all have as many."""
    if groups is None:
        return []
    found = []
    for group in GROUPS:
        members = sorted(groups.of(group), key=lambda i: -groups.rows[i])
        if members:
            most, least = groups.rows[members[0]], groups.rows[members[-1]]
            rows = plural(most, "training row") if most == least else f"{least:,} to {most:,} training rows"
            named = listed([clean(classes[i]) for i in members], NAMED)
            found.append(f"{group}: {plural(len(members), 'class', 'classes')} with {rows} ({named})")
    return found


def _ranking(evaluation: Evaluation) -> dict[str, Any] | None:
    """Metrics per user, beside those of the controls; and under which history, where the rows have one."""
    found = evaluation.ranking
    if found is None:
        return None
    derivation = evaluation.trained.plan.attention.scores.problem.schema.derivation
    streamed = derivation is not None and derivation.behaviour is not None and derivation.behaviour.history == "stream"
    rows = [
        {
            "name": name,
            "value": interval(estimate)[0],
            "interval": interval(estimate)[1],
            "others": [number(found.controls[c.name][name]) for c in evaluation.controls if c.name in found.controls],
        }
        for name, estimate in found.metrics.items()
    ]
    return {
        "rows": rows,
        "others": [CONTROLS[c.name] for c in evaluation.controls if c.name in found.controls],
        "sentence": ranking_sentence(found),
        "history": "Held-out rows also knew of earlier held-out rows (history: stream)."
        if streamed
        else "Held-out rows knew of the rows before their part alone (history: train).",
    }


def leaning(classes: Sequence[str], leans: Sequence[Lean]) -> list[dict[str, str]]:
    """A line for each of the rarest classes: what tells it from all others."""
    return [
        {
            "name": clean(classes[lean.place]),
            "rows": f"{lean.rows:,}",
            "features": ", ".join(f"{clean(name)} ({percent(share)})" for name, share in lean.features) or "–",
            "terms": ", ".join(clean(term) for term in lean.terms),
        }
        for lean in leans
    ]


def _forest(evaluation: Evaluation, metric: str) -> dict[str, Any]:
    entries: list[tuple[str, str, Estimate]] = [("model", "model", evaluation.metrics[metric])]
    for name, shown in CONTROLS.items():
        control = compared(evaluation, name)
        if control is not None and metric in control.metrics:
            entries.append((name, shown, control.metrics[metric]))
    axis = Axis.over([edge for _, _, e in entries for edge in _edges(e)])
    return {
        "name": metric_name(metric),
        "direction": "lower is better" if metric in LOWER_IS_BETTER else "higher is better",
        "rows": [_mark(kind, shown, estimate, axis) for kind, shown, estimate in entries],
    }


def _mark(kind: str, name: str, estimate: Estimate, axis: Axis) -> dict[str, Any]:
    value, span = interval(estimate)
    return {
        "kind": kind,
        "name": name,
        "value": value,
        "interval": span,
        "dot": axis.at(estimate.value),
        "whisker": axis.span(estimate.low, estimate.high),
    }


def _contenders(evaluation: Evaluation) -> list[dict[str, str]]:
    trained = evaluation.trained
    rows = [
        {
            "name": "model",
            "what": "the kept plan",
            "parameters": show_count(trained.measured.parameters),
            "trials": f"{evaluation.trials:,}",
            "time": show_seconds(trained.measured.train_time_s),
        }
    ]
    rows += [
        {
            "name": CONTROLS[control.name],
            "what": clean(control.description, 200),
            "parameters": show_count(control.parameters) if control.parameters else "–",
            "trials": f"{control.trials:,}",
            "time": show_seconds(control.train_time_s),
        }
        for control in evaluation.controls
    ]
    return rows


def _slices(evaluation: Evaluation) -> dict[str, Any]:
    slices = evaluation.slices[:SLICES]
    overall = evaluation.metrics[evaluation.primary].value
    axis = Axis.over([overall, *(edge for s in slices for edge in _edges(s.metric))])
    groups: dict[str, list[dict[str, Any]]] = {}
    for s in slices:
        mark = _mark("model", clean(s.group, 40), s.metric, axis)
        groups.setdefault(s.feature, []).append({**mark, "rows": plural(s.rows, "row")})
    return {
        "slices": [{"feature": clean(feature), "marks": marks} for feature, marks in groups.items()],
        "slices_more": max(0, len(evaluation.slices) - SLICES),
        "overall": axis.at(overall),
    }


def provenance(report: Report) -> dict[str, Any]:
    """Everything by which the run can be found, checked and repeated."""
    evaluation = report.evaluation
    trained, kept = evaluation.trained, evaluation.trained.plan
    values: Sequence[tuple[str, Value | None]] = [
        ("problem", report.checks.problem),
        ("checks", report.checks),
        ("scores", kept.attention.scores),
        ("attention", kept.attention),
        ("plan", kept),
        ("even plan", report.control_plan),
        ("trained model", trained),
        ("evaluation", evaluation),
    ]
    files = [
        item
        for f in report.checks.problem.snapshot.files
        for item in ((f"{f.role} data SHA-256", f.sha256), (f"{f.role} data MD5", f.md5))
    ]
    hashes = [*files, ("expectation suite SHA-256", report.checks.suite_sha256), ("weights SHA-256", trained.artifact)]
    total = sum(report.timings_s.values())
    axis = Axis.upto(report.timings_s.values())
    lines = json.dumps(report.config, indent=2, ensure_ascii=False, sort_keys=True).splitlines()
    config = "\n".join(clean(line, 160) for line in lines)
    return {
        "facts": [
            (clean(key.replace("_", " ")), clean(str(text), 1000)) for key, text in list(report.provenance.items())[:60]
        ],
        "seed": trained.seed,
        "values": [(name, "none" if value is None else report.whole_id(value)) for name, value in values],
        "terms_left_out": sum(report.excerpt.left_out.values()) if report.excerpt is not None else 0,
        "hashes": hashes,
        "timings": [
            {"name": clean(name), "value": show_seconds(spent), "fill": axis.at(spent)}
            for name, spent in list(report.timings_s.items())[:60]
        ],
        "total": show_seconds(total),
        "peak": show_bytes(report.peak_memory_bytes),
        "config": config[:CONFIG_CHARACTERS],
        "config_cut": len(config) > CONFIG_CHARACTERS,
    }
