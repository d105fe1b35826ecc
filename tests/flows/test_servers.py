"""The flow against real servers: MLflow and Prefect on PostgreSQL, and the ledger on PostgreSQL as well."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import psycopg
import pytest

from abi.config import AuditConfig
from tasks.ledger import Ledger
from tasks.workspace import Workspace

pytestmark = pytest.mark.slow

PASSWORD = "only-for-this-test-run"

PREDICT = """
import sys, mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
print(model.predict(pd.read_csv(sys.argv[3]).drop(columns="label"))["prediction"].tolist())
"""


def rows(url: str, query: str) -> list[tuple]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def shop(tmp_path_factory, frame):
    path = tmp_path_factory.mktemp("servers") / "shop.csv"
    frame().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(servers, prefect_auth, module_postgres_url, shop, quick, command):
    """`abi run` with everything that a team shares on servers."""

    def start():
        return command(
            *("run", shop, "--target", "label", "--name", "shop", *quick, "--set", "training.family=network", "--json"),
            cwd=shop.parent,
            ABI_WORKSPACE=str(shop.parent / "ws"),
            ABI_AUDIT__URL=module_postgres_url,
            ABI_TELEMETRY__OPENLINEAGE=str(shop.parent / "events.jsonl"),
            ABI_TELEMETRY__METRICS=str(shop.parent / "abi.prom"),
            MLFLOW_TRACKING_URI=servers.mlflow,
            PREFECT_API_URL=servers.prefect,
            PREFECT_API_AUTH_STRING=prefect_auth,
            **servers.login,
        )

    return start


@pytest.fixture(scope="module")
def first(run):
    answer = run()
    assert answer.code == 0, answer.err
    return answer


def test_one_version_and_a_second_run_that_trains_nothing(run, first, servers):
    assert first.json["status"] == "completed"
    again = run()
    assert again.code == 0, again.err
    assert again.json["status"] == "reused"
    assert again.json["model"] == first.json["model"]
    assert rows(servers.mlflow_database, "select name, version from model_versions") == [("shop", 1)]
    states = rows(servers.prefect_database, "select state_type from flow_run where name is not null")
    assert states == [("COMPLETED",)] * 2


def test_the_model_loads_from_the_server_in_a_fresh_process(first, servers, shop):
    words = [sys.executable, "-c", PREDICT, servers.mlflow, first.json["model"]["uri"], str(shop)]
    env = {**os.environ, **servers.login}
    made = subprocess.run(words, capture_output=True, text=True, check=True, cwd=shop.parent, env=env)
    predictions = json.loads(made.stdout.splitlines()[-1].replace("'", '"'))
    assert len(predictions) == 240
    assert set(predictions) == {"yes", "no"}


def test_the_ledger_on_postgresql_holds_the_run(first, module_postgres_url, shop):
    ledger = Ledger.open(Workspace(shop.parent / "ws"), AuditConfig(url=module_postgres_url))
    kinds = [entry.kind for entry in ledger.entries(model="shop")]
    assert kinds[0] == "snapshot"
    assert {"checks", "scores", "attention", "plan", "training", "control", "outcome"} <= set(kinds)
    assert kinds.count("registration") == 1
    ledger.verify()
    ledger.engine.dispose()


def test_the_prefect_server_asks_who_it_is(servers, prefect_auth):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{servers.prefect}/admin/version", timeout=10)
    known = {"Authorization": f"Basic {base64.b64encode(prefect_auth.encode()).decode()}"}
    with urllib.request.urlopen(urllib.request.Request(f"{servers.prefect}/admin/version", headers=known)) as answer:
        assert answer.status == 200


def test_mlflow_tells_nothing_to_who_is_not_known(first, servers, shop, command):
    words = ("predict", shop, "--model", "shop", "--version", 1, "--workspace", shop.parent / "ws")
    known = {"MLFLOW_TRACKING_URI": servers.mlflow, **servers.login}
    assert command(*words, **known).code == 0
    answer = command(*words, **{**known, "MLFLOW_TRACKING_PASSWORD": "another"})
    assert answer.code == 1
    assert "not authenticated" in answer.sentence
    assert "MLFLOW_TRACKING_PASSWORD" in answer.sentence


def test_no_password_is_recorded(first, servers, shop):
    """Not in parameters, artifacts, reports or events, though the ledger's URL holds one."""
    held = rows(servers.mlflow_database, f"select key, value from params where value like '%{PASSWORD}%'")
    assert held == []
    kept = [path for path in shop.parent.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert kept == []


def test_the_metrics_file_tells_of_the_run(first, shop):
    text = (shop.parent / "abi.prom").read_text()
    assert 'abi_runs_total{model="shop",status="registered"} 1.0' in text
    assert 'abi_challenger_version{model="shop"} 1.0' in text


def test_lineage_names_the_server_without_a_password(first, servers, shop):
    events = [json.loads(line) for line in (shop.parent / "events.jsonl").read_text().splitlines()]
    assert [event["eventType"] for event in events[:2]] == ["START", "COMPLETE"]
    assert events[1]["outputs"][0]["namespace"] == servers.mlflow
    assert events[1]["run"]["facets"]["tags"]["tags"]
