"""The versions of a model side by side, from what the ledger says of them."""

from __future__ import annotations

from typing import Any

from abi.audit.entry import Aliases, Entry
from abi.errors import UsageError
from abi.metrics import LOWER_IS_BETTER
from tasks.ledger import Ledger


def leaderboard(ledger: Ledger, model: str) -> list[dict[str, Any]]:
    """One row per registered version, the best primary metric first; versions in quarantine last.

    Figures of versions that were tested on other rows (another `snapshot`) are not strictly comparable. Prequential ones, of
    versions that followed a stream, are no held-out ones at all, and come after these.

    Raises:
        UsageError: the ledger knows no version of that model.
    """
    aliases = ledger.aliases(model)
    gates = {e.detail["version"]: e for e in ledger.entries(kinds=("gates",), model=model)}
    bad = {e.detail["version"] for e in ledger.entries(kinds=("quarantine",), model=model)}
    rows = [_row(e, aliases, gates.get(e.detail["version"]), bad) for e in ledger.entries(kinds=("registration",), model=model)]  # fmt: skip
    if not rows:
        msg = f"Expected a registered model, got {model!r}, of which the ledger knows no version: train one with `abi run`, or name another with --model."
        raise UsageError(msg)
    return sorted(
        rows, key=lambda row: (row["state"] == "quarantined", row["prequential"], _rank(row), -row["version"])
    )


def _row(entry: Entry, aliases: Aliases, gates: Entry | None, bad: set[int]) -> dict[str, Any]:
    detail, number = entry.detail, entry.detail["version"]
    names = [name for name in ("champion", "challenger", "previous") if getattr(aliases, name) == number]
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
