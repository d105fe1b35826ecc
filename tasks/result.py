"""The object that ``abi run --json`` prints. Other work reads it: fields are added, never renamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from abi.frequency import GROUPS
from abi.outcomes import Evaluation, Ranking, Refit, Trained
from abi.report.content import Report, Round
from abi.types import Estimate
from tasks.records import Recorded


def result_document(report: Report, recorded: Recorded, page: Path) -> dict[str, Any]:
    """One object about one run; `status`, `timings_s` and `peak_memory_bytes` are filled in by the run that answers.

    Fields:
        run_id: MLflow run.
        status: "completed", or "reused" where nothing was trained because the same run was there already.
        task: binary, multiclass, multilabel or regression.
        primary: name of the metric that decides.
        metrics: metric -> value on held-out rows.
        intervals: metric -> [low, high], 95% bootstrap.
        control: `uniform` and `baseline`: metric -> value.
        gain: `uniform` and `baseline`: difference (above 0: the model is better), low, high, relative.
        signal: "found", or "none" where held-out rows cannot tell the model from chance; null in runs before there was any.
        chance: metric, the value that chance reaches, and the model's gain over it (difference, low, high).
        ranking: where there is a column of users: threshold, users, and metric -> value, low, high, uniform, baseline.
        scores: feature -> score in [0, 1].
        attention: feature -> weight; they sum to 1.
        blend: how much relevance, discrimination and complexity count where the scores' blend was fitted; else null.
        convergence: per round movement and plan_change that its model would bring, entropy, effective_features, converged.
        balance: how frequent and rare classes were weighed, why, and what was tried; null where nothing asked for it.
        alignment: weight and temperature of the modalities' contrastive loss, and what each pair's retrieval reached; null where
            nothing was aligned.
        groups: head, medium and tail -> classes, by their training rows; null where all have as many, or there are none.
        family: network, trees or blend.
        choice: why that family, the network's share of a blend, and each candidate's validation loss and cost; null
            where one family alone was trained.
        plan: id, features (feature -> width), trees (feature -> bins and contribution), predicted and measured cost, and beside
            them the forecast (step time, energy, the device's roof) and the resources that training took.
        rounds: how many plans were trained.
        model: name, version, uri.
        snapshot: md5, sha256 and rows of the training file.
        checks: how many passed, warned and failed.
        macs: multiply-accumulates of one row: `model`, `control` (the even split) and their `ratio`; null where they are not
            counted (there are no pictures).
        evaluation: id of the evaluation.
        refit: what the kept model learned from in the end, where it was trained once more: rows, epochs, train_time_s, and the
            artifact that validation rows had judged; null where it was not.
        tuned: per encoder that was to be tuned rows, epochs, weights trained, validation loss before and after, seconds, and which
            one is used; empty where none was.
        transfer: what was carried over from another model, and what a start from it gained over one from nothing on validation
            and held-out rows; null where the run started from none.
        robustness: the metric under each change, per contender, and how steady attention is; null where it was not measured.
        values: name -> id of what the run recorded: checks, evaluation, control, conditions, and a move per round.
        report: path of the HTML page.
        timings_s: seconds per stage.
        peak_memory_bytes: largest resident size of the process.
    """
    evaluation = report.evaluation
    kept = evaluation.trained
    file = report.checks.problem.snapshot.train
    results = report.checks.results
    return {
        "run_id": recorded.run_id,
        "status": "completed",
        "task": report.checks.problem.schema.task,
        "primary": evaluation.primary,
        "metrics": _values(evaluation.metrics),
        "intervals": {name: [e.low, e.high] for name, e in evaluation.metrics.items()},
        "control": {c.name: _values(c.metrics) for c in evaluation.controls},
        "gain": {
            c.name: {
                "difference": c.gain.difference.value,
                "low": c.gain.difference.low,
                "high": c.gain.difference.high,
                "relative": c.gain.relative,
            }
            for c in evaluation.controls
        },
        "signal": None if (signal := evaluation.signal) is None else "found" if signal.found else "none",
        "chance": None
        if signal is None
        else {
            "metric": signal.gain.metric,
            "value": signal.chance,
            "difference": signal.gain.difference.value,
            "low": signal.gain.difference.low,
            "high": signal.gain.difference.high,
        },
        "ranking": None if evaluation.ranking is None else _ranking(evaluation.ranking),
        "scores": {f.feature: f.score for f in kept.plan.attention.scores.features},
        "attention": {w.feature: w.weight for w in kept.plan.attention.weights},
        "blend": blend.to_json() if (blend := kept.plan.attention.blend) is not None else None,
        "convergence": [_convergence(turn) for turn in report.rounds],
        "balance": held.to_json() if (held := kept.plan.attention.balance) is not None else None,
        "alignment": _alignment(kept),
        "groups": None
        if (groups := evaluation.groups) is None
        else {group: [report.checks.problem.schema.classes[i] for i in groups.of(group)] for group in GROUPS},
        "family": kept.family,
        "choice": decision.to_json() if (decision := report.decision) is not None else None,
        "plan": {
            "id": kept.plan.id,
            "features": {f.feature: f.width for f in report.plan.capacity.features},
            "trees": {f.feature: {"bins": f.bins, "contribution": f.contribution} for f in report.plan.trees.features}
            if report.plan.trees is not None
            else {},
            "predicted": kept.predicted.to_json(),
            "measured": report.evaluation.measured.to_json(),
            "forecast": None if report.forecast is None else report.forecast.to_json(),
            "resources": None if kept.resources is None else kept.resources.to_json(),
        },
        "macs": macs(report) or None,
        "rounds": len(report.rounds),
        "model": {"name": recorded.name, "version": recorded.version, "uri": recorded.uri},
        "snapshot": {"md5": file.md5, "sha256": file.sha256, "rows": file.rows},
        "checks": {
            "passed": sum(r.status == "passed" for r in results),
            "warnings": len(report.checks.failed("warning")),
            "failed": len(report.checks.failed("critical")),
        },
        "evaluation": evaluation.id,
        "refit": None if (again := kept.refit) is None else _refit(again),
        "tuned": [one.to_json() | {"kept": one.kept} for one in report.checks.tuned],
        "transfer": _transfer(evaluation),
        "robustness": None if evaluation.robustness is None else evaluation.robustness.to_json(),
        "report": str(page),
        "timings_s": report.timings_s,
        "peak_memory_bytes": report.peak_memory_bytes,
    }


def _alignment(kept: Trained) -> dict[str, Any] | None:
    held = kept.plan.execution.alignment
    if held is None or kept.family == "trees":
        return None
    return {**held.to_json(), "retrieval": [found.to_json() for found in kept.retrieval]}


def _refit(again: Refit) -> dict[str, Any]:
    return {"rows": again.rows, "epochs": again.epochs, "train_time_s": again.train_time_s, "judged": again.judged}


def _ranking(found: Ranking) -> dict[str, Any]:
    metrics = {
        name: {"value": e.value, "low": e.low, "high": e.high, **{c: own[name] for c, own in found.controls.items()}}
        for name, e in found.metrics.items()
    }
    return {"threshold": found.threshold, "users": found.users, "metrics": metrics}


def macs(report: Report) -> dict[str, float]:
    """Multiply-accumulates of one row of the model and of the even split; nothing where they are not counted."""
    model = report.evaluation.trained.predicted.macs
    if not model:
        return {}
    control = report.control_plan.predicted.macs if report.control_plan is not None else None
    return {"model": model, **({"control": control, "ratio": model / control} if control else {})}


def _transfer(evaluation: Evaluation) -> dict[str, Any] | None:
    found, inherited = evaluation.trained.transfer, evaluation.trained.plan.attention.inherited
    if found is None:
        return None
    return {
        **found.to_json(),
        "prior": None if inherited is None else inherited.to_json(),
        "held_out": None if evaluation.transfer is None else evaluation.transfer.to_json(),
    }


def _convergence(turn: Round) -> dict[str, Any]:
    found = turn.convergence.to_json() if turn.convergence is not None else {}
    return {"entropy": turn.attention.entropy, "effective_features": turn.attention.effective, **found}


def _values(metrics: dict[str, Estimate]) -> dict[str, float]:
    return {name: e.value for name, e in metrics.items()}
