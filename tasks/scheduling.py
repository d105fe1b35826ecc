"""What a look at the triggers knows, and what it leaves in the ledger: firings, trainings they led to, missed due times.

An operation is one training: a model's name, the data, the settings and the code. The ledger tells whether it was done,
how often it failed, and which due times somebody kept; so a look needs no memory of its own and outlives restarts.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abi.audit.entry import Draft, Entry, Kind
from abi.config import Config
from abi.cron import due_times, next_due
from abi.documents import find
from abi.errors import AbiError
from abi.monitoring.triggers import Decision, Known, decide, show_time
from abi.problem import Problem
from tasks.ledger import Ledger
from tasks.monitoring import drift_due, monitor
from tasks.progress import say
from tasks.stage import Call, code_id
from tasks.workspace import Workspace

LEASE_S = 120.0
SHOWN = 20
MISSED: tuple[Kind, ...] = ("missed",)


@dataclass(frozen=True)
class Start:
    """How the look came about.

    Attributes:
        now: when it looks.
        flow_run: Prefect's id of the run, where there is one.
        expected: when the run should have started.
        due: that time, where the run itself stands for a due time.
        since: cron times up to this one are nobody's business (the schedule was made or resumed then).
        request: why somebody asks for a training; None where only the triggers count.
        force: train whatever the number of failures.
    """

    now: datetime.datetime
    flow_run: str | None = None
    expected: datetime.datetime | None = None
    due: datetime.datetime | None = None
    since: datetime.datetime | None = None
    request: str | None = None
    force: bool = False


@dataclass(frozen=True)
class Operation:
    """One training, and what the ledger says of it."""

    call: Call
    ledger: Ledger
    problem_id: str

    @property
    def problem(self) -> Problem:
        """The data and what is to be learned of them."""
        found: Problem = find(self.call.ws.get(self.problem_id), Problem)
        return found

    @property
    def id(self) -> str:
        """SHA-256 of the model's name, the data, the settings and the code."""
        parts = [self.call.name, self.problem_id, self.call.settings.digest(), code_id()]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def done(self) -> Entry | None:
        """The entry of the run that trained it; None where none did."""
        there = self.ledger.find(f"trained:{self.id}")
        if there is not None:
            return there
        found = [entry for entry in self._entries("registration") if self._is_of_this(entry)]
        return found[-1] if found else None

    def scheduled_version(self) -> int | None:
        """The version that a scheduled run trained; None where none did."""
        there = self.ledger.find(f"trained:{self.id}")
        return None if there is None else int(there.detail["version"])

    def attempts(self) -> int:
        """Trainings that were begun."""
        return sum(entry.detail.get("training") == self.id for entry in self._entries("trigger"))

    def known(self, start: Start) -> Known:
        """What counts for the decision."""
        done, last = self.done(), self._last_run()
        return Known(
            now=start.now,
            snapshot=self.problem.snapshot.id,
            last_snapshot=self._snapshot_of(last) if last is not None else None,
            trained=int(done.detail["version"]) if done is not None else None,
            failures=self.attempts(),
            champion_time=self._champion_time(last),
            due_times=self._due_times(start, last),
            drift=drift_due(self.ledger, self.call.name, self.call.settings, start.now) if last is not None else None,
            request=start.request,
            force=start.force,
        )

    def monitor(self, data: str) -> None:
        """Hold data that nobody has looked at against the champion, so that drift can make a training due."""
        if not self.call.settings.schedule.drift or self.ledger.aliases(self.call.name).champion is None:
            return
        last = self._last_run()
        seen = {entry.values.get("snapshot") for entry in self._entries("drift")}
        known = last is not None and self._snapshot_of(last) == self.problem.snapshot.id
        if known or self.problem.snapshot.train.sha256 in seen:
            return
        try:
            monitor(self.call, data, self.call.name)
        except AbiError as error:  # drift is one trigger of several
            say(f"monitor   not done: {error}")

    def look(self, start: Start) -> Decision:
        """Decide, and name in the ledger the due times that were missed."""
        decision = decide(self.known(start), self.call.settings.schedule)
        self.ledger.append(*(missed_draft(self.call.name, time, start) for time in decision.missed))
        return decision

    def fired(self, decision: Decision, start: Start) -> None:
        """Enter a firing, in front of the training where one follows; one that leads to none is entered once per due time."""
        number = self.attempts() + 1
        if decision.train:
            name = f"trigger:{self.id}:{number}"
        elif decision.due is not None:
            name = f"trigger:{self.id}:due:{decision.due.isoformat()}"
        else:
            return
        detail: dict[str, Any] = {
            "triggers": list(decision.triggers),
            "reasons": list(decision.reasons),
            "snapshot": self.problem.snapshot.id,
            "expected": _iso(start.expected),
            "due": _iso(decision.due),
        }
        if decision.train:
            detail |= {"training": self.id, "attempt": number}
        self.ledger.append(self._draft(detail, name, start))

    def trained(self, result: dict[str, Any], start: Start) -> None:
        """Enter what the training led to, and the due times that fell into it: their runs were cancelled."""
        model, schedule = result["model"], self.call.settings.schedule
        detail = {"trained": self.id, "version": model["version"], "snapshot": self.problem.snapshot.id}
        now = datetime.datetime.now(datetime.UTC)
        fell = () if schedule.cron is None else due_times(schedule.cron, schedule.timezone, start.now, now)
        self.ledger.append(
            self._draft(detail, f"trained:{self.id}", start, result["run_id"]),
            *(missed_draft(self.call.name, time, start, "a training was at work") for time in fell),
        )

    def _draft(self, detail: dict[str, Any], operation: str, start: Start, run_id: str | None = None) -> Draft:
        return Draft(
            kind="trigger",
            model=self.call.name,
            values={"problem": self.problem_id},
            detail=detail,
            operation=operation,
            flow_run=start.flow_run,
            mlflow_run=run_id,
        )

    def _entries(self, *kinds: Kind) -> list[Entry]:
        return list(self.ledger.entries(kinds=kinds, model=self.call.name))

    def _is_of_this(self, entry: Entry) -> bool:
        """Whether a run registered what this operation would train."""
        detail = entry.detail
        if (detail.get("settings"), detail.get("code")) != (self.call.settings.digest(), code_id()):
            return False
        problem = entry.values.get("problem")
        return problem == self.problem_id if problem else self._snapshot_of(entry) == self.problem.snapshot.id

    def _snapshot_of(self, entry: Entry) -> str | None:
        """Id of the snapshot that a run learned from; entries that name the file's hash alone are compared by it."""
        known = entry.detail.get("snapshot") or entry.values.get("snapshot")
        if known is None and entry.detail.get("snapshot_sha256") == self.problem.snapshot.train.sha256:
            return self.problem.snapshot.id
        return known or entry.detail.get("snapshot_sha256")

    def _last_run(self) -> Entry | None:
        """The last training that ended with a model; following a stream is none."""
        runs = [
            e
            for e in self._entries("registration", "trigger")
            if (e.kind == "registration" and "along" not in e.detail) or "trained" in e.detail
        ]
        return runs[-1] if runs else None

    def _champion_time(self, last: Entry | None) -> datetime.datetime | None:
        champion = self.ledger.aliases(self.call.name).champion
        runs = [
            e for e in self._entries("registration") if champion is not None and e.detail.get("version") == champion
        ]
        return _time(runs[-1] if runs else last)

    def _due_times(self, start: Start, last: Entry | None) -> tuple[datetime.datetime, ...]:
        schedule = self.call.settings.schedule
        if schedule.cron is None:
            return () if start.due is None else (start.due,)
        kept = [datetime.datetime.fromisoformat(e.detail["due"]) for e in self._entries("trigger", "missed") if e.detail.get("due")]  # fmt: skip
        marks = [time for time in (*kept, _time(last), start.since) if time is not None]
        if not marks and start.expected is not None:
            marks = [start.expected - datetime.timedelta(seconds=1)]
        return due_times(schedule.cron, schedule.timezone, max(marks), start.now) if marks else ()


def recorded_result(operation: Operation) -> dict[str, Any] | None:
    """What ``abi run --json`` printed of the run that trained it; None where none did or its folder is gone."""
    done = operation.done()
    if done is None:
        return None
    for path in operation.call.ws.runs.glob("*/run.json"):
        result: dict[str, Any] = json.loads(path.read_bytes())
        if result["run_id"] == done.mlflow_run:
            return {**result, "status": "reused"}
    return None


def next_and_missed(workspace: Path, model: str, config: Config) -> dict[str, Any]:
    """Cron's next due time and the due times that nobody kept, newest first; plain values."""
    now, schedule, ws = datetime.datetime.now(datetime.UTC), config.schedule, Workspace(workspace)
    ledger = Ledger.look(ws, config.audit)
    missed = list(ledger.entries(kinds=MISSED, model=model)) if ledger.begun() else []
    due = None if schedule.cron is None else next_due(schedule.cron, schedule.timezone, now)
    return {"due": _iso(due), "missed": [entry.detail["due"] for entry in reversed(missed)][:SHOWN]}


def missed_draft(
    model: str, time: datetime.datetime, start: Start, why: str = "no run started before a newer one was due"
) -> Draft:
    """The entry that names a due time which nobody kept, once."""
    detail = {"due": _iso(time), "reason": f"Nobody kept the due time {show_time(time)}: {why}."}
    return Draft(
        kind="missed", model=model, detail=detail, operation=f"missed:{model}:{_iso(time)}", flow_run=start.flow_run
    )


def _iso(time: datetime.datetime | None) -> str | None:
    return None if time is None else time.astimezone(datetime.UTC).isoformat()


def _time(entry: Entry | None) -> datetime.datetime | None:
    return None if entry is None else datetime.datetime.fromisoformat(entry.time)
