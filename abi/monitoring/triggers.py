"""Whether a retraining is due, why, and which due times nobody kept: a pure decision over what is known.

Four triggers: cron, new data, drift, age. However many of them fire, the same data, settings and code are trained once;
a training that failed `FAILURES` times is left until one of them changes or a person asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from abi.operations import ScheduleConfig
from abi.units import show_duration

Trigger = Literal["cron", "new data", "drift", "age", "request"]

FAILURES = 3


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a look at the data, the ledger and the clock found; times are aware.

    Attributes:
        now: time of the look.
        snapshot: id of the data's snapshot as it is.
        last_snapshot: that of the last run; None where there was no run.
        trained: version of the model that these data, settings and code gave already; None where they gave none.
        failures: trainings of the same data, settings and code that ended without a model.
        champion_time: when the model that serves was trained; the last run's time where none serves.
        due_times: cron's due times since the last run or look, oldest first.
        drift: why drift makes a retraining due; None where it does not.
        request: why a person or another program asks for it.
        force: try again whatever the number of failures.
    """

    now: datetime
    snapshot: str
    last_snapshot: str | None = None
    trained: int | None = None
    failures: int = 0
    champion_time: datetime | None = None
    due_times: tuple[datetime, ...] = ()
    drift: str | None = None
    request: str | None = None
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to be done.

    Attributes:
        train: whether to train now.
        triggers: which fired.
        reasons: a sentence for each that fired, and one for why nothing is trained in spite of them.
        due: the cron time that this look answers.
        missed: cron times that no run kept, oldest first.
    """

    train: bool
    triggers: tuple[Trigger, ...]
    reasons: tuple[str, ...]
    due: datetime | None = None
    missed: tuple[datetime, ...] = ()

    @property
    def summary(self) -> str:
        """One line."""
        return " ".join(self.reasons) if self.reasons else "nothing due"


def decide(known: Known, schedule: ScheduleConfig) -> Decision:
    """Which triggers fire, and whether they lead to a training."""
    fired = _fired(known, schedule)
    reasons = list(fired.values())
    held = _held(known) if fired else None
    return Decision(
        train=bool(fired) and held is None,
        triggers=tuple(fired),
        reasons=(*reasons, held) if held is not None else tuple(reasons),
        due=known.due_times[-1] if known.due_times else None,
        missed=missed(known.due_times, known.now, schedule.grace),
    )


def missed(due_times: tuple[datetime, ...], now: datetime, grace_s: float) -> tuple[datetime, ...]:
    """The due times that nobody kept: a run that starts now answers the newest, and older ones it is not too late for."""
    return tuple(time for time in due_times[:-1] if (now - time).total_seconds() > grace_s)


def _fired(known: Known, schedule: ScheduleConfig) -> dict[Trigger, str]:
    fired: dict[Trigger, str] = {}
    if known.request is not None:
        fired["request"] = known.request
    if known.due_times:
        fired["cron"] = f"Cron was due at {show_time(known.due_times[-1])}."
    if schedule.new_data and known.snapshot != known.last_snapshot:
        fired["new data"] = (
            f"No run has been made yet; the data are snapshot {known.snapshot[:12]}."
            if known.last_snapshot is None
            else f"The data are snapshot {known.snapshot[:12]}, and the last run's were {known.last_snapshot[:12]}."
        )
    if schedule.drift and known.drift is not None:
        fired["drift"] = f"{known.drift.rstrip('.')}."
    if schedule.age is not None and known.champion_time is not None:
        age = (known.now - known.champion_time).total_seconds()
        if age > schedule.age:
            fired["age"] = f"The model is {show_duration(age)} old, past {show_duration(schedule.age)}."
    return fired


def _held(known: Known) -> str | None:
    """Why nothing is trained though something fired."""
    if known.trained is not None:
        return f"The same data, settings and code gave version {known.trained}: nothing to train."
    if known.failures >= FAILURES and not known.force:
        return f"Training failed {known.failures} times with these data, settings and code: left until one of them changes, or `abi schedule --force`."
    return None


def show_time(time: datetime) -> str:
    """A time as reasons and messages name it, to the minute with its offset."""
    return time.isoformat(sep=" ", timespec="minutes").replace("+00:00", "Z")
