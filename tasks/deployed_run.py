"""The flow run that is going on in a deployment: when it was due, whether it is too late, and what it says."""

from __future__ import annotations

import datetime
from typing import Any

from abi.audit.entry import Draft
from abi.monitoring.triggers import show_time
from tasks.deployments import newer_waiting
from tasks.progress import say
from tasks.scheduling import Start, missed_draft
from tasks.stage import Call


def start(*, since: datetime.datetime | None = None, asked: bool = False, force: bool = False) -> Start:
    """How this run came about, as Prefect tells it.

    Args:
        since: cron times up to this one do not count.
        asked: whether a run that no schedule started asks for a training by itself.
        force: try again whatever the number of failures.
    """
    run = _run()
    by_schedule = run is not None and bool(run.auto_scheduled)
    return Start(
        now=datetime.datetime.now(datetime.UTC),
        flow_run=None if run is None else str(run.id),
        expected=None if run is None else run.expected_start_time,
        due=run.expected_start_time if asked and by_schedule else None,
        since=since,
        request="Somebody started this run." if force or (asked and not by_schedule) else None,
        force=force,
    )


def late(begun: Start, grace_s: float) -> str | None:
    """Why this run of a schedule is too late to do anything: a newer one is due and waits; None where it is not."""
    run = _run()
    if run is None or begun.expected is None or run.deployment_id is None or not run.auto_scheduled:
        return None
    if (begun.now - begun.expected).total_seconds() <= grace_s:
        return None
    if not newer_waiting(run.deployment_id, begun.expected, begun.now):
        return None
    return f"Missed: due at {show_time(begun.expected)}, started at {show_time(begun.now)}, and a newer run is due."


def missed(call: Call, begun: Start) -> Draft:
    """The ledger's entry of such a run."""
    assert begun.expected is not None, "a run without a due time cannot be late"
    return missed_draft(call.name, begun.expected, begun)


def tell(text: str) -> None:
    """One line in the flow run's log, which who watches the process sees as well."""
    if _run() is None:
        say(text)
        return
    from prefect import get_run_logger

    get_run_logger().info(text)


def _run() -> Any:
    """Prefect's record of the flow run; None outside of one."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    return None if context is None else context.flow_run
