"""Commands of scheduled retraining: schedule, monitor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.common import Common

if TYPE_CHECKING:
    from cyclopts import App


def register(app: App) -> None:
    """Put the commands on `app`."""
    app.command(schedule)
    app.command(monitor)


def monitor(data: str, *, model: str | None = None, out: Path | None = None, common: Common = Common()) -> None:
    """Hold new rows against what the champion was trained on; exit 4 while the drift alarm is on.

    Args:
        data: CSV (also gzip) or Parquet file; the target may be lacking, other columns are ignored.
        model: Registered model (default: the only one there is).
        out: Folder for one table per feature and drift.json (default: a new one in the workspace).
        common: Flags that every command takes.
    """
    from abi.errors import DriftExceeded
    from flows.session import open_call, print_value
    from tasks.monitoring import monitor as look
    from tasks.telemetry import publishing

    _, call = open_call(common, model, data, [], deciding=True)
    with publishing(call.ws, call.settings):
        drift = look(call, data, model, out)
    print_value(drift, common)
    if drift.alarm:
        sys.stdout.flush()
        remedy = "retrain with `abi run`, or raise the limits in monitor" if drift.judged else "look at more rows"
        msg = f"Expected rows like those that {drift.model} {drift.version} was trained on, got drift: {'; '.join(drift.reasons)}: {remedy}."
        raise DriftExceeded(msg)


def schedule(
    data: str | None = None,
    *,
    target: str | None = None,
    test: Path | None = None,
    name: str | None = None,
    cron: str | None = None,
    timezone: str | None = None,
    every: str | None = None,
    max_age: str | None = None,
    pool: str | None = None,
    serve: Annotated[bool, Parameter(negative="")] = False,
    show: Annotated[bool, Parameter(negative="")] = False,
    pause: Annotated[bool, Parameter(negative="")] = False,
    resume: Annotated[bool, Parameter(negative="")] = False,
    remove: Annotated[bool, Parameter(negative="")] = False,
    now: Annotated[bool, Parameter(negative="")] = False,
    force: Annotated[bool, Parameter(negative="")] = False,
    common: Common = Common(),
) -> None:
    """Retrain on a schedule, on new data, on drift, and when the model is too old; the same command again updates it.

    Args:
        data: CSV (also gzip) or Parquet file that is looked at.
        target: Column to predict.
        test: File with held-out rows.
        name: Name of the model and of its schedule (default: the data file's).
        cron: Retrain at these times unless nothing changed, as "0 3 * * *".
        timezone: Time zone of the cron expression (default: UTC).
        every: Time between two looks at the triggers, as 15min.
        max_age: Retrain when the champion is older, as 7d.
        pool: Process work pool of the worker that runs it (`prefect worker start --pool abi`; default: abi); made where it is missing.
        serve: Run it here and now, without a worker, and without a server where none is configured.
        show: List schedules with their last runs, next due times and missed ones.
        pause: Stop looking.
        resume: Go on looking; cron times in the pause do not count as missed.
        remove: Take the schedule away; models and records stay.
        now: Look now.
        force: Look now, and train though it failed too often.
        common: Flags that every command takes.
    """
    from flows import schedules

    verbs = {
        "serve": serve, "show": show, "pause": pause, "resume": resume, "remove": remove, "now": now, "force": force,
    }  # fmt: skip
    wanted = schedules.Wanted(
        data=data, target=target, test=test, name=name, cron=cron, timezone=timezone, every=every, max_age=max_age,
        pool=pool, common=common,
    )  # fmt: skip
    schedules.run(wanted, [verb for verb, asked in verbs.items() if asked])
