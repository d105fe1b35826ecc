"""OpenLineage events, as a file and a real HTTP server get them."""

from __future__ import annotations

import json
import threading
import time
import uuid
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from openlineage.client import event_v2

from abi.config import load_config
from abi.errors import DataError
from abi.problem import DataFile, Feature, Problem, Schema, SetAside, Snapshot, Split
from tasks.lineage import lineage
from tasks.lineage_events import without_secrets
from tasks.stage import Call
from tasks.workspace import Workspace

FILE = DataFile(role="train", format="csv", md5="0" * 32, sha256="ab" * 32, size_bytes=70, rows=3)
PROBLEM = Problem(
    snapshot=Snapshot(files=(FILE,)),
    schema=Schema(
        target="label",
        task="binary",
        classes=("no", "yes"),
        features=(
            Feature(name="size", column="size", kind="numeric", distinct=3, missing_share=0.0),
            Feature(name="day.month", column="day", kind="numeric", part="month", distinct=3, missing_share=0.0),
        ),
        set_aside=(SetAside(column="id", kind="categorical", reason="one value per row"),),
    ),
    split=Split(seed=0, validation=0.2, test=0.2),
)
RESULT = {
    "run_id": "f" * 32,
    "evaluation": "e1",
    "primary": "roc_auc",
    "metrics": {"roc_auc": 0.75},
    "model": {"name": "shop", "version": 7, "uri": "models:/shop/7"},
}


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted; answers with `statuses` one after the other, then 201, after `delay_s`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, statuses: tuple[int, ...] = (), delay_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got, self.statuses, self.delay_s = [], list(statuses), delay_s

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.delay_s)
        status = self.server.statuses.pop(0) if self.server.statuses else 201
        if status < 300:
            self.server.got.append((self.path, self.headers.get("Authorization"), json.loads(body)))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receive():
    """Starts a receiver in this process."""
    started = []

    def start(**settings) -> Receiver:
        server = Receiver(**settings)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture
def call(tmp_path):
    def make(sink: str | None) -> Call:
        settings = {"telemetry.openlineage": sink, "tracking.uri": "https://ada:pw@mlflow.test:5000/?token=x"}
        return Call.of(Workspace.open(tmp_path / "ws"), "shop", load_config(settings=settings, ambient=False))

    return make


def run(call: Call, tmp_path, error: BaseException | None = None) -> None:
    with lineage(call, str(tmp_path / "shop.csv"), None) as known:
        known.posed(call.ws.put(PROBLEM))
        if error is not None:
            raise error
        (tmp_path / "run.json").write_text(json.dumps(RESULT))
        known.recorded(tmp_path)


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_form(event: dict) -> None:
    """What the specification asks of every event: the client's own classes take it back, facets name their schema."""
    datetime.fromisoformat(event["eventTime"])
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    assert event["producer"].startswith("urn:")
    assert event["schemaURL"].startswith("https://openlineage.io/spec/")
    event_v2.Run(runId=event["run"]["runId"])  # raises where it is no UUID
    assert event_v2.RunState(event["eventType"])
    assert event["job"]["namespace"]
    assert event["job"]["name"]
    facets = [event["run"]["facets"], event["job"]["facets"]]
    for dataset in event["inputs"] + event["outputs"]:
        assert dataset["namespace"]
        assert dataset["name"]
        facets += [dataset.get("facets", {}), dataset.get("inputFacets", {}), dataset.get("outputFacets", {})]
    found = [facet for group in facets for facet in group.values()]
    assert len(found) >= 3
    for facet in found:
        assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/")
        assert facet["_producer"] == event["producer"]


def test_a_run_that_completes(call, tmp_path):
    file = tmp_path / "new" / "events.jsonl"
    run(call(str(file)), tmp_path)
    run(call(str(file)), tmp_path)
    events = lines(file)
    assert [e["eventType"] for e in events] == ["START", "COMPLETE"] * 2
    for event in events:
        check_form(event)
    start, complete, again, _ = events
    assert start["run"]["runId"] == complete["run"]["runId"] != again["run"]["runId"]
    assert start["job"]["name"] == "retrain.shop"
    assert start["outputs"] == []
    (data,) = complete["inputs"]
    assert (data["namespace"], data["name"]) == ("file", str(tmp_path / "shop.csv"))
    assert data["facets"]["version"]["datasetVersion"] == "ab" * 32
    schema = {field["name"]: field["type"] for field in data["facets"]["schema"]["fields"]}
    assert schema == {"size": "numeric", "day": "date", "id": "categorical", "label": "binary"}
    assert data["inputFacets"]["inputStatistics"]["rowCount"] == 3
    (model,) = complete["outputs"]
    assert (model["namespace"], model["name"]) == ("https://mlflow.test:5000/", "shop")
    assert model["facets"]["version"]["datasetVersion"] == "7"
    tags = {tag["key"]: tag["value"] for tag in complete["run"]["facets"]["tags"]["tags"]}
    assert tags["mlflow_run"] == "f" * 32
    assert tags["metric.roc_auc"] == "0.75"
    assert "errorMessage" not in complete["run"]["facets"]


@pytest.mark.parametrize(
    ("error", "state", "traced"),
    [
        (DataError("Expected rows, got none: add some."), "FAIL", False),
        (ZeroDivisionError("division by zero"), "FAIL", True),
        (KeyboardInterrupt(), "ABORT", True),
    ],
)
def test_a_run_that_does_not(call, tmp_path, error, state, traced):
    file = tmp_path / "events.jsonl"
    with pytest.raises(type(error)):
        run(call(str(file)), tmp_path, error)
    start, end = lines(file)
    check_form(end)
    assert (start["eventType"], end["eventType"]) == ("START", state)
    assert end["outputs"] == []
    said = end["run"]["facets"]["errorMessage"]
    assert said["message"] == (str(error) or "KeyboardInterrupt")
    assert ("stackTrace" in said) == traced


@pytest.mark.parametrize("kind", [DataError, ValueError])
def test_what_went_wrong_is_told_without_passwords(call, tmp_path, kind):
    file = tmp_path / "events.jsonl"
    with pytest.raises(kind):
        run(call(str(file)), tmp_path, kind("no answer of postgresql://abi:hush@db/x?api_key=hush"))
    assert "postgresql://abi:***@db/x?api_key=***" in file.read_text()
    assert "hush@" not in file.read_text()
    assert "api_key=hush" not in file.read_text()


def test_posted_in_order_with_a_key_and_once_more_where_the_server_stumbles(call, tmp_path, receive, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "k3y")
    server = receive(statuses=(503,))
    run(call(server.url), tmp_path)
    assert [(path, key, e["eventType"]) for path, key, e in server.got] == [
        ("/api/v1/lineage", "Bearer k3y", "START"),
        ("/api/v1/lineage", "Bearer k3y", "COMPLETE"),
    ]
    for _, _, event in server.got:
        check_form(event)
    other = receive()
    run(call(f"{other.url}/own/place"), tmp_path)
    assert [path for path, _, _ in other.got] == ["/own/place"] * 2


def test_a_sink_that_is_down_costs_a_line(call, tmp_path, capsys, free_port, receive):
    full = tmp_path / "file"
    full.touch()
    refused = receive(statuses=(400, 400))
    sinks = [f"http://ada:secret@127.0.0.1:{free_port()}", str(full / "events.jsonl"), refused.url]
    for sink in sinks:
        began = time.monotonic()
        run(call(sink), tmp_path)
        assert time.monotonic() - began < 3
        err = capsys.readouterr().err
        assert err.startswith("lineage   not told: expected ")
        assert err.count("\n") == 1
        assert "secret" not in err
    silent = receive(delay_s=9)
    began = time.monotonic()
    run(call(silent.url), tmp_path)
    assert time.monotonic() - began < 6
    assert "no answer within 4 s" in capsys.readouterr().err


def test_nothing_is_told_where_nothing_is_set(call, tmp_path, capsys):
    before = set(threading.enumerate())  # of which one may end meanwhile
    with lineage(call(None), str(tmp_path / "shop.csv"), None):
        assert set(threading.enumerate()) <= before
    assert capsys.readouterr().err == ""


def test_addresses_lose_their_secrets():
    assert without_secrets("postgresql+psycopg://u:p@db:5432/abi?sslkey=k") == "postgresql+psycopg://db:5432/abi"
    assert without_secrets("sqlite:////a/b.db") == "sqlite:////a/b.db"


def test_many_runs_share_a_file_line_by_line(call, tmp_path):
    file = tmp_path / "events.jsonl"
    shared = call(str(file))
    folders = [tmp_path / str(number) for number in range(8)]
    for folder in folders:
        folder.mkdir()
    many = [threading.Thread(target=run, args=(shared, folder)) for folder in folders]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    assert len({uuid.UUID(e["run"]["runId"]) for e in lines(file)}) == 8
    assert len(lines(file)) == 16
