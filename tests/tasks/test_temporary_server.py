from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from begun_workspace import begin

from tasks import temporary_server

RUN = """
import sys
from pathlib import Path
from abi.config import Config
from tasks import temporary_server
if len(sys.argv) > 2:
    temporary_server.free_port = lambda: int(sys.argv[2])
from tasks.orchestration import in_prefect
from tasks.stage import Call, Clock
from tasks.workspace import Workspace
ws = Workspace.open(Path(sys.argv[1]))
with in_prefect(ws) as run_flow:
    print(run_flow(Call.of(ws, "model", Config()), Clock(), lambda run: "done", "retrain"))
print("prefect.server.api.server" in sys.modules)
"""


def run(place: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A flow in a process of its own, in that folder; its workspace is `ws` there."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(place / "ws"), *map(str, words)],
        cwd=place,
        env={**outside, "PYTHONPATH": os.pathsep.join(["", *sys.path]), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def servers(workspace: Path) -> list[int]:
    """Servers on the workspace's database that are still there."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT_HOME") == str(workspace / "prefect"):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def servers_beside(workspace: Path, run: int) -> list[psutil.Process]:
    """Servers on the workspace's database, without the process of the run."""
    return [psutil.Process(number) for number in servers(workspace) if number != run]


def begun(place: Path) -> subprocess.Popen[str]:
    """A flow that says where it is and then does not end."""
    waiting = RUN.replace('lambda run: "done"', 'lambda run: [print("begun", flush=True), time.sleep(600)]')
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-c", f"import time{waiting}", str(place / "ws")],
        cwd=place,
        env={**outside, "PYTHONPATH": os.pathsep.join(["", *sys.path]), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.fixture
def place(tmp_path: Path, shared_folder: Path) -> Path:
    """A folder with a workspace whose database has Prefect's tables."""
    begin(tmp_path / "ws", shared_folder)
    return tmp_path


def test_a_flow_runs_on_it_without_the_server_in_its_own_process(place: Path) -> None:
    done = run(place)
    assert done.stdout == "done\nFalse\n"
    assert len(done.stderr.splitlines()) == 1, done.stderr  # there is no verdict to show
    assert servers(place / "ws") == []


def test_it_ends_with_a_run_that_is_killed_and_so_does_what_they_wrote_to(place: Path) -> None:
    process = begun(place)
    (server,) = servers_beside(place / "ws", process.pid)
    process.kill()
    process.communicate(timeout=30)  # ends where nobody can write any more
    psutil.wait_procs([server], timeout=30)
    assert servers(place / "ws") == []


def test_where_it_does_not_come_up_prefect_starts_one_of_its_own(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(place, taken.getsockname()[1])
    assert done.stdout == "done\nTrue\n"
    assert servers(place / "ws") == []


def test_an_address_in_a_file_of_prefects_is_what_counts(place: Path) -> None:
    (place / "prefect.toml").write_text('[api]\nurl = "http://127.0.0.1:9/api"\n')
    done = run(place)
    assert done.stdout == "done\nFalse\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("prefect   does not answer (")
    assert servers(place / "ws") == []


def test_a_package_of_the_user_s_that_is_called_tasks_is_not_in_its_way(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "tasks").mkdir()
    (place / "tasks" / "__init__.py").write_text("raise SystemExit('the wrong one')\n")
    monkeypatch.chdir(place)
    monkeypatch.setenv("PREFECT_HOME", str(place / "ws" / "prefect"))
    for name in [n for n in os.environ if n == "PYTHONPATH" or n.startswith("PREFECT_API")]:
        monkeypatch.delenv(name)
    server = temporary_server.TemporaryServer()
    assert server._process is not None
    assert server._is_up(server._process)
    server.end()


@pytest.mark.parametrize(
    ("name", "value"), [("PREFECT_API_URL", "http://127.0.0.1:4200/api"), ("PREFECT_SERVER_EPHEMERAL_ENABLED", "false")]
)
def test_none_is_started_where_the_environment_names_another_or_wants_none(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(temporary_server.subprocess, "Popen", lambda *given, **more: pytest.fail("one was started"))
    server = temporary_server.TemporaryServer()
    with server.answering():
        assert os.environ[name] == value
    server.end()
