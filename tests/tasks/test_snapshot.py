from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tasks.snapshot as module
from abi.errors import DataError, WorkspaceError
from abi.problem import DataFile, Snapshot
from tasks.snapshot import fetch_snapshot, take_snapshot, written_names
from tasks.workspace import Workspace

TRAIN = b"age,city,y\n" + b"".join(b"%d,%s,%d\n" % (20 + i, [b"Oslo", b"Rome"][i % 2], i % 2) for i in range(40))
TEST = TRAIN.replace(b"Oslo", b"Bonn")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.csv").write_bytes(TRAIN)
    (folder / "test.csv").write_bytes(TEST)
    return folder


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The DVC commands that were run, for real."""
    ran: list[str] = []
    real = subprocess.run

    def spy(command: list[str], **rest: Any) -> Any:
        ran.extend(words[0] for words in json.loads(command[-1]))
        return real(command, **rest)

    monkeypatch.setattr(module.subprocess, "run", spy)
    return ran


def cached(ws: Workspace, file: DataFile) -> Path:
    return ws.snapshots / ".dvc" / "cache" / "files" / "md5" / file.md5[:2] / file.md5[2:]


def remote_object(folder: Path, file: DataFile) -> Path:
    return folder / "files" / "md5" / file.md5[:2] / file.md5[2:]


@pytest.mark.parametrize(("login", "mode"), [("ann:only@", 0o600), ("", 0o644)])
def test_files_with_the_password_of_a_remote_are_their_owner_s_alone(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, login: str, mode: int
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(module.subprocess, "run", run)
    monkeypatch.setattr(module, "_tracked_md5", lambda ws, name: hashlib.md5(TRAIN).hexdigest())
    monkeypatch.setattr(module, "_stored", lambda ws, file: False)
    ws = Workspace.open(tmp_path / "ws")
    take_snapshot(ws, data / "train.csv", remote=f"http://{login}127.0.0.1:9/store")
    (receipt,) = ws.snapshots.glob("*.pushed")
    assert [path.stat().st_mode & 0o777 for path in (receipt, ws.snapshots / ".dvc" / "config")] == [mode, mode]


def test_a_remote_that_fails_is_told_without_its_password(tmp_path: Path, data: Path) -> None:
    remote = "http://ann:only/mine@127.0.0.1:9/store"
    with pytest.raises(
        WorkspaceError, match=r"to store the data in http://ann:\*\*\*@127\.0\.0\.1:9/store, got"
    ) as caught:
        take_snapshot(Workspace.open(tmp_path / "ws"), data / "train.csv", None, remote)
    assert "mine" not in str(caught.value)


def test_twice_is_one_snapshot_and_the_second_asks_dvc_nothing(tmp_path: Path, data: Path, commands: list[str]) -> None:
    ws = Workspace.open(tmp_path / "ws")
    first = take_snapshot(ws, data / "train.csv", data / "test.csv")
    assert commands == ["add", "push"]
    assert first.train == DataFile(
        role="train",
        format="csv",
        md5=hashlib.md5(TRAIN).hexdigest(),
        sha256=hashlib.sha256(TRAIN).hexdigest(),
        size_bytes=len(TRAIN),
        rows=40,
    )
    assert first.test is not None
    assert first.test.role == "test"
    assert remote_object(ws.dvc_remote, first.test).read_bytes() == TEST
    assert cached(ws, first.train).read_bytes() == TRAIN
    shutil.move(data / "train.csv", data / "renamed.csv")
    assert take_snapshot(ws, data / "renamed.csv", data / "test.csv") == first
    assert commands == ["add", "push"]
    # one more file is one more object; the other is not touched
    (data / "more.csv").write_bytes(TRAIN + b"99,Oslo,1\n")
    third = take_snapshot(ws, data / "more.csv", data / "test.csv")
    assert third.id != first.id
    assert third.test == first.test
    # the same content as training and test file is one object
    both = take_snapshot(ws, data / "more.csv", data / "more.csv")
    assert both.test is not None
    assert both.train.sha256 == both.test.sha256


def test_inside_git_and_a_dvc_repository_of_the_user(tmp_path: Path, data: Path) -> None:
    env = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    repo = tmp_path / "repo"
    shutil.move(data, repo)

    def call(*command: str) -> str:
        done = subprocess.run(command, cwd=repo, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    dvc = (sys.executable, "-m", "dvc")
    call("git", "init", "-q", ".")
    call(*dvc, "init", "-q")
    call(*dvc, "add", "-q", "train.csv")
    before = {
        path: path.read_bytes() for path in (repo / ".dvc").rglob("*") if path.is_file() and "tmp" not in path.parts
    }
    status = call("git", "status", "--porcelain", "--untracked-files=all")
    tracked = call(*dvc, "status", "--json")

    ws = Workspace.open(repo / ".abi")
    snapshot = take_snapshot(ws, repo / "train.csv")

    assert cached(ws, snapshot.train).read_bytes() == TRAIN
    assert call("git", "status", "--porcelain", "--untracked-files=all") == status
    assert call(*dvc, "status", "--json") == tracked
    after = {
        path: path.read_bytes() for path in (repo / ".dvc").rglob("*") if path.is_file() and "tmp" not in path.parts
    }
    assert after == before


def test_a_changed_cache_object_is_reported_and_can_be_mended(tmp_path: Path, data: Path) -> None:
    ws = Workspace.open(tmp_path / "ws")
    snapshot = take_snapshot(ws, data / "train.csv")
    object_ = cached(ws, snapshot.train)
    object_.chmod(0o644)
    object_.write_bytes(TRAIN.replace(b"Oslo", b"Roma"))
    object_.chmod(0o444)
    with pytest.raises(WorkspaceError, match=f"{object_.name}.*was changed; delete it"):
        take_snapshot(ws, data / "train.csv")
    object_.unlink()
    assert take_snapshot(ws, data / "train.csv") == snapshot
    assert object_.read_bytes() == TRAIN


def test_a_crash_of_dvc_before_does_not_block(tmp_path: Path, data: Path) -> None:
    ws = Workspace.open(tmp_path / "ws")
    (ws.snapshots / ".dvc" / "tmp").mkdir(parents=True)
    (ws.snapshots / ".dvc" / "tmp" / "rwlock").touch()
    snapshot = take_snapshot(ws, data / "train.csv")
    assert cached(ws, snapshot.train).is_file()


def test_another_machine_pulls_from_the_remote_alone(tmp_path: Path, data: Path) -> None:
    remote = tmp_path / "a remote, with #signs and ø"
    here = Workspace.open(tmp_path / "here")
    snapshot = take_snapshot(here, data / "train.csv", data / "test.csv", remote=str(remote))
    assert remote_object(remote, snapshot.train).read_bytes() == TRAIN
    assert not here.dvc_remote.exists()

    there = Workspace.open(tmp_path / "there")
    train, test = fetch_snapshot(there, snapshot, remote=str(remote))
    assert (train.rows, test.rows if test else None) == (40, 40)
    assert train.path.parent == there.tables
    shutil.rmtree(remote)  # from here on nothing is asked of it
    assert fetch_snapshot(there, snapshot, remote=str(remote))[0].profile == train.profile
    for table in there.tables.iterdir():
        table.unlink()
    assert fetch_snapshot(there, snapshot, remote=str(remote))[0].profile == train.profile

    nowhere = Workspace.open(tmp_path / "nowhere")
    with pytest.raises(WorkspaceError, match=r"nowhere or the remote .*, got none there: name the workspace"):
        fetch_snapshot(nowhere, snapshot, remote=str(remote))


def test_a_changed_remote_object_is_not_delivered(tmp_path: Path, data: Path) -> None:
    here = Workspace.open(tmp_path / "here")
    snapshot = take_snapshot(here, data / "train.csv")
    object_ = remote_object(here.dvc_remote, snapshot.train)
    object_.chmod(0o644)
    object_.write_bytes(TRAIN.replace(b"Oslo", b"Roma"))
    object_.chmod(0o444)
    there = Workspace.open(tmp_path / "there")
    with pytest.raises(WorkspaceError):
        fetch_snapshot(there, snapshot, remote=str(here.dvc_remote))
    assert list(there.tables.iterdir()) == []


def test_a_remote_that_refuses_is_one_sentence_and_heals(tmp_path: Path, data: Path) -> None:
    ws = Workspace.open(tmp_path / "ws")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match=r"Expected `dvc push`.*tracking\.remote"):
        take_snapshot(ws, data / "train.csv", remote=str(tmp_path / "file"))
    snapshot = take_snapshot(ws, data / "train.csv", remote=str(tmp_path / "free"))
    assert remote_object(tmp_path / "free", snapshot.train).is_file()


def test_a_file_that_changes_while_it_is_read_leaves_nothing(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = Workspace.open(tmp_path / "ws")
    real = module.convert

    def late(source: Path, folder: Path, sha256: str, texts: Collection[str]) -> Any:
        table = real(source, folder, sha256, texts)
        (data / "train.csv").write_bytes(TEST)
        return table

    monkeypatch.setattr(module, "convert", late)
    with pytest.raises(DataError, match="on the second reading"):
        take_snapshot(ws, data / "train.csv")
    assert list(ws.tables.iterdir()) == []
    assert not [path for path in ws.snapshots.iterdir() if path.suffix in {".csv", ".tmp"}]


def test_a_full_disk_while_copying_is_one_sentence(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws = Workspace.open(tmp_path / "ws")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "copyfileobj", full)
        with pytest.raises(WorkspaceError, match="no space left"):
            take_snapshot(ws, data / "train.csv")
    assert isinstance(take_snapshot(ws, data / "train.csv"), Snapshot)


def test_a_test_file_of_numbers_alone_keeps_the_training_file_s_spelling(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("version,size,y\n" + "1.10,1,0\n1.1,2,1\nbeta,3,0\n" * 10)
    test.write_text("version,size,y\n" + "1.10,1,0\n1.1,2,1\n" * 5)
    ws = Workspace.open(tmp_path / "ws")
    snapshot = take_snapshot(ws, train, test)
    for place in (ws, Workspace.open(tmp_path / "elsewhere")):
        _, found = fetch_snapshot(place, snapshot, str(ws.dvc_remote))
        assert found is not None
        assert set(found.sample(["version"])["version"].to_pylist()) == {"1.10", "1.1"}
        assert found.column("size").type == "integer"
    lone = take_snapshot(ws, test)
    assert fetch_snapshot(ws, lone)[0].column("version").type == "float"
    assert fetch_snapshot(ws, lone, texts=("version",))[0].column("version").type == "string"


def test_the_names_of_a_header_are_known_as_they_are_written(ws: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('y, age ,"city "\n' + "a,1,b\n" * 3)
    (file,) = take_snapshot(ws, path, None, None).files
    assert written_names(ws, file) == {"age": " age ", "city": "city "}
    assert written_names(ws, replace(file, format="parquet")) == {}
    assert written_names(ws, replace(file, md5="0" * 32)) == {}
