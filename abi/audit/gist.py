"""What an entry of the ledger says, in the few words that tell it from another of its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from abi.errors import clip

SHOWN = 200
Told = Callable[[Mapping[str, Any]], str]


def gist(kind: str, detail: Mapping[str, Any]) -> str:
    """One line; "" where the entry is one that this version of the software does not know."""
    told = TOLD.get(kind, _reasons)
    try:
        return clip(told(detail), SHOWN)
    except (KeyError, TypeError, ValueError):
        return ""


def _reasons(detail: Mapping[str, Any]) -> str:
    found = detail.get("reasons") or detail.get("reason") or ()
    return found if isinstance(found, str) else "; ".join(str(reason) for reason in found)


def _trigger(detail: Mapping[str, Any]) -> str:
    return f"version {detail['version']} was trained" if "trained" in detail else _reasons(detail)


def _drift(detail: Mapping[str, Any]) -> str:
    return _reasons(detail) or f"none past its limit (PSI at most {detail['psi_max']:.2f})"


TOLD: dict[str, Told] = {
    "snapshot": lambda d: f"{d['rows']:,} rows, {d['snapshot_sha256'][:12]}",
    "checks": lambda d: f"{d['passed']} passed, {d['warnings']} warnings, {d['failed']} failed",
    "scores": lambda d: f"{d['carrying']} features carry signal",
    "attention": lambda d: f"round {d['round']}, entropy {d['entropy']:.3f}, moved {d['moved']:.3f}",
    "plan": lambda d: f"round {d['round']}, {d['predicted']['parameters']:,} parameters",
    "training": lambda d: f"round {d['round']}, {d['family']}, loss {d['validation_loss']:.4f}",
    "control": lambda d: f"even split, loss {d['validation_loss']:.4f}",
    "outcome": lambda d: f"{d['primary']} {d['metrics'][d['primary']]:.4f}",
    "registration": lambda d: f"version {d['version']} was registered",
    "gates": lambda d: f"version {d['version']} {'passed its gates' if d['passed'] else 'did not pass its gates'}",
    "promotion": lambda d: f"version {d['version']} is champion",
    "approval": lambda d: f"version {d['version']}: {', '.join(d['waived'])} waived: {d['reason']}",
    "rollback": lambda d: f"version {d['version']} is champion again: {d['reason']}",
    "quarantine": lambda d: f"version {d['version']}: {d['reason']}",
    "drift": _drift,
    "adaptation": lambda d: f"row {d['row'] + 1}, {d['predicted']['parameters']:,} parameters: {_reasons(d)}",
    "trigger": _trigger,
    "key": lambda d: f"key {d['id']}",
    "signing": lambda d: f"models are signed with key {d['new'][:12]}",
}
