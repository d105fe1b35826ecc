"""The flows that Prefect deployments name: `watch` retrains where a trigger asks for it, `retrain` whenever it is started.

Both train the same data, settings and code once, name in the ledger why they trained and which due times nobody kept, and
ask for the promotion of what they trained. The order of stages is that of ``abi run``.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.states import Completed

from abi.config import load_config
from abi.monitoring.triggers import Decision, show_time
from flows.retrain import Request, retrain
from flows.session import model_name
from tasks import deployed_run, flow_artifacts, schedule_secrets
from tasks.decisions import open_ledger
from tasks.lineage import lineage
from tasks.orchestration import as_tasks, or_without_prefect
from tasks.preflight import pose_problem, preflight
from tasks.promoting import pending, promote_with_gates
from tasks.scheduling import LEASE_S, Operation, Start, recorded_result
from tasks.stage import Call, Clock
from tasks.telemetry import publishing
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from prefect.states import State


@dataclass(frozen=True, kw_only=True)
class Job:
    """The parameters of a deployment."""

    data: str
    target: str
    test: str | None
    name: str | None
    workspace: str | None
    config: str | None
    settings: dict[str, Any] | None
    secrets: str | None = None

    def call(self) -> Call:
        """Workspace, name and settings."""
        settings = {**(self.settings or {}), **schedule_secrets.read(self.secrets)}
        loaded = load_config(Path(self.config) if self.config else None, settings)
        name = model_name(self.name or loaded.name, self.data)
        folder = self.workspace or os.environ.get("ABI_WORKSPACE") or ".abi"
        return Call.of(Workspace.open(Path(folder)), name, loaded)


@flow(name="watch", validate_parameters=False)  # type: ignore[untyped-decorator]  # Prefect's types are not read
def watch(
    data: str,
    target: str,
    test: str | None = None,
    name: str | None = None,
    workspace: str | None = None,
    config: str | None = None,
    settings: dict[str, Any] | None = None,
    secrets: str | None = None,
    since: str | None = None,
    force: bool = False,
) -> State[Any]:
    """Look at the triggers (cron, new data, drift, age) and retrain where one fires.

    Args:
        data: CSV (also gzip) or Parquet file.
        target: column to predict.
        test: file with held-out rows.
        name: of the registered model; the data file's where None.
        workspace: folder for everything that is kept; $ABI_WORKSPACE or ./.abi where None.
        config: settings file.
        settings: dotted settings that go before it.
        secrets: file with more of them, those with passwords (`tasks.schedule_secrets`).
        since: cron times before this one (ISO 8601) do not count.
        force: train although it failed too often.

    Returns:
        A finished state that says what was done; its data is what ``abi run --json`` prints where there is a run.
    """
    job = Job(
        data=data, target=target, test=test, name=name, workspace=workspace, config=config, settings=settings, secrets=secrets
    )  # fmt: skip
    begun = datetime.datetime.fromisoformat(since) if since else None
    return _retrain(job, deployed_run.start(since=begun, force=force))


@flow(name="retrain", validate_parameters=False)  # type: ignore[untyped-decorator]  # Prefect's types are not read
def retrain_table(
    data: str,
    target: str,
    test: str | None = None,
    name: str | None = None,
    workspace: str | None = None,
    config: str | None = None,
    settings: dict[str, Any] | None = None,
    secrets: str | None = None,
    force: bool = False,
) -> State[Any]:
    """Retrain on a table, unless the same data, settings and code were trained; finished stages are reused.

    Args:
        data: CSV (also gzip) or Parquet file.
        target: column to predict.
        test: file with held-out rows.
        name: of the registered model; the data file's where None.
        workspace: folder for everything that is kept; $ABI_WORKSPACE or ./.abi where None.
        config: settings file.
        settings: dotted settings that go before it.
        secrets: file with more of them, those with passwords (`tasks.schedule_secrets`).
        force: train although it failed too often.

    Returns:
        A finished state whose data is the object that ``abi run --json`` prints.
    """
    job = Job(
        data=data, target=target, test=test, name=name, workspace=workspace, config=config, settings=settings, secrets=secrets
    )  # fmt: skip
    start = deployed_run.start(asked=True, force=force)
    call = job.call()
    late = deployed_run.late(start, call.settings.schedule.grace)
    if late is not None:
        open_ledger(call).append(deployed_run.missed(call, start))
        return _completed(late)
    return _retrain(job, start)


def _retrain(job: Job, start: Start) -> State[Any]:
    call = job.call()
    ledger = open_ledger(call)
    operation = Operation(call, ledger, pose_problem(call, job.data, job.test, job.target))
    with ledger.lease(f"retrain:{operation.id}", seconds=LEASE_S) as held:
        if not held:
            return _completed("Another run trains these data, settings and code now: nothing to do.")
        operation.monitor(job.data)
        decision = operation.look(start)
        for time in decision.missed:
            deployed_run.tell(f"missed    no run kept the due time {show_time(time)}")
        if not decision.train:
            operation.fired(decision, start)
            told = "; ".join([decision.summary, *_late_promotion(operation)])
            return _completed(told, recorded_result(operation))
        result = _train(job, operation, decision, start)
        promoted = promote_with_gates(call, result["model"]["version"])
    return _completed(f"{decision.summary} Trained version {result['model']['version']}. {promoted}", result)


def _train(job: Job, operation: Operation, decision: Decision, start: Start) -> dict[str, Any]:
    call = operation.call
    with (
        call.ws.lock(timeout_s=0),
        publishing(call.ws, call.settings),
        lineage(call, job.data, job.test) as known,
    ):
        operation.fired(decision, start)
        deployed_run.tell(f"trigger   {decision.summary}")
        known.posed(preflight(call, job.data, job.test, job.target))
        folder = Path(_train_stages(call, Request(call, job.target, job.data, job.test)))
        known.recorded(folder)
    result: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
    operation.trained(result, start)
    flow_artifacts.publish(call, folder)
    return result


def _late_promotion(operation: Operation) -> list[str]:
    """Judge what a run before trained and could not have judged any more."""
    version = operation.scheduled_version()
    if version is None or not pending(operation.call, version):
        return []
    return [promote_with_gates(operation.call, version)]


def _train_stages(call: Call, request: Request) -> str:
    clock = Clock()

    def body(run: Callable[..., str]) -> str:
        return retrain(run, request)

    return or_without_prefect(call, clock, body, lambda: body(as_tasks(call, clock)))


def _completed(message: str, data: Any = None) -> State[Any]:
    deployed_run.tell(f"watch     {message}")
    state: State[Any] = Completed(message=message, data=data)
    return state
