"""The versions of a model side by side, from what the ledger says of them."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from abi.audit.entry import Aliases, Entry
from abi.errors import TrackingError, UsageError
from abi.metrics import LOWER_IS_BETTER
from tasks.ledger import Ledger
from tasks.progress import say

if TYPE_CHECKING:
    from tasks.stage import Call

LAST = ("quarantined", "gone")


def kept(call: Call) -> set[int] | None:
    """Numbers of the model's versions that MLflow has; None where it cannot be asked, which is said."""
    from tasks.model_registry import versions
    from tasks.registration import connect

    elsewhere = call.settings.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not elsewhere and not call.ws.mlflow_db.exists():
        say(f"mlflow    there is no {call.ws.mlflow_db}: whether versions are gone is not known")
        return None
    try:
        return {version.number for version in versions(connect(call), call.name)}
    except TrackingError as error:
        say(f"mlflow    whether versions are gone is not known: {error}")
        return None


def leaderboard(ledger: Ledger, call: Call) -> list[dict[str, Any]]:
    """One row per registered version, the best primary metric first; last those in quarantine, then those gone from MLflow.

    Figures of versions that were tested on other rows (another `snapshot`) are not strictly comparable. Prequential ones, of
    versions that followed a stream, are no held-out ones at all, and come after these.

    Raises:
        UsageError: the ledger knows no version of that model.
    """
    model = call.name
    registered = list(ledger.entries(kinds=("registration",), model=model))
    if not registered:
        msg = f"Expected a registered model, got {model!r}, of which the ledger knows no version: train one with `abi run`, or name another with --model."
        raise UsageError(msg)
    gates = {e.detail["version"]: e for e in ledger.entries(kinds=("gates",), model=model)}
    bad = {e.detail["version"] for e in ledger.entries(kinds=("quarantine",), model=model)}
    aliases, there = ledger.aliases(model), kept(call)
    rows = [_row(e, aliases, gates.get(e.detail["version"]), bad, there) for e in registered]
    return sorted(
        rows,
        key=lambda row: (
            row["state"] in LAST,
            row["state"] == LAST[-1],
            row["prequential"],
            _rank(row),
            -row["version"],
        ),
    )


def _row(
    entry: Entry, aliases: Aliases, gates: Entry | None, bad: set[int], there: Collection[int] | None
) -> dict[str, Any]:
    detail, number = entry.detail, entry.detail["version"]
    names = [name for name in ("champion", "challenger", "previous") if getattr(aliases, name) == number]
    if there is not None and number not in there:
        state = "gone"
    else:
        state = "quarantined" if number in bad else "" if gates is None else "passed" if gates.detail["passed"] else "failed"  # fmt: skip
    return {
        "version": number,
        "aliases": names,
        "primary": detail["primary"],
        "prequential": "along" in detail,
        "metrics": detail["metrics"],
        "gain": {name: gain["value"] for name, gain in detail["gain"].items()},
        "family": detail["family"],
        "parameters": detail["measured"]["parameters"],
        "latency_s": detail["latency_s"],
        "train_time_s": detail["measured"]["train_time_s"],
        "snapshot": detail["snapshot_sha256"],
        "state": state,
        "registered": entry.time,
        "entry": entry.seq,
        "run_id": entry.mlflow_run,
    }


def _rank(row: dict[str, Any]) -> float:
    value = float(row["metrics"][row["primary"]])
    return value if row["primary"] in LOWER_IS_BETTER else -value
