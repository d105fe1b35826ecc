"""Prefect's server: deployments that look at the triggers, made, shown, paused, removed; and what it knows of a run."""

from __future__ import annotations

import datetime
import os
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.errors import UsageError, listed
from tasks import ENVIRONMENT
from tasks.prefect_server import connected

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

FLOW = "watch"
ENTRYPOINT = "flows.deployed.watch"
TAG = "abi"
SHOWN_RUNS = 5


@dataclass(frozen=True, kw_only=True)
class Watch:
    """A deployment that is to be.

    Attributes:
        name: of the model, and of the deployment.
        parameters: of the flow `watch`.
        cron: expression whose times start a look; None for none.
        timezone: of the expression.
        poll_s: seconds between two other looks.
        pool: process work pool; None where this process serves it.
        results: folder that keeps finished stages.
        folder: where the flow is run, as a command would be.
    """

    name: str
    parameters: dict[str, Any]
    cron: str | None
    timezone: str
    poll_s: float
    pool: str | None
    results: Path
    folder: Path = field(default_factory=Path.cwd)


def apply(watch: Watch) -> str:
    """Make the deployment, or make the one that is there like this; returns its full name.

    Raises:
        UsageError: no server is configured.
        WorkspaceError: the server does not answer.
    """
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions

    with connected() as client:
        if watch.pool is not None:
            _make_pool(client, watch.pool)
        there = _find(client, watch.name)
        client.create_deployment(
            flow_id=client.create_flow_from_name(FLOW),
            name=watch.name,
            schedules=[_scheduled(schedule) for schedule in _schedules(watch)],
            concurrency_limit=1,
            concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
            parameters={**watch.parameters, "since": _since(watch, there)},
            description=f"Looks whether {watch.name} is to be retrained, and retrains it where it is.",
            work_pool_name=watch.pool,
            tags=[TAG],
            entrypoint=ENTRYPOINT,
            paused=there.paused if there is not None else False,
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(watch.folder)}}],
            enforce_parameter_schema=False,
            job_variables={"env": environment(watch.results)} if watch.pool is not None else {},
        )
    return f"{FLOW}/{watch.name}"


def serve(flow: Any, watch: Watch) -> None:
    """Run the deployment of `flow` here until interrupted."""
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.deployments.runner import EntrypointType

    with connected() as client:
        since = _since(watch, _find(client, watch.name))
    flow.serve(
        name=watch.name,
        schedules=_schedules(watch),
        global_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        parameters={**watch.parameters, "since": since},
        tags=[TAG],
        pause_on_shutdown=False,
        print_starting_message=False,
        enforce_parameter_schema=False,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def show(name: str | None = None) -> list[dict[str, Any]]:
    """Deployments (all, or that of one model) with their schedules, last and next runs; plain values."""
    with connected() as client:
        found = _all(client) if name is None else [_found(client, name)]
        return [_shown(client, deployment) for deployment in found]


def remove(name: str) -> None:
    """Take the deployment away; what it trained and recorded stays."""
    with connected() as client:
        client.delete_deployment(_found(client, name).id)


def pause(name: str, *, paused: bool) -> None:
    """Stop or go on looking; cron times in the pause are nobody's."""
    from prefect.client.schemas.actions import DeploymentUpdate

    with connected() as client:
        deployment = _found(client, name)
        if not paused and deployment.paused:
            parameters = {**deployment.parameters, "since": _now().isoformat()}
            client.update_deployment(deployment.id, DeploymentUpdate(parameters=parameters))
        client.update_deployment(deployment.id, DeploymentUpdate(paused=paused))


def start(name: str, *, force: bool) -> str:
    """Ask for a look now; returns the flow run's id."""
    with connected() as client:
        run = client.create_flow_run_from_deployment(_found(client, name).id, parameters={"force": force})
        return str(run.id)


def newer_waiting(deployment: UUID, expected: datetime.datetime, now: datetime.datetime) -> bool:
    """Whether a run of the deployment that was due after `expected` is due and waits to be started."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=filters.FlowRunFilter(
                deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment]),
                state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                expected_start_time=filters.FlowRunFilterExpectedStartTime(
                    after_=expected + datetime.timedelta(seconds=1), before_=now
                ),
            ),
            limit=1,
        )
    return bool(runs)


def environment(results: Path) -> dict[str, str]:
    """What a flow run's process gets: this code, no telemetry, and the workspace's finished stages."""
    root = str(Path(__file__).parent.parent)
    installed = root in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    paths = [] if installed else [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **ENVIRONMENT,
        "PREFECT_LOCAL_STORAGE_PATH": str(results),
        **({"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))} if paths else {}),
    }


def _schedules(watch: Watch) -> list[Any]:
    from prefect.schedules import Cron, Interval

    # looks lie at whole multiples of the interval, so that applying the same again moves none
    anchor = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    looks = [Interval(datetime.timedelta(seconds=watch.poll_s), anchor_date=anchor, timezone="UTC", slug="look")]
    return looks if watch.cron is None else [Cron(watch.cron, timezone=watch.timezone, slug="cron"), *looks]


def _scheduled(schedule: Any) -> Any:
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    return DeploymentScheduleCreate.from_schedule(schedule)


def _since(watch: Watch, there: DeploymentResponse | None) -> str:
    """From when on cron times count: the moment at which this expression was first applied."""
    if there is not None and there.parameters.get("since") and _cron_of(there) == (watch.cron, watch.timezone):
        return str(there.parameters["since"])
    return _now().isoformat()


def _cron_of(deployment: DeploymentResponse) -> tuple[str | None, str]:
    for schedule in deployment.schedules:
        cron = getattr(schedule.schedule, "cron", None)
        if cron is not None:
            return cron, schedule.schedule.timezone or "UTC"
    return None, "UTC"


def _make_pool(client: SyncPrefectClient, name: str) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
        return
    if pool.type != "process":
        msg = f"Expected a process work pool {name!r}, got one of type {pool.type!r}: name another with --pool."
        raise UsageError(msg)


def _find(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(f"{FLOW}/{name}")
    except ObjectNotFound:
        return None


def _found(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    there = _find(client, name)
    if there is None:
        names = [deployment.name for deployment in _all(client)]
        msg = f"Expected a schedule of model {name!r}, got {listed(names) if names else 'none at all'}: make it with `abi schedule DATA --target COL --name {name}`."
        raise UsageError(msg)
    return there


def _all(client: SyncPrefectClient) -> list[DeploymentResponse]:
    from prefect.client.schemas import filters

    tagged = filters.DeploymentFilter(tags=filters.DeploymentFilterTags(all_=[TAG]))
    return list(client.read_deployments(deployment_filter=tagged))


def _shown(client: SyncPrefectClient, deployment: DeploymentResponse) -> dict[str, Any]:
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    mine = filters.FlowRunFilterDeploymentId(any_=[deployment.id])

    def runs(waiting: bool, sort: Any) -> list[Any]:
        kinds = {"any_" if waiting else "not_any_": [StateType.SCHEDULED]}
        state = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(**kinds))
        chosen = filters.FlowRunFilter(deployment_id=mine, state=state)
        return list(client.read_flow_runs(flow_run_filter=chosen, sort=sort, limit=SHOWN_RUNS))

    cron, timezone = _cron_of(deployment)
    return {
        "name": deployment.name,
        "paused": deployment.paused,
        "pool": deployment.work_pool_name,
        "cron": cron,
        "timezone": timezone,
        "poll_s": _poll(deployment),
        "parameters": deployment.parameters,
        "last": [_run(run) for run in runs(False, FlowRunSort.EXPECTED_START_TIME_DESC)],
        "next": [
            run.expected_start_time.isoformat() for run in runs(True, FlowRunSort.EXPECTED_START_TIME_ASC)
        ],
    }  # fmt: skip


def _poll(deployment: DeploymentResponse) -> float | None:
    for schedule in deployment.schedules:
        interval = getattr(schedule.schedule, "interval", None)
        if interval is not None:
            return float(interval.total_seconds())
    return None


def _run(run: Any) -> dict[str, Any]:
    return {
        "id": str(run.id),
        "expected": run.expected_start_time.isoformat(),
        "state": run.state.name if run.state else None,
        "message": run.state.message if run.state else None,
    }


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
