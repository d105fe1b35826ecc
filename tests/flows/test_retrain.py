from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

FIELDS = {
    "run_id",
    "status",
    "task",
    "primary",
    "metrics",
    "intervals",
    "control",
    "gain",
    "scores",
    "attention",
    "plan",
    "model",
    "snapshot",
    "checks",
    "report",
    "timings_s",
    "peak_memory_bytes",
}
STAGES = {
    "snapshot",
    "suite",
    "validate",
    "score",
    "fit",
    "plan",
    "train",
    "move",
    "train_control",
    "evaluate",
    "record",
}
FEATURES = {"size", "weight", "count", "colour", "new"}
LONGER = [
    "--set",
    "training.epochs=6",
    "--set",
    "iterate.plan_change=0",
    "--set",
    "training.checkpoint=1ms",
    "--set",
    "training.patience=50",
]
STOPPED = """
import os, signal
import tasks.progress as progress
original, epochs = progress.Curves.epoch, []
def epoch(self, line, attention, norms):
    original(self, line, attention, norms)
    epochs.append(line.epoch)
    if len(epochs) == {after}:
        os.kill(os.getpid(), signal.{signal})
progress.Curves.epoch = epoch
"""
PREDICT = """
import sys, mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
print(model.predict(pd.read_csv(sys.argv[3]).drop(columns="label"))["prediction"].tolist())
"""


@pytest.fixture(scope="module")
def quick(quick):
    """A network, whose checkpoints, rounds and widths are looked at; `test_families` runs the others."""
    return [*quick, "--set", "training.family=network"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, frame):
    folder = tmp_path_factory.mktemp("retrain")
    frame().to_csv(folder / "shop.csv", index=False)
    frame(seed=5, rows=60).to_csv(folder / "new.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def flags(place, quick):
    return ["run", place / "shop.csv", "--target", "label", *quick, *LONGER, "--json"]


@pytest.fixture(scope="module")
def first(place, flags, command):
    """One run with everything real: Prefect's temporary server, MLflow, DVC, Great Expectations."""
    answer = command(*flags, "--workspace", place / "ws", "--out", place / "out")
    assert answer.code == 0, answer.err
    return answer


@pytest.fixture(scope="module")
def migrated(first, place):
    """Give a new workspace Prefect's database as the first run left it: its migrations take ten seconds each time."""

    def fill(workspace: Path) -> Path:
        (workspace / "prefect").mkdir(parents=True)
        for path in (place / "ws" / "prefect").glob("prefect.db*"):
            shutil.copy(path, workspace / "prefect")
        return workspace

    return fill


def servers(workspace: Path) -> list[int]:
    """Prefect servers that this workspace started and that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if "prefect" in " ".join(process.cmdline()) and process.environ().get("PREFECT_HOME", "").startswith(
                str(workspace)
            ):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def weights(workspace: Path) -> set[str]:
    """Hashes of the models that were trained."""
    return {folder.name for folder in (workspace / "models").iterdir()}


def test_one_json_object_with_every_field(first, place, versions):
    result = first.json
    assert set(result) >= FIELDS
    assert result["status"] == "completed"
    assert result["task"] == "binary"
    assert set(result["attention"]) == set(result["scores"]) == set(result["plan"]["features"]) == FEATURES
    assert abs(sum(result["attention"].values()) - 1) < 1e-6
    assert set(result["control"]) == {"uniform", "baseline"}
    assert all(set(metrics) == set(result["metrics"]) for metrics in result["control"].values())
    assert set(result["plan"]) >= {"id", "features", "predicted", "measured"}
    assert result["model"] == {"name": "shop", "version": 1, "uri": "models:/shop/1"}
    assert set(result["snapshot"]) == {"md5", "sha256", "rows"}
    assert result["snapshot"]["rows"] == 240
    assert set(result["timings_s"]) == STAGES
    assert result["peak_memory_bytes"] > 2**20
    assert Path(result["report"]).read_text().startswith("<!")
    assert versions(place / "ws") == 1
    assert servers(place / "ws") == []


def test_mlflow_has_what_was_measured_beside_what_was_predicted(first, place):
    with closing(sqlite3.connect(place / "ws" / "mlflow.db")) as database:
        asked = database.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (first.json["run_id"],))
        found = dict(asked.fetchall())
    plan = first.json["plan"]
    assert found["measured/step_s"] == plan["resources"]["step_s"] > 0
    assert found["measured/step_p95_s"] >= found["measured/step_s"]
    assert found["measured/process_bytes"] > found["measured/memory_bytes"] > 0
    assert found["predicted/step_s"] == plan["forecast"]["step_s"] > 0
    assert found["predicted/energy_j"] > 0
    assert ("measured/energy_j" in found) == (plan["resources"]["energy_j"] is not None)
    for name in ("memory_bytes", "train_time_s", "latency_s", "step_s"):
        assert found[f"ratio/{name}"] == pytest.approx(found[f"measured/{name}"] / found[f"predicted/{name}"])
    assert 'id="where"' in Path(first.json["report"]).read_text()


def test_what_is_said_meanwhile_is_short_and_plain(first):
    assert "\x1b" not in first.err
    assert not [word for word in ("INFO", "WARN", "Traceback", "prefect", "http", "%|") if word in first.err]
    assert len(first.err.splitlines()) < 30


def test_out_has_what_dvc_shows(first, place):
    names = {str(path.relative_to(place / "out")) for path in (place / "out").rglob("*") if path.is_file()}
    assert names == {
        "metrics.json",
        "run.json",
        "report.html",
        *(f"plots/{name}.csv" for name in ("attention", "training", "calibration")),
    }
    header, *lines = (place / "out" / "plots" / "attention.csv").read_text().splitlines()
    assert header == "feature,attention,score,width,contribution"
    assert len(lines) == len(FEATURES)


def test_the_registered_version_predicts_in_a_fresh_process(first, place):
    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            PREDICT,
            f"sqlite:///{place / 'ws' / 'mlflow.db'}",
            first.json["model"]["uri"],
            place / "new.csv",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=place,
    )
    predicted = eval(answer.stdout.splitlines()[-1])
    assert len(predicted) == 60
    assert set(predicted) == {"yes", "no"}


def test_the_second_run_trains_nothing(first, place, flags, command, versions):
    trained = weights(place / "ws")
    answer = command(*flags, "--workspace", place / "ws")
    assert answer.code == 0, answer.err
    result = answer.json
    assert result["status"] == "reused"
    for name in set(result) - {"status", "timings_s", "peak_memory_bytes"}:
        assert result[name] == first.json[name]
    assert {line.split()[0] for line in answer.err.splitlines()} == {"snapshot", "record"}
    assert weights(place / "ws") == trained
    assert versions(place / "ws") == 1


def test_another_evaluation_reuses_the_training(first, place, flags, command, versions):
    answer = command(*flags, "--workspace", place / "ws", "--set", "evaluation.resamples=150")
    assert answer.code == 0, answer.err
    assert {line.split()[0] for line in answer.err.splitlines()} == {"snapshot", "evaluate", "record"}
    assert answer.json["status"] == "completed"
    assert answer.json["metrics"] == first.json["metrics"]
    assert answer.json["model"]["version"] == 2


def test_a_run_that_is_interrupted_and_then_killed_goes_on(first, place, flags, command, versions):
    workspace = place / "killed"
    interrupted = command(*flags, "--workspace", workspace, before=STOPPED.format(after=8, signal="SIGTERM"))
    assert interrupted.code == 130
    assert "same command goes on" in interrupted.sentence
    assert versions(workspace) == 0
    assert servers(workspace) == []

    killed = command(*flags, "--workspace", workspace, before=STOPPED.format(after=2, signal="SIGKILL"))
    assert killed.code == -signal.SIGKILL
    assert versions(workspace) == 0
    left = servers(workspace)
    psutil.wait_procs([process for process in psutil.process_iter() if process.pid in left], timeout=30)
    assert servers(workspace) == []
    assert list((workspace / "checkpoints").glob("*.safetensors"))
    assert "fit " not in killed.err

    resumed = command(*flags, "--workspace", workspace)
    assert resumed.code == 0, resumed.err
    said = [line.split()[0] for line in resumed.err.splitlines()]
    assert said == ["snapshot", "train", "rescore", "control", "evaluate", "record"]
    assert "round 2" in resumed.err.splitlines()[1]
    assert versions(workspace) == 1
    assert servers(workspace) == []
    assert not list((workspace / "checkpoints").iterdir())
    assert weights(workspace) == weights(place / "ws")
    for name in ("metrics", "attention", "scores", "control"):
        assert resumed.json[name] == first.json[name]


def test_a_failed_data_check_inside_the_flow_is_one_sentence(place, frame, command, versions, migrated):
    table = frame()
    table.loc[3, "weight"] = float("inf")
    table.to_csv(place / "infinite.csv", index=False)
    answer = command(
        "run",
        place / "infinite.csv",
        "--target",
        "label",
        "--workspace",
        migrated(place / "bad"),
        "--set",
        "checks.data_docs=false",
    )
    assert answer.code == 3
    assert "'weight'" in answer.sentence
    assert versions(place / "bad") == 0
    assert not list((place / "bad" / "models").iterdir())
    assert servers(place / "bad") == []
