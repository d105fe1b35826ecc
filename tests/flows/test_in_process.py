"""The whole flow as plain functions: every task kind, and every stage interrupted or out of room."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest

import flows.retrain as module
from abi.errors import WorkspaceError
from flows.retrain import Request, retrain
from tasks.orchestration import in_process
from tasks.stage import Call, Clock, Stage
from tasks.workspace import Workspace

APART = {"ADOPT", "INHERIT", "TUNE"}  # run with --from, or with an encoder that is tuned, alone
STAGES = [stage for name, stage in vars(module).items() if isinstance(stage, Stage) and name not in APART]


@pytest.fixture
def call(tmp_path, settings):
    return Call.of(Workspace.open(tmp_path / "ws"), "shop", settings)


@pytest.mark.parametrize(
    ("task", "suffix"), [("binary", ".csv.gz"), ("multiclass", ".parquet"), ("regression", ".csv")]
)
def test_every_kind_of_task_and_file(abi, frame, quick, versions, tmp_path, without_prefect, task, suffix):
    for name, table in (("shop", frame(task)), ("later", frame(task, rows=90, seed=3))):
        path = tmp_path / f"{name}{suffix}"
        table.to_parquet(path) if suffix == ".parquet" else table.to_csv(path, index=False)
    answer = abi(
        "run",
        tmp_path / f"shop{suffix}",
        "--test",
        tmp_path / f"later{suffix}",
        "--target",
        "label",
        "--workspace",
        tmp_path / "ws",
        *quick,
        "--json",
    )
    assert answer.code == 0, answer.err
    assert answer.json["task"] == task
    assert answer.json["primary"] in answer.json["metrics"]
    assert versions(tmp_path / "ws") == 1
    (tmp_path / "run.json").write_text(answer.out)
    for source in (tmp_path / "run.json", answer.json["run_id"]):
        page = tmp_path / "page.html"
        assert abi("report", source, "--workspace", tmp_path / "ws", "--out", page).out == f"{page}\n"
        assert page.read_text() == Path(answer.json["report"]).read_text()
        page.unlink()


@pytest.mark.slow
def test_interrupted_in_every_stage(settings, data, versions, tmp_path):
    whole_settings = settings.model_copy(update={"training": settings.training.model_copy(update={"refit": True})})
    call = Call.of(Workspace.open(tmp_path / "ws"), "shop", whole_settings)
    request = Request(call, "label", str(data))
    assert len(STAGES) == 13
    for stopped in STAGES:
        for half in ("before", "after"):
            whole = in_process(call, Clock(), reuse=True)

            def run(stage, *inputs, whole=whole, stopped=stopped, half=half):
                if stage is stopped and half == "before":
                    raise KeyboardInterrupt
                result = whole(stage, *inputs)
                if stage is stopped:
                    raise KeyboardInterrupt
                return result

            if stopped.name == "record" and half == "after":
                continue
            with pytest.raises(KeyboardInterrupt):
                retrain(run, request)
            assert versions(call.ws.root) == 0, (stopped.name, half)
    folder = Path(retrain(in_process(call, Clock(), reuse=True), request))
    assert versions(call.ws.root) == 1
    assert json.loads((folder / "run.json").read_bytes())["model"]["version"] == 1
    kept = [json.loads(path.read_bytes()) for path in (call.ws.root / "residuals").rglob("*.json")]
    assert len(kept) >= 2  # the rounds' and the control's
    assert all(set(one) == {"memory_bytes", "train_time_s", "latency_s"} for one in kept)


KINDS = ["tables", "snapshots", "values", "suites", "machine-", "models", "mlflow.db", "runs"]


@pytest.mark.slow
def test_no_room_at_every_kind_of_write(call, data, versions, monkeypatch):
    """The disk is full when this kind of file is written: a sentence, nothing registered, and the next run goes on."""
    request = Request(call, "label", str(data))
    original = Workspace.write
    hit = []
    for kind in KINDS:

        def write(self, path, content, kind=kind, **more):
            if str(path.relative_to(self.root)).startswith(kind):
                hit.append(kind)
                original(self, path.with_name(".half"), content[: len(content) // 2])
                path.with_name(".half").unlink()
                raise WorkspaceError(f"Expected room to write {path}, got no space left") from OSError(errno.ENOSPC, "")
            original(self, path, content, **more)

        with monkeypatch.context() as patch:
            patch.setattr(Workspace, "write", write)
            if kind == "tables":  # these are streamed
                patch.setattr("tasks.snapshot.convert", full)
                hit.append(kind)
            with pytest.raises(WorkspaceError, match="no space left"):
                retrain(in_process(call, Clock(), reuse=True), request)
        assert versions(call.ws.root) == 0, kind
    assert set(hit) == set(KINDS)
    folder = Path(retrain(in_process(call, Clock(), reuse=True), request))
    assert versions(call.ws.root) == 1
    assert json.loads((folder / "run.json").read_bytes())["model"]["version"] == 1


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_no_room_for_mlflows_files(call, data, versions, monkeypatch):
    request = Request(call, "label", str(data))
    original = shutil.copyfile

    def copyfile(source, target, **more):
        if "mlartifacts" in str(target):
            full()
        return original(source, target, **more)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", copyfile)
        with pytest.raises(WorkspaceError, match="no space left"):
            retrain(in_process(call, Clock()), request)
    assert versions(call.ws.root) == 0
    retrain(in_process(call, Clock()), request)
    assert versions(call.ws.root) == 1
