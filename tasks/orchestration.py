"""How stages are run: as Prefect tasks of one flow run, or in this process. Finished stages are reused either way.

A stage's result is kept in the workspace under its key, and what it decided in the ledger; Prefect's own cache lies on top.
So a run goes on where it was, whether it was killed or Prefect's server has gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from abi.errors import clip
from tasks.decisions import note
from tasks.progress import say
from tasks.stage import Call, Clock, Stage
from tasks.temporary_server import TemporaryServer
from tasks.workspace import Workspace, disk_errors

PREFECTS = {"prefect", "httpx", "httpcore", "websockets"}
UNREACHED = re.compile(r"Prefect API|Failed to reach API")
NO_ADDRESS = "No Prefect API URL provided"
Run = Callable[..., str]
Body = Callable[[Run], str]
Flow = Callable[[Call, Clock, Body, str], str]
QUIET = {
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def in_process(call: Call, clock: Clock, *, reuse: bool = False) -> Run:
    """Run stages as plain functions, one after the other; finished ones are reused where that is asked for."""

    def run(stage: Stage, *inputs: str) -> str:
        work = finished if reuse else _work
        result: str = clock.run(stage, lambda: work(call, stage, inputs))
        note(call, stage, result)
        return result

    return run


def _work(call: Call, stage: Stage, inputs: tuple[str, ...]) -> str:
    return stage.function(call, *inputs)


def finished(call: Call, stage: Stage, inputs: tuple[str, ...]) -> str:
    """The stage's result: the kept one, where what it names is still there, or a new one."""
    if not stage.cached:
        return _work(call, stage, inputs)
    ws, path = call.ws, call.ws.stages / stage.key(call, *inputs)
    with contextlib.suppress(OSError):
        result = path.read_text()
        if result and stage.kept(call, result):
            return result
    result = _work(call, stage, inputs)
    ws.write(path, result.encode())
    return result


@contextlib.contextmanager
def in_prefect(ws: Workspace) -> Iterator[Flow]:
    """What runs a body as a Prefect flow whose stages are tasks.

    Without a configured API that is on a temporary server on the workspace's database, which begins to start now: the sooner
    this is asked for, the less the flow waits for it. What a killed run left behind of such a server is ended first.
    """
    configure(ws)

    def run(call: Call, clock: Clock, body: Body, flow_name: str) -> str:
        from prefect import flow

        from tasks.flow_artifacts import publish

        @flow(name=flow_name, validate_parameters=False)  # type: ignore[untyped-decorator]  # Prefect's types are not read
        def retrain() -> str:
            folder = body(as_tasks(call, clock))
            publish(call, Path(folder))
            return folder

        with server.answering():
            return or_without_prefect(call, clock, body, retrain)

    with TemporaryServer() as server:
        yield run


def or_without_prefect(call: Call, clock: Clock, body: Body, run: Callable[[], str]) -> str:
    """What `run` gives; where Prefect's server fails it, `body` goes on in this process from the stages that are finished."""
    try:
        return run()
    except Exception as error:
        if not _of_prefect(error):
            raise
        say(f"prefect   does not answer ({clip(str(error) or type(error).__name__)}): the run goes on without it")
        return body(in_process(call, clock, reuse=True))


def _of_prefect(error: Exception) -> bool:
    """Whether it is Prefect's server that failed, and not a stage."""
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return (
        bool(modules & PREFECTS)
        or (isinstance(error, RuntimeError) and bool(UNREACHED.search(str(error))))
        or (isinstance(error, ValueError) and str(error).startswith(NO_ADDRESS))
    )


def as_tasks(call: Call, clock: Clock) -> Run:
    """Run stages as Prefect tasks of the flow run that is going on."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    def run(stage: Stage, *inputs: str) -> str:
        def work(inputs: tuple[str, ...]) -> str:
            return finished(call, stage, inputs)

        settings: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
        if stage.cached:
            key = stage.key(call, *inputs)
            settings = {
                "cache_key_fn": lambda context, parameters: key,  # noqa: ARG005 - Prefect passes both
                "persist_result": True,
                "result_serializer": "json",
            }
        wrapped = task(name=stage.name, **settings)(work)

        def asked() -> str:
            result: str = wrapped(inputs)
            if stage.cached and not stage.kept(call, result):
                result = wrapped.with_options(refresh_cache=True)(inputs)
            return result

        answer: str = clock.run(stage, asked)
        note(call, stage, answer)
        return answer

    return run


def configure(ws: Workspace) -> None:
    """Prefect's settings for this workspace; only before Prefect is imported do they take effect."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    home = os.environ.setdefault("PREFECT_HOME", str(ws.prefect))
    os.environ.setdefault("PREFECT_LOCAL_STORAGE_PATH", str(ws.prefect / "results"))
    if home == str(ws.prefect):
        with disk_errors(ws.prefect):
            _end_orphans(ws)
    for name in ("prefect", "prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).setLevel(os.environ["PREFECT_LOGGING_LEVEL"])


def _end_orphans(ws: Workspace) -> None:
    """End temporary servers of this workspace whose run is gone: a SIGKILL leaves them behind."""
    for process in psutil.process_iter():
        try:
            if process.ppid() != 1 or not re.search(r"prefect.*server|uvicorn.*prefect", " ".join(process.cmdline())):
                continue
            if process.environ().get("PREFECT_HOME") == str(ws.prefect):
                process.send_signal(signal.SIGTERM)
        except psutil.Error:
            continue
