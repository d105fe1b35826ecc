from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from abi.errors import WorkspaceError
from abi.problem import DataFile, Problem, Schema, Snapshot, Split
from tasks.workspace import Workspace, disk_errors

HOLD = """
import sys, time
from pathlib import Path
from tasks.workspace import Workspace
with Workspace.open(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "ws")


def problem(rows: int = 3) -> Problem:
    file = DataFile(role="train", format="csv", md5="0" * 32, sha256="1" * 64, size_bytes=9, rows=rows)
    schema = Schema(target="y", task="binary", classes=("0", "1"), features=(), set_aside=())
    return Problem(snapshot=Snapshot(files=(file,)), schema=schema, split=Split(seed=0, validation=0.1, test=0.2))


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_open_makes_the_layout_and_keeps_git_out(ws: Workspace) -> None:
    assert (ws.root / ".gitignore").read_text() == "*\n"
    assert all(f.is_dir() for f in (ws.values, ws.tables, ws.snapshots, ws.suites, ws.gx, ws.models, ws.checkpoints))
    assert Workspace.open(ws.root) == ws


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "ws"):
        with pytest.raises(WorkspaceError, match=r"got a file at .*--workspace"):
            Workspace.open(place)


def test_a_file_in_place_of_a_subfolder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tables").write_text("x")
    with pytest.raises(WorkspaceError, match=r"got a file at .*tables"):
        Workspace.open(tmp_path)


def test_put_get_has(ws: Workspace) -> None:
    value = problem()
    assert not ws.has(value.id)
    assert ws.put(value) == value.id
    assert ws.put(value) == value.id
    assert ws.has(value.id)
    assert ws.get(value.id) == value
    with pytest.raises(WorkspaceError, match="found none"):
        ws.get("0" * 64)


@pytest.mark.parametrize("damage", ["bytes", "content", "truncated", "swapped"])
def test_a_damaged_value_is_named_and_put_mends_it(ws: Workspace, damage: str) -> None:
    value = problem()
    path = ws.values / f"{ws.put(value)}.json"
    text = path.read_text()
    other = ws.values / f"{ws.put(problem(rows=4))}.json"
    path.write_text(
        {
            "bytes": "\x00",
            "content": text.replace('"rows":3', '"rows":4'),
            "truncated": text[:-9],
            "swapped": other.read_text(),
        }[damage]
    )
    with pytest.raises(WorkspaceError, match=f"{path.name}.*damaged"):
        ws.get(value.id)
    ws.put(value)
    assert ws.get(value.id) == value


def test_an_id_is_never_a_path_out_of_the_folder(ws: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="found none"):
        ws.get("../../etc/passwd")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left: free some or use another place with --workspace"),
        (errno.EDQUOT, "no space left"),
        (errno.EROFS, "read-only file system: change"),
        (errno.EACCES, "permission denied: change"),
    ],
)
def test_a_failed_write_is_one_sentence_and_leaves_the_old_content(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    path = ws.root / "page"
    ws.write(path, b"old")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(WorkspaceError, match=words):
            ws.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert leftovers(ws.root) == []
    ws.write(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> object:
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"mounting is not allowed here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_for_real(tiny_disk: Path) -> None:
    ws = Workspace.open(tiny_disk)
    ws.write(ws.root / "kept", b"kept")
    with pytest.raises(WorkspaceError, match="no space left"):
        ws.write(ws.root / "large", bytes(1_000_000))
    assert (ws.root / "kept").read_bytes() == b"kept"
    assert leftovers(ws.root) == []


def test_many_files_that_find_no_room(tiny_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(3):
        (tmp_path / "many" / str(number)).write_bytes(bytes(200_000))
    with pytest.raises(WorkspaceError, match="no space left"), disk_errors(tiny_disk):
        shutil.copytree(tmp_path / "many", tiny_disk / "many")


def test_a_read_only_disk_for_real(tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    with pytest.raises(WorkspaceError, match="read-only file system"):
        Workspace.open(tiny_disk / "ws")


def test_the_lock_names_its_holder_and_dies_with_it(ws: Workspace) -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(ws.root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "held\n"
        started = json.loads((ws.root / "lock.json").read_bytes())["started"]
        with (
            pytest.raises(WorkspaceError, match=f"process {child.pid} .since {started.replace('+', '.')}"),
            ws.lock(0.1),
        ):
            pass
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    with ws.lock(0.1):
        assert json.loads((ws.root / "lock.json").read_bytes())["pid"] == os.getpid()
    with ws.lock(0.1):
        pass


def test_the_lock_is_let_go_when_the_run_fails(ws: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), ws.lock(0.1):
        1 / 0  # noqa: B018
    with ws.lock(0.1):
        pass


def test_a_run_removes_what_a_killed_one_left_half_written(tmp_path: Path) -> None:
    ws = Workspace.open(tmp_path / "ws")
    killed = (
        "import os, signal, sys; from pathlib import Path; from tasks.workspace import Workspace;"
        "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        "ws = Workspace(Path(sys.argv[1])); ws.write(ws.runs / 'one' / 'run.json', b'{}')"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(ws.root)], check=False).returncode == -9
    (left,) = (ws.runs / "one").iterdir()
    assert left.read_bytes() == b"{}"
    with ws.lock():
        assert list((ws.runs / "one").iterdir()) == []


def test_a_pipe_is_written_into_and_stays_as_a_device_does(tmp_path: Path) -> None:
    ws, pipe = Workspace.open(tmp_path / "ws"), tmp_path / "pipe"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)  # or who writes would wait for a reader
    try:
        ws.write(pipe, b"told")
        assert os.read(held, 100) == b"told"
    finally:
        os.close(held)
    assert pipe.is_fifo()
