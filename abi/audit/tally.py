"""Counts and last figures for each model, kept up as entries of the ledger go by."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from abi.audit.entry import Entry

RESOURCES = {
    "parameters": "parameters", "memory": "memory_bytes", "train_time": "train_time_s", "latency": "latency_s",
}  # fmt: skip
"""What an envelope limits, and the field of a cost that holds it."""
COUNTED = ("promotion", "rollback", "approval", "trigger")
ENDINGS = {"registration": "registered", "quarantine": "quarantined", "missed": "missed"}


@dataclass
class ModelTally:
    """What the ledger says of one model.

    Attributes:
        runs: ending -> how many runs came to it.
        run_seconds: seconds from a run's first entry to its registration, summed over `runs_timed` runs.
        gates: (gate, result) -> how often.
        decisions: kind -> how many entries (promotion, rollback, approval, trigger).
        registration: the newest one.
        drift: the newest look at new data.
        versions: version -> second of its registration.
        aliases: champion, challenger and previous version.
        champion_since: second at which the champion became it.
    """

    runs: Counter[str] = field(default_factory=Counter)
    run_seconds: float = 0.0
    runs_timed: int = 0
    gates: Counter[tuple[str, str]] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    registration: Entry | None = None
    drift: Entry | None = None
    versions: dict[int, float] = field(default_factory=dict)
    aliases: Mapping[str, int | None] = field(default_factory=dict)
    champion_since: float | None = None

    def ratios(self) -> dict[str, float]:
        """Resource -> predicted over measured cost of the newest registration; 1 is a plan that came true."""
        detail = self.registration.detail if self.registration is not None else {}
        predicted, measured = detail.get("predicted", {}), detail.get("measured", {})
        return {
            name: predicted[key] / measured[key]
            for name, key in RESOURCES.items()
            if predicted.get(key) is not None and measured.get(key)
        }


@dataclass
class Tally:
    """All models of a ledger. Entries are added in order; `seq` and `time` are those of the last one."""

    models: dict[str, ModelTally] = field(default_factory=dict)
    seq: int = 0
    time: float | None = None
    _began: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, entries: Iterable[Entry]) -> None:
        """Count entries that come after those counted so far."""
        for entry in entries:
            self.seq, self.time = entry.seq, second(entry.time)
            if entry.model:
                self._count(self.models.setdefault(entry.model, ModelTally()), entry, self.time)

    def _count(self, model: ModelTally, entry: Entry, now: float) -> None:
        detail: dict[str, Any] = entry.detail
        began = None
        if entry.flow_run is not None:
            began = self._began.setdefault((entry.model, entry.flow_run), now)
        if entry.kind in ENDINGS:
            model.runs[ENDINGS[entry.kind]] += 1
        if entry.kind in COUNTED:
            model.decisions[entry.kind] += 1
        if entry.kind == "registration":
            model.registration = entry
            model.versions[detail["version"]] = now
            if began is not None:
                model.run_seconds += now - began
                model.runs_timed += 1
                del self._began[entry.model, str(entry.flow_run)]
        elif entry.kind == "gates":
            model.gates.update((result["name"], _verdict(result)) for result in detail["results"])
        elif entry.kind == "drift":
            model.drift = entry
        if "aliases" in detail:
            if detail["aliases"]["champion"] != model.aliases.get("champion"):
                model.champion_since = now
            model.aliases = detail["aliases"]


def second(time: str) -> float:
    """An entry's time as seconds since 1970."""
    return datetime.datetime.fromisoformat(time).timestamp()


def _verdict(result: Mapping[str, Any]) -> str:
    if result.get("waived"):
        return "waived"
    return str(result.get("status") or ("passed" if result["passed"] else "failed"))
