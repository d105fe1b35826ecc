from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import abi
import tasks.mlflow_runs as module
from abi.audit.model_files import list_files
from abi.config import TrackingConfig
from abi.errors import ArtifactRefused, TrackingError, UsageError, WorkspaceError
from abi.problem import DataFile, Snapshot
from tasks import model_registry
from tasks.mlflow_runs import OPERATION
from tasks.records import Dataset, Record, Recorded, Round, flatten, mlflow_key
from tasks.tracking import REASON, Tracking
from tasks.workspace import Workspace

STAND_IN = """
import json
from pathlib import Path
import pandas as pd

class Model:
    def __init__(self, plain): self.plain = plain
    def predict(self, frame):
        return pd.DataFrame({"prediction": frame["age"].fillna(0) * self.plain["factor"], "probability_yes": 0.5})

def load_predictor(folder): return Model(json.loads((Path(folder) / "model.json").read_text()))
"""
FRESH = """
import sys, mlflow, pandas as pd, abi
mlflow.set_tracking_uri(sys.argv[1])
del sys.modules["abi"]
model = mlflow.pyfunc.load_model(sys.argv[2])
frame = pd.DataFrame({"age": [3, 5], "city": ["Oslo", None]})
print(model.predict(frame)["prediction"].tolist(), model.predict(frame[["age", "city"]].astype({"age": float}).assign(city=None))["prediction"].tolist())
import abi.families.stored
print(abi.families.stored.__file__)
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One workspace for all: its database takes seconds to make."""
    return Workspace.open(tmp_path_factory.mktemp("tracking") / "ws")


@pytest.fixture
def tracking(shared: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    """Stores a small package in the place of abi, whose model multiplies."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    package = tmp_path / "code" / "abi"
    (package / "families").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "families" / "__init__.py").touch()
    (package / "families" / "stored.py").write_text(STAND_IN)
    monkeypatch.setattr(module, "abi", SimpleNamespace(__file__=str(package / "__init__.py")))
    return Tracking.open(shared, TrackingConfig())


def make(tmp_path: Path, operation_id: str, **changes: Any) -> Record:
    model = tmp_path / "model"
    model.mkdir(exist_ok=True)
    (model / "model.json").write_text(json.dumps({"factor": 2}))
    docs = tmp_path / "docs"
    (docs / "deep").mkdir(parents=True, exist_ok=True)
    (docs / "deep" / "page.html").write_text("<p>")
    file = DataFile(role="train", format="csv", md5="0" * 32, sha256="ab" * 32, size_bytes=9, rows=3)
    plain: dict[str, Any] = {
        "operation_id": operation_id,
        "name": f"model of {operation_id}",
        "run_name": "run",
        "dataset": Dataset(
            snapshot=Snapshot(files=(file, DataFile(**{**file.to_json(), "role": "test"}))), name="people", target="y"
        ),
        "model_dir": model,
        "example": pd.DataFrame({"age": [1, 2], "city": ["Oslo", None]}),
        "output": pd.DataFrame({"prediction": ["yes", "no"], "probability_yes": [0.9, 0.1]}),
        "requirements": ["pandas"],
        "params": {"seed": 1, "plan": {"widths": list(range(999)), "name": "ø"}},
        "metrics": {"test/roc_auc": 0.9, "attention of 100% (a,b)": 0.5},
        "tags": {"abi.plan": "p1"},
        "rounds": [
            Round(
                name="round 0", metrics={"loss": 0.5}, steps=[("loss", step, 1 / (step + 1)) for step in range(1500)]
            ),
            Round(name="round 1", params={"temperature": 0.4}),
        ],
        "documents": {"values/plan.json": {"width": 3}},
        "files": {"report.html": docs / "deep" / "page.html", "data docs": docs},
        "description": "for a test",
    }
    return Record(**{**plain, **changes})


def versions(tracking: Tracking, record: Record) -> list[int]:
    return sorted(int(v.version) for v in tracking.client.search_model_versions(f"name = '{record.name}'"))


def runs(tracking: Tracking, operation_id: str) -> list[str]:
    found = tracking.client.search_runs([tracking.experiment_id], f"tags.`abi.operation_id` = '{operation_id}'")
    return sorted(run.info.status for run in found)


def test_a_record_is_complete_and_loads_in_a_fresh_process(tracking: Tracking, tmp_path: Path) -> None:
    record = make(tmp_path, "complete")
    recorded = tracking.record(record)
    assert (recorded.name, recorded.version, recorded.uri) == (record.name, 1, f"models:/{record.name}/1")
    assert tracking.record(record) == recorded
    assert tracking.find("complete") == recorded
    assert tracking.find("other") is None
    assert versions(tracking, record) == [1]
    assert runs(tracking, "complete") == ["FINISHED"]

    run = tracking.client.get_run(recorded.run_id)
    assert run.data.params["plan.name"] == "ø"
    assert run.data.params["seed"] == "1"
    assert run.data.metrics["test/roc_auc"] == 0.9
    assert 0.5 in run.data.metrics.values()
    assert [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs] == [
        ("people", "ab" * 16),
        ("people (test)", "ab" * 16),
    ]
    children = tracking.client.search_runs(
        [tracking.experiment_id], f"tags.`mlflow.parentRunId` = '{recorded.run_id}'", order_by=["start_time ASC"]
    )
    assert [(c.info.run_name, c.info.status) for c in children] == [("round 0", "FINISHED"), ("round 1", "FINISHED")]
    history = tracking.client.get_metric_history(children[0].info.run_id, "loss")
    assert {(m.step, m.value) for m in history} >= {(1, 1 / 2), (1499, 1 / 1500)}
    folder = tracking.ws.mlartifacts / recorded.run_id / "artifacts"
    assert json.loads((folder / "values" / "plan.json").read_text()) == {"width": 3}
    assert (folder / "report.html").read_text() == "<p>"
    assert not (folder / "report.html").is_symlink()
    assert (folder / "data docs" / "deep" / "page.html").read_text() == "<p>"

    shutil.rmtree(tmp_path / "code")
    shutil.rmtree(tmp_path / "model")
    fresh = subprocess.run(
        [sys.executable, "-c", FRESH, tracking.uri, recorded.uri],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    predicted, origin = fresh.stdout.strip().splitlines()
    assert predicted == "[6, 10] [6.0, 10.0]"
    assert Path(origin).is_relative_to(tracking.ws.mlartifacts)
    stored = [path for path in tracking.ws.mlartifacts.rglob("*") if path.is_file()]
    assert not [path for path in stored if path.suffix in {".pkl", ".pickle", ".pyc", ".cloudpickle"}]


def test_the_signature_names_columns_and_the_example_is_kept(tracking: Tracking, tmp_path: Path) -> None:
    import mlflow

    recorded = tracking.record(make(tmp_path, "signature"))
    info = mlflow.models.get_model_info(recorded.uri)
    assert info.signature.inputs.input_names() == ["age", "city"]
    assert [str(column.type) for column in info.signature.outputs] == ["DataType.string", "DataType.double"]
    assert info.saved_input_example_info is not None
    assert info.run_id == recorded.run_id


def test_a_column_may_have_the_name_of_a_header_with_blanks(tracking: Tracking, tmp_path: Path) -> None:
    import mlflow

    recorded = tracking.record(make(tmp_path, "blanks", written={"age": " age "}))
    schema = mlflow.models.get_model_info(recorded.uri).signature.inputs
    assert (schema.required_input_names(), schema.optional_input_names()) == (["city"], ["age", " age "])
    for name in ("age", " age "):
        given = pd.DataFrame({name: [1, 2], "city": ["Oslo", None], "more": 0})
        (seen,) = [list(frame) for frame in [mlflow.models.utils._enforce_schema(given, schema)]]
        assert set(seen) == {name, "city"}


def test_load_uses_this_process_and_leaves_the_path_alone(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = tracking.record(make(tmp_path, "load"))
    before = list(sys.path)
    stand_in: dict[str, Any] = {}
    exec(STAND_IN, stand_in)
    fake = SimpleNamespace(load_predictor=stand_in["load_predictor"])
    monkeypatch.setitem(sys.modules, "abi.families", SimpleNamespace(stored=fake))
    monkeypatch.setitem(sys.modules, "abi.families.stored", fake)
    model = tracking.load(recorded.uri)
    assert model.predict(pd.DataFrame({"age": [7], "city": ["Rome"]}))["prediction"].tolist() == [14]
    assert sys.path == before
    with pytest.raises(TrackingError, match="none"):
        tracking.load("models:/none/1")


def stored(tracking: Tracking, recorded: Recorded) -> Path:
    """Where MLflow keeps the files of a version."""
    location = tracking.client.get_model_version_download_uri(recorded.name, str(recorded.version))
    folder = Path(str(location).removeprefix("file://"))
    assert (folder / "MLmodel").is_file()
    return folder


@pytest.mark.parametrize("name", ["MLmodel", "pyfunc_model.py", "artifacts/model/model.json", "model.sig", None])
def test_a_stored_model_that_was_changed_is_refused_before_it_is_loaded(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    import mlflow

    recorded = tracking.record(make(tmp_path, f"changed-{str(name).replace('/', '-')}"))
    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda *_: pytest.fail("it was loaded"))
    folder = stored(tracking, recorded)
    if name is None:
        (folder / "code" / "json.py").write_text("print('mine')")
    else:
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
    said = {None: "code/json.py", "model.sig": ""}.get(name, name)  # a signature may be damaged at any of its names
    with pytest.raises(ArtifactRefused, match=rf"{recorded.uri} as it was recorded.*{said}"):
        tracking.load(recorded.uri)
    with pytest.raises(ArtifactRefused):
        tracking.fetch(recorded.uri, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_signed_model_in_the_place_of_another_is_refused(tracking: Tracking, tmp_path: Path) -> None:
    old = tracking.record(make(tmp_path, "old"))
    new = tracking.record(make(tmp_path, "new"))
    assert tracking.fetch(f"models:/{old.name}/1", tmp_path / "fetched") == tmp_path / "fetched"
    place = stored(tracking, new)
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "fetched", place)
    with pytest.raises(ArtifactRefused, match="the signed model 'new', got another signed one, 'old'"):
        tracking.fetch(new.uri, tmp_path / "second")
    shutil.rmtree(tmp_path / "fetched")
    with pytest.raises(ArtifactRefused, match="the signed model 'new'"):
        tracking.fetch(old.uri, tmp_path / "fetched", operation_id="new")


def test_fetching_by_alias_and_model_id_leaves_only_what_was_signed(tracking: Tracking, tmp_path: Path) -> None:
    recorded = tracking.record(make(tmp_path, "alias"))
    tracking.client.set_registered_model_alias(recorded.name, "champion", "1")
    assert tracking.version(recorded.name) == tracking.version(recorded.name, version=1) == recorded
    model_id = tracking.client.get_run(recorded.run_id).outputs.model_outputs[0].model_id
    for uri in (f"models:/{recorded.name}@champion", f"models:/{model_id}"):
        folder = tracking.fetch(uri, tmp_path / "fetched")
        assert set(list_files(folder)) == set(list_files(stored(tracking, recorded)))
        shutil.rmtree(folder)
    for wanted in ({"version": 7}, {"alias": "challenger"}):
        with pytest.raises(UsageError, match="found none: `abi leaderboard`"):
            tracking.version(recorded.name, **wanted)
    assert recorded.name in tracking.models()


@pytest.mark.parametrize("step", ["log_inputs", "log_artifacts", "log_model_artifacts", "create_model_version"])
def test_a_failure_in_between_registers_nothing_and_the_next_try_does(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from mlflow.exceptions import MlflowException

    record = make(tmp_path, f"failure-{step}", rounds=[Round(name="round 0")])

    def fail(*_: object, **__: object) -> None:
        raise MlflowException("the server said no\nand more")

    with monkeypatch.context() as patch:
        patch.setattr(tracking.client, step, fail)
        with pytest.raises(TrackingError, match="got: the server said no"):
            tracking.record(record)
    assert tracking.find(record.operation_id) is None
    assert versions(tracking, record) == []
    assert runs(tracking, record.operation_id) == ["FAILED"]
    logged = tracking.client.search_logged_models([tracking.experiment_id])
    begun = [str(one.status) for one in logged if one.tags.get(OPERATION) == record.operation_id]
    assert begun == {"log_model_artifacts": ["FAILED"], "create_model_version": ["READY"]}.get(step, [])
    assert tracking.record(record).version == 1
    assert runs(tracking, record.operation_id) == ["FAILED", "FINISHED"]


def test_a_kill_before_registering_is_replaced(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make(tmp_path, "killed", rounds=[Round(name="round 0")])
    with monkeypatch.context() as patch:
        patch.setattr(module.RunStore, "model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(Tracking, "fail", lambda *_: None)  # as after SIGKILL: nothing is tidied up
        with pytest.raises(KeyboardInterrupt):
            tracking.record(record)
    assert runs(tracking, "killed") == ["RUNNING"]
    assert tracking.record(record).version == 1
    assert runs(tracking, "killed") == ["FAILED", "FINISHED"]
    assert versions(tracking, record) == [1]


def test_a_kill_after_registering_is_completed(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = make(tmp_path, "late", rounds=[])
    with monkeypatch.context() as patch:
        patch.setattr(tracking.client, "set_terminated", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            tracking.record(record)
    (run,) = tracking.client.search_runs([tracking.experiment_id], f"tags.`{OPERATION}` = 'late'")
    assert run.info.status == "RUNNING"
    tracking.fail("late", "interrupted")  # as an interruption does
    assert tracking.record(record).version == 1
    assert runs(tracking, "late") == ["FINISHED"]
    assert REASON not in tracking.client.get_run(run.info.run_id).data.tags
    assert versions(tracking, record) == [1]


def test_a_lost_reply_and_a_second_recorder_make_no_second_version(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    record = make(tmp_path, "lost", rounds=[])
    real = tracking.client.create_model_version

    def lose(*args: Any, **rest: Any) -> None:
        real(*args, **rest)
        raise MlflowException("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(tracking.client, "create_model_version", lose)
        assert tracking.record(record).version == 1

    def twice(*args: Any, **rest: Any) -> None:
        real(*args, **rest)
        real(*args, **rest)

    other = make(tmp_path, "second", rounds=[])
    with monkeypatch.context() as patch:
        patch.setattr(tracking.client, "create_model_version", twice)
        assert tracking.record(other).version == 1
    assert versions(tracking, record) == [1]
    assert versions(tracking, other) == [1]


def test_more_models_and_versions_than_mlflow_gives_at_once_are_all_seen(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = tracking.record(make(tmp_path, "first", name="a first model", rounds=[]))
    for number in range(101):  # MLflow gives 100 at once
        tracking.client.create_registered_model(f"one of many {number:03}")
    assert {f"one of many {number:03}" for number in range(101)} | {recorded.name} <= set(tracking.models())
    real = tracking.client.search_model_versions
    for _ in range(2):
        tracking.client.create_model_version(recorded.name, source=str(tmp_path))
    monkeypatch.setattr(tracking.client, "search_model_versions", lambda *q, **rest: real(*q, max_results=1, **rest))
    assert tracking.recorded(recorded.run_id[:8]) == [recorded]
    assert [version.number for version in model_registry.versions(tracking, recorded.name)] == [1, 2, 3]


def test_two_first_uses_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ws = Workspace.open(tmp_path / "ws")
    code = (
        "import sys; from pathlib import Path; from abi.config import TrackingConfig;"
        "from tasks.tracking import Tracking; from tasks.workspace import Workspace;"
        "print(Tracking.open(Workspace.open(Path(sys.argv[1])), TrackingConfig()).experiment_id)"
    )

    def first(_: int) -> str:
        command = [sys.executable, "-c", code, str(ws.root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(first, range(2)))
    assert answers[0] == answers[1]


def test_an_unreachable_server_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(TrackingError, match=r"Expected MLflow at http://127\.0\.0\.1:9 to answer"):
        Tracking.open(Workspace.open(tmp_path / "ws"), TrackingConfig())


@pytest.mark.parametrize(
    "uri", ["http://ann:only/mine@127.0.0.1:9", "http://127.0.0.1:9/x?user=ann&password=only-mine"]
)
def test_the_password_in_mlflows_uri_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises((TrackingError, UsageError), match=r"Expected MLflow at .*\*\*\*") as caught:
        Tracking.open(Workspace.open(tmp_path / "ws"), TrackingConfig(uri=uri))
    assert "mine" not in str(caught.value)


def test_a_model_that_is_missing_is_told_without_the_password(tracking: Tracking) -> None:
    secret = replace(tracking, uri="http://ann:only/mine@mlflow")
    for ask in (lambda: secret.version("none"), lambda: secret.aliases("none")):
        with pytest.raises((TrackingError, UsageError), match=r"at http://ann:\*\*\*@mlflow, "):
            ask()


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ws = Workspace.open(tmp_path / "ws")
    ws.mlflow_db.write_bytes(b"no database at all" * 99)
    with pytest.raises(TrackingError, match=r"mlflow\.db"):
        Tracking.open(ws, TrackingConfig())


def test_flatten_and_names() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": [1, 2]}, "e": "x", "f": None, "g": {}}) == {
        "a.b.c": "1",
        "a.d": "[1, 2]",
        "e": "x",
        "f": "null",
        "g": "{}",
    }
    assert len(flatten({"a": "x" * 9999})["a"]) == 500
    assert mlflow_key("test/roc auc-1.ø") == "test/roc auc-1.ø"
    assert mlflow_key("a%b") != mlflow_key("a&b")
    assert len(mlflow_key("x" * 999)) == 250
    assert mlflow_key("x" * 999) != mlflow_key("x" * 998)


def test_the_real_package_is_what_is_stored_by_default() -> None:
    assert module.abi is abi


def test_a_full_disk_is_one_sentence_and_the_next_try_completes(
    tracking: Tracking, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from sqlalchemy import event

    record = make(tmp_path, "full", rounds=[])
    engine = tracking.client._tracking_client.store.engine

    def no_room(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")

    def fill() -> None:
        for number in range(99):  # pages that are there take some rows first
            tracking.record(make(tmp_path, f"full-{number}", rounds=[]))

    event.listen(engine, "checkout", no_room)
    try:
        with pytest.raises(WorkspaceError, match=r"Expected room to write .*mlflow\.db, got no space left"):
            fill()
    finally:
        event.remove(engine, "checkout", no_room)
        engine.dispose()
    assert capfd.readouterr().err == ""
    assert tracking.record(record).version == 1


def test_a_document_that_does_not_come_whole_is_asked_for_again_and_a_missing_one_is_not(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    recorded = tracking.record(make(tmp_path, "documents", rounds=[]))
    assert tracking.document(recorded.run_id, "values/plan.json") == {"width": 3}
    with pytest.raises(TrackingError) as missing:
        tracking.document(recorded.run_id, "values/none.json")
    assert not missing.value.transient

    def cut(*_: object, **__: object) -> None:
        raise ConnectionError("Connection broken: IncompleteRead(9 bytes read, 9 more expected)")

    monkeypatch.setattr(LocalArtifactRepository, "download_artifacts", cut)
    with pytest.raises(TrackingError, match=r"values/plan\.json of run .* whole") as broken:
        tracking.document(recorded.run_id, "values/plan.json")
    assert broken.value.transient
