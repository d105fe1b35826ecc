"""Schedules on a real Prefect server with a real process worker."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from datetime import UTC, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from abi.config import load_config
from tasks import deployed_run, deployments
from tasks.ledger import Ledger
from tasks.prefect_server import own_server, using
from tasks.scheduling import Start
from tasks.workspace import Workspace

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ENDED = {"Completed", "Failed", "Crashed", "Cancelled"}
SETTINGS = """
training: {epochs: 2, threads: 1, family: network}
iterate: {rounds: 1}
attention: {temperatures: [0.4]}
evaluation: {resamples: 100, latency_calls: 5}
checks: {data_docs: false}
schedule: {promote: never, cron: "0 3 1 1 *", poll: 30d}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, frame):
    folder = tmp_path_factory.mktemp("schedule")
    frame().to_csv(folder / "shop.csv", index=False)
    (folder / "abi.yaml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def server(place):
    """A server of our own, as `abi schedule --serve` starts one."""
    with own_server(place / "server") as url, using(url):
        yield url


@pytest.fixture(scope="module")
def worker(server, place):
    """Start a process worker of a pool; they end with the tests of this file."""
    started = []

    def start(pool):
        environment = {
            **os.environ,
            "PREFECT_API_URL": server,
            "PREFECT_HOME": str(place / "worker"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool]
        with (place / f"{pool}.log").open("w") as log:
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    yield start
    for process in started:
        process.terminate()
        process.wait(120)


@pytest.fixture
def flags(place):
    return ["--workspace", place / "ws", "--config", place / "abi.yaml", "--json"]


@pytest.fixture
def client(server):
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


def wait(client, place, *runs, seconds=180):
    """States of flow runs once they have ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        states = [client.read_flow_run(run).state for run in runs]
        if all(state.name in ENDED for state in states):
            return states
        time.sleep(0.3)
    log = (place / "abi.log").read_text()[-3000:]
    pytest.fail(f"not ended: {[(state.name, state.message) for state in states]}\n{log}")


def test_without_a_server_a_sentence_says_what_to_do(command, data, tmp_path):
    answer = command("schedule", data, "--target", "label", PREFECT_HOME=str(tmp_path / "home"))
    assert answer.code == 2
    assert "`prefect server start`" in answer.sentence
    away = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_HOME": str(tmp_path / "home"), "PREFECT_CLIENT_MAX_RETRIES": "0"}  # fmt: skip
    answer = command("schedule", "--show", **away)
    assert answer.code == 1
    assert "http://127.0.0.1:9/api" in answer.sentence
    assert "`prefect server start`" in answer.sentence


def test_what_cannot_be_scheduled_is_said(abi, server, place, flags, data):
    assert "DATA --target COL" in abi("schedule", *flags).sentence
    assert "'label'" in abi("schedule", data, "--target", "lable", *flags).sentence
    assert "one of --pause, --remove" in abi("schedule", "--pause", "--remove", *flags).sentence
    assert "schedule.cron" in abi("schedule", data, "--target", "label", "--cron", "daily", *flags).sentence
    assert "abi schedule DATA" in abi("schedule", "--pause", "--name", "nobody", *flags).sentence


def test_applied_twice_it_is_one_and_the_server_makes_its_runs(abi, server, client, place, flags):
    words = ["schedule", place / "shop.csv", "--target", "label", "--name", "idle", "--pool", "idle", *flags]
    assert abi(*words, "--every", "1h").json == {"deployment": "watch/idle", "cron": "0 3 1 1 *", "poll_s": 3600.0, "pool": "idle"}  # fmt: skip
    (first,) = abi("schedule", "--show", *flags).json["schedules"]
    abi(*words, "--every", "30min")
    (second,) = abi("schedule", "--show", *flags).json["schedules"]
    assert (first["poll_s"], second["poll_s"]) == (3600, 1800)
    assert first["parameters"]["since"] == second["parameters"]["since"]
    assert Path(second["parameters"]["data"]) == place / "shop.csv"
    assert second["parameters"]["workspace"] == str(place / "ws")
    # what has a password is not on the server's page
    secret = "telemetry.openlineage=http://me:hush@127.0.0.1:9/events"
    assert abi(*words, "--set", secret).code == 0
    asked = client.read_deployment_by_name("watch/idle").parameters
    assert "hush" not in json.dumps(asked)
    assert asked["secrets"] == str(place / "ws" / "schedules" / "idle.json")
    assert Path(asked["secrets"]).stat().st_mode & 0o777 == 0o600
    assert abi("schedule", "--show", *flags).json["schedules"][0]["due"]
    # another expression counts from now on
    assert abi(*words, "--cron", "30 4 * * *", "--timezone", "Europe/Berlin").json["cron"] == "30 4 * * *"
    (third,) = abi("schedule", "--show", *flags).json["schedules"]
    assert third["parameters"]["since"] > second["parameters"]["since"]
    assert third["parameters"]["secrets"] is None
    assert not (place / "ws" / "schedules" / "idle.json").exists()
    assert third["timezone"] == "Europe/Berlin"
    assert third["due"].endswith(("T02:30:00+00:00", "T03:30:00+00:00"))
    end = time.monotonic() + 30
    while not third["next"] and time.monotonic() < end:
        time.sleep(0.5)
        (third,) = abi("schedule", "--show", *flags).json["schedules"]
    assert third["next"], f"the server makes no runs of its schedules: see {place / 'server' / 'server.log'}"


def test_late_runs(abi, client, place, flags):
    """A run that starts after its grace does nothing where a newer one is due and waits."""
    from prefect.states import Scheduled

    deployment = client.read_deployment_by_name("watch/idle")
    now = datetime.datetime.now(UTC)
    old, new = now - timedelta(hours=2), now - timedelta(hours=1)
    for due in (old, new):
        client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=due))
    assert deployments.newer_waiting(deployment.id, old, now)
    assert not deployments.newer_waiting(deployment.id, new, now)
    with pytest.MonkeyPatch.context() as patch:
        run = SimpleNamespace(deployment_id=deployment.id, auto_scheduled=True)
        patch.setattr(deployed_run, "_run", lambda: run)
        assert "a newer run is due" in deployed_run.late(Start(now=now, expected=old), 3600.0)
        assert deployed_run.late(Start(now=now, expected=old), 3 * 3600.0) is None  # within the grace
        assert deployed_run.late(Start(now=now, expected=new), 1800.0) is None  # the newest is run, however late
        run.auto_scheduled = False
        assert deployed_run.late(Start(now=now, expected=old), 3600.0) is None  # somebody asked for this very run


def test_pause_resume_and_remove(abi, server, flags):
    assert abi("schedule", "--pause", "--name", "idle", *flags).json == {"name": "idle", "status": "paused"}
    (paused,) = abi("schedule", "--show", "--name", "idle", *flags).json["schedules"]
    assert paused["paused"]
    abi("schedule", "--resume", *flags)
    (resumed,) = abi("schedule", "--show", *flags).json["schedules"]
    assert not resumed["paused"]
    assert resumed["parameters"]["since"] > paused["parameters"]["since"]  # nobody missed what was due in the pause
    shown = abi("schedule", "--show", *flags[:-1]).out
    assert "Europe/Berlin" in shown
    assert "work pool idle" in shown
    assert abi("schedule", "--remove", *flags).json["status"] == "removed"
    assert abi("schedule", "--show", *flags).json == {"schedules": []}


def test_looks_by_a_worker(abi, server, client, worker, place, flags, frame, versions):
    """Schedule, train once of many that are late, nothing due, new data, trained once by two deployments at a time."""
    from prefect.client.schemas import filters
    from prefect.states import Scheduled

    abi("schedule", place / "shop.csv", "--target", "label", *flags)
    deployment = client.read_deployment_by_name("watch/shop")
    late = [datetime.datetime.now(UTC) - timedelta(hours=hours) for hours in (3, 2, 1)]
    runs = [client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=due)).id for due in late]  # fmt: skip
    worker("abi")
    states = wait(client, place, *runs)
    assert sorted(state.name for state in states) == ["Cancelled", "Cancelled", "Completed"]
    (told,) = [state.message for state in states if state.name == "Completed"]
    assert told.startswith("No run has been made yet")
    assert "Trained version 1." in told
    found = client.read_artifacts(artifact_filter=filters.ArtifactFilter())
    assert {(a.key, a.type) for a in found} == {("shop-verdict", "markdown"), ("shop-attention", "table")}
    page, table = sorted(found, key=lambda a: a.type)
    assert "models:/shop/1" in page.data
    assert "| roc_auc |" in page.data
    assert set(json.loads(table.data)[0]) >= {"feature", "score", "weight", "width"}

    (unchanged,) = wait(client, place, abi("schedule", "--now", *flags).json["flow_run"])
    assert (unchanged.name, unchanged.message) == ("Completed", "nothing due")

    frame(seed=1).to_csv(place / "shop.csv", index=False)
    deployed = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", "infra/prefect.yaml"],
        cwd=ROOT,
        env={**os.environ, "PREFECT_API_URL": server, "PREFECT_HOME": str(place / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    nightly = client.read_deployment_by_name("retrain/nightly")
    assert nightly.global_concurrency_limit.limit == 1
    assert nightly.concurrency_options.collision_strategy == "CANCEL_NEW"
    assert client.read_deployment_by_name("watch/breast_cancer").parameters["settings"] == {"schedule.age": "30d"}
    other = client.create_flow_run_from_deployment(nightly.id, parameters=_without_since(deployment.parameters))
    states = wait(client, place, abi("schedule", "--now", "--name", "shop", *flags).json["flow_run"], other.id)
    assert [state.name for state in states] == ["Completed"] * 2
    assert sum("Trained version 2." in state.message for state in states) == 1
    assert versions(place / "ws") == 2
    ledger = Ledger.open(Workspace(place / "ws"), load_config(place / "abi.yaml").audit)
    fired = [entry for entry in ledger.entries(kinds=("trigger",), model="shop") if "training" in entry.detail]
    assert len(fired) == 2
    assert all(entry.flow_run for entry in fired)
    last = abi("schedule", "--show", "--name", "shop", *flags).json["schedules"][0]["last"]
    assert {run["state"] for run in last} == {"Completed", "Cancelled"}


def _without_since(parameters):
    return {name: value for name, value in parameters.items() if name != "since"}


def test_settings_are_shown_without_passwords_and_go_on_with_them(abi, tmp_path, monkeypatch):
    settings = {"tracking.remote": "s3://bucket?secret_access_key=hush"}
    parameters = {"config": None, "workspace": str(tmp_path / "ws"), "settings": settings}
    monkeypatch.setattr("tasks.deployments.show", lambda name=None: [{"name": "idle", "parameters": parameters}])
    read = []
    monkeypatch.setattr(
        "tasks.scheduling.next_and_missed",
        lambda place, name, config: read.append(config.tracking.remote) or {"due": None, "missed": []},
    )
    (shown,) = abi("schedule", "--show", "--workspace", tmp_path / "ws", "--json").json["schedules"]
    assert shown["parameters"]["settings"] == {"tracking.remote": "s3://bucket?secret_access_key=***"}
    assert read == [settings["tracking.remote"]]
