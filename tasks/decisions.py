"""What each finished stage decided, entered in the ledger once, whoever ran it and however often."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from abi.audit.entry import Draft, Kind
from abi.documents import KINDS
from abi.errors import UsageError, listed
from abi.outcomes import Evaluation, Move, Trained, Transfer
from abi.problem import Checks, Problem
from abi.types import Attention, Cost, Plan, Scores
from abi.values import Value
from tasks.ledger import Ledger

if TYPE_CHECKING:
    from abi.operations import AuditConfig
    from tasks.stage import Call, Stage
    from tasks.workspace import Workspace

NOTABLE = 5
"""So many features are named in an entry; the value that it names has all."""


@functools.lru_cache(maxsize=4)
def _open(ws: Workspace, config: AuditConfig) -> Ledger:
    return Ledger.open(ws, config)


def open_ledger(call: Call) -> Ledger:
    """The ledger of the settings, opened once in a process."""
    return _open(call.ws, call.settings.audit)


def only_model(call: Call, ledger: Ledger | None = None) -> Call:
    """The same for the model that the settings name, or else for the only one that the ledger (default: the call's) knows.

    Raises:
        UsageError: there is none, or several.
    """
    name = call.settings.name
    if name is None:
        models = (ledger or open_ledger(call)).models()
        if len(models) != 1:
            found = f"{len(models)} ({listed(models)})" if models else "none"
            remedy = "name the one that is meant with --model" if models else "train one with `abi run` first"
            msg = f"Expected one model in {call.workspace}, found {found}: {remedy}."
            raise UsageError(msg)
        name = models[0]
    return replace(call, name=name)


def note(call: Call, stage: Stage, result: str) -> None:
    """Enter what a stage came to, where it is a decision."""
    kind = DECISIONS.get(stage.name)
    if kind is None:
        return
    ledger, operation = open_ledger(call), f"{kind}:{result}:{call.name}"
    if ledger.find(operation) is None:
        value = call.ws.get(result)
        detail = _DETAILS[type(value)](value)
        draft = Draft(
            kind=kind,
            model=call.name,
            values=ids(value),
            detail={**detail, "seed": call.settings.seed, "settings": call.settings.digest()},
            operation=operation,
            flow_run=flow_run(),
        )
        ledger.append(draft)


def ids(value: Value) -> dict[str, str]:
    """Name -> id of the value and of all that it was made from."""
    found: dict[str, str] = {}
    place: Any = value
    while place is not None:
        found.setdefault(_name(place), place.id)
        if isinstance(place, Problem):
            found["schema"] = place.schema.id
        held = [getattr(place, item.name) for item in fields(place)]
        place = next((inner for inner in held if type(inner).__name__ in KINDS), None)
    return found


def _name(value: Value) -> str:
    return type(value).__name__.lower()


def flow_run() -> str | None:
    """Prefect's id of the flow run that this is part of."""
    if "prefect" not in sys.modules:
        return None
    from prefect.runtime import flow_run as running

    return str(running.id) if running.id else None


def _problem(value: Problem) -> dict[str, Any]:
    schema, file = value.schema, value.snapshot.train
    return {
        "snapshot_sha256": file.sha256, "rows": file.rows, "target": schema.target, "task": schema.task,
        "features": len(schema.features), "set_aside": len(schema.set_aside),
    }  # fmt: skip


def _checks(value: Checks) -> dict[str, Any]:
    return {
        "suite_sha256": value.suite_sha256,
        "passed": sum(r.status == "passed" for r in value.results),
        "warnings": len(value.failed("warning")),
        "failed": len(value.failed("critical")),
        **({"tuned": [one.to_json() for one in value.tuned]} if value.tuned else {}),
    }


def _scores(value: Scores) -> dict[str, Any]:
    ranked = sorted(value.features, key=lambda f: -f.score)
    return {
        "rows": value.rows,
        "carrying": sum(f.carries_signal for f in value.features),
        "most": {f.feature: f.score for f in ranked[:NOTABLE]},
    }


def _attention(value: Attention) -> dict[str, Any]:
    ranked = sorted(value.weights, key=lambda w: -w.weight)
    return {
        "round": value.round, "temperature": value.temperature, "frugal": value.frugal, "pruned": value.pruned,
        "entropy": value.entropy, "moved": value.moved, "trials": len(value.trials),
        **({"lean": True} if value.lean else {}),
        **({} if value.inherited is None else {"inherited": {"source": value.inherited.source, "share": value.inherited.share}}),
        "most": {w.feature: w.weight for w in ranked[:NOTABLE]},
    }  # fmt: skip


def _plan(value: Plan) -> dict[str, Any]:
    return {
        "round": value.attention.round,
        "family": value.family,
        "envelope": value.envelope.to_json(),
        "predicted": value.predicted.to_json(),
        **({} if value.bound is None else {"bound": value.bound.to_json()}),
        "reasons": list(value.reasons[:NOTABLE]),
    }


def _trained(value: Trained) -> dict[str, Any]:
    return {
        "round": value.plan.attention.round, "allocation": value.plan.allocation, "family": value.family,
        "artifact": value.artifact, "validation_loss": value.loss,
        "predicted": value.predicted.to_json(), "measured": value.measured.to_json(),
        **({} if value.transfer is None else {"transfer": _transfer(value.transfer)}),
        **({} if value.refit is None else {"refit": value.refit.to_json()}),
        **({"revisions": [r.to_json() for r in value.revisions]} if value.revisions else {}),
    }  # fmt: skip


def _transfer(value: Transfer) -> dict[str, Any]:
    return {
        "source": value.source, "artifact": value.artifact, "kept": value.kept, "gain": value.gain.to_json(),
        "cold": value.cold.to_json(), "warm": value.warm.to_json(),
    }  # fmt: skip


def _move(value: Move) -> dict[str, Any]:
    return {**_attention(value.attention), "continues": value.continues, "reason": value.reason}


def outcome(value: Evaluation) -> dict[str, Any]:
    """The figures that a version is judged by."""
    kept = value.trained
    costs: dict[str, Cost] = {"predicted": kept.predicted, "measured": kept.measured}
    return {
        "artifact": kept.artifact,
        "rows": value.rows,
        "primary": value.primary,
        "metrics": {name: e.value for name, e in value.metrics.items()},
        "gain": {c.name: c.gain.difference.to_json() for c in value.controls},
        "latency_s": value.latency_s,
        **{name: cost.to_json() for name, cost in costs.items()},
    }


_DETAILS: Mapping[type[Value], Callable[[Any], dict[str, Any]]] = {
    Problem: _problem,
    Checks: _checks,
    Scores: _scores,
    Attention: _attention,
    Plan: _plan,
    Trained: _trained,
    Move: _move,
    Evaluation: outcome,
}
DECISIONS: Mapping[str, Kind] = {
    "snapshot": "snapshot", "validate": "checks", "tune": "checks", "score": "scores", "fit": "attention", "plan": "plan",
    "train": "training", "refit": "training", "refit_control": "control", "inherit": "attention", "move": "attention", "train_control": "control", "evaluate": "outcome",
}  # fmt: skip
"""Stage -> kind of the entry that it leaves; recording enters its own (`tasks.registration`)."""
