"""What `abi schedule` does: deployments made, shown, paused, removed, or served here."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.config import Config, load_config
from abi.errors import AbiError, UsageError
from abi.sections import without_passwords
from flows.session import emit, flag_settings, model_name, workspace_of
from tasks import progress, schedule_secrets
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from flows.common import Common
    from tasks.deployments import Watch


POOL = "abi"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The flags."""

    data: str | None
    target: str | None
    test: Path | None
    name: str | None
    cron: str | None
    timezone: str | None
    every: str | None
    max_age: str | None
    pool: str | None
    common: Common

    def settings(self) -> dict[str, object]:
        """Dotted settings of the flags; they go with the deployment."""
        own = {"cron": self.cron, "timezone": self.timezone, "poll": self.every, "age": self.max_age}
        laid = flag_settings(self.common, [])
        return laid | {f"schedule.{key}": value for key, value in own.items() if value is not None}


def run(wanted: Wanted, verbs: list[str]) -> None:
    """`abi schedule`."""
    if len(verbs) > 1:
        msg = f"Expected one of --{', --'.join(verbs)}, got {len(verbs)} at a time: name one."
        raise UsageError(msg)
    _expect_used(wanted, verbs)
    common = wanted.common
    progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
    if not verbs or verbs == ["serve"]:
        _make(wanted, serve=bool(verbs))
    elif verbs == ["show"]:
        _show(wanted)
    else:
        _change(wanted, verbs[0])


def _expect_used(wanted: Wanted, verbs: list[str]) -> None:
    """Refuse flags that what is asked for would pass over.

    Raises:
        UsageError: names the first.
    """
    unused: dict[str, object] = {"pool": wanted.pool}  # where it runs here
    if verbs and verbs != ["serve"]:
        unused |= {
            "target": wanted.target, "test": wanted.test, "cron": wanted.cron, "timezone": wanted.timezone,
            "every": wanted.every, "max-age": wanted.max_age,
        }  # fmt: skip
    given = next((flag for flag, value in unused.items() if value is not None), None)
    if verbs and given is not None:
        msg = f"Expected --{verbs[0]} without --{given}, which it does not use, got both: leave one out."
        raise UsageError(msg)


def _make(wanted: Wanted, *, serve: bool) -> None:
    from tasks import deployments
    from tasks.prefect_server import connected, own_server, server_url, using

    settings = wanted.settings()
    config = load_config(wanted.common.config, settings)
    _expect_named(wanted)
    if not serve:  # before the data is read
        with connected(" (or add --serve to run without one)"):
            pass
    watch = _watch(wanted, config, settings, None if serve else wanted.pool or POOL)
    if not serve:
        name = deployments.apply(watch)
        _answer(wanted, {"deployment": name, "cron": watch.cron, "poll_s": watch.poll_s, "pool": watch.pool},
                f"schedule  {name}: {_when(watch)}; run a worker with `prefect worker start --pool {watch.pool}`")  # fmt: skip
        return
    from flows.deployed import watch as flow

    with contextlib.ExitStack() as stack:
        if server_url() is None:
            progress.say("serve     no Prefect server is configured: one runs here meanwhile")
            home = workspace_of(wanted.common).resolve() / "prefect-server"
            stack.enter_context(using(stack.enter_context(own_server(home))))
        progress.say(f"serve     watch/{watch.name}: {_when(watch)}; interrupt to end")
        deployments.serve(flow, watch)


def _expect_named(wanted: Wanted) -> None:
    if wanted.data is None or wanted.target is None:
        msg = "Expected `abi schedule DATA --target COL`, got no data file or no column: name both, or use --show, --pause, --resume, --remove, --now or --force."
        raise UsageError(msg)


def _watch(wanted: Wanted, config: Config, settings: dict[str, object], pool: str | None) -> Watch:
    """The deployment that the flags describe; the data can be used, and every path is absolute."""
    from tasks.deployments import Watch
    from tasks.preflight import pose_problem
    from tasks.stage import Call

    assert wanted.data is not None
    assert wanted.target is not None
    ws = Workspace.open(workspace_of(wanted.common))
    name = model_name(config.name if wanted.name is None else wanted.name, wanted.data)
    data, test = (None if path is None else str(Path(path).resolve()) for path in (wanted.data, wanted.test))
    pose_problem(Call.of(ws, name, config), str(data), test, wanted.target)
    file = wanted.common.config or Path("abi.yaml")
    shown, secret = schedule_secrets.parted(settings)
    return Watch(
        name=name,
        parameters={
            "data": data,
            "target": wanted.target,
            "test": test,
            "name": name,
            "workspace": str(ws.root),
            "config": str(file.resolve()) if file.exists() else None,
            "settings": shown,
            "secrets": schedule_secrets.keep(ws, name, secret),
        },
        cron=config.schedule.cron,
        timezone=config.schedule.timezone,
        poll_s=config.schedule.poll,
        pool=pool,
        results=ws.prefect / "results",
    )


def _when(watch: Watch) -> str:
    from abi.units import show_duration

    looks = f"a look every {show_duration(watch.poll_s)}"
    return looks if watch.cron is None else f"cron {watch.cron!r} ({watch.timezone}) and {looks}"


def _change(wanted: Wanted, verb: str) -> None:
    from tasks import deployments

    name = _named(wanted)
    if verb in {"now", "force"}:
        run_id = deployments.start(name, force=verb == "force")
        _answer(wanted, {"name": name, "flow_run": run_id}, f"schedule  {name}: a look is asked for ({run_id})")
        return
    if verb == "remove":
        (known,) = deployments.show(name)
        deployments.remove(name)
        schedule_secrets.forget(known["parameters"].get("secrets"))
    else:
        deployments.pause(name, paused=verb == "pause")
    done = {"remove": "removed", "pause": "paused", "resume": "resumed"}[verb]
    _answer(wanted, {"name": name, "status": done}, f"schedule  {name}: {done}")


def _named(wanted: Wanted) -> str:
    """The model that is meant: the one that is named, or the only one that has a schedule."""
    from tasks import deployments

    if wanted.name is not None or wanted.data is not None:
        return model_name(wanted.name, wanted.data or "")
    names = [one["name"] for one in deployments.show()]
    if len(names) != 1:
        msg = f"Expected --name MODEL, got none and {len(names)} schedules: name one that `abi schedule --show` lists."
        raise UsageError(msg)
    return str(names[0])


def _show(wanted: Wanted) -> None:
    from tasks import deployments

    name = None if wanted.name is None and wanted.data is None else _named(wanted)
    known = [{**one, **_due_and_missed(one)} for one in deployments.show(name)]
    found = [{**one, "parameters": without_passwords(one["parameters"])} for one in known]
    if wanted.common.json:
        emit({"schedules": found})
    else:
        from tasks.schedules_view import show_schedules

        show_schedules(found, no_color=wanted.common.no_color)


def _due_and_missed(shown: dict[str, Any]) -> dict[str, Any]:
    """Cron's next due time, and the missed ones that the ledger names."""
    from tasks.scheduling import next_and_missed

    parameters = shown["parameters"]
    file = Path(parameters["config"]) if parameters.get("config") else None
    try:
        settings = {**(parameters.get("settings") or {}), **schedule_secrets.read(parameters.get("secrets"))}
        config = load_config(file, settings)
        return next_and_missed(Path(parameters["workspace"]), shown["name"], config)
    except AbiError as error:  # the other schedules are shown all the same
        progress.say(f"schedule  {shown['name']}: {error}")
        return {"due": None, "missed": []}


def _answer(wanted: Wanted, plain: dict[str, Any], line: str) -> None:
    progress.say(line)
    if wanted.common.json:
        emit(plain)
