from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.orchestration import _of_prefect

RUN = """
import sys
from pathlib import Path
from abi.config import Config
from tasks.orchestration import in_prefect
from tasks.stage import Call, Clock
from tasks.workspace import Workspace
ws = Workspace.open(Path(sys.argv[1]))
with in_prefect(ws) as run_flow:
    print(run_flow(Call.of(ws, "model", Config()), Clock(), lambda run: "done", "retrain"))
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [("PREFECT_API_URL", "http://127.0.0.1:9/api"), ("PREFECT_SERVER_EPHEMERAL_ENABLED", "false")],
)
def test_a_run_goes_on_where_no_prefect_server_answers(tmp_path: Path, name: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "ws")],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("prefect   does not answer (")


@pytest.mark.parametrize("error", [RuntimeError("the stage went wrong"), ValueError("Failed to reach API"), KeyError()])
def test_a_stage_that_fails_is_no_outage(error: Exception) -> None:
    assert not _of_prefect(error)
