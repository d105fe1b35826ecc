"""What a first run in a new workspace takes twenty seconds of the processor for, made once.

Prefect's tables, MLflow's tables and the machine's constants; `tests/tasks/test_tracking.py` and `tests/flows/test_in_process.py` see
MLflow's made in a workspace that has none.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from filelock import FileLock

MEASURE = """
import json, pathlib, sys, torch
from abi.planning.measure import measure
from tasks.tracking import empty_database, prepare
prepare()
pathlib.Path(sys.argv[1]).write_bytes(empty_database())
print(json.dumps(["cpu-float32-{}-" + torch.__version__, measure("cpu", "float32", 1).to_json()]))
"""


def begin(workspace: Path, shared: Path) -> None:
    """Give a workspace that is not there yet what others have; `shared` is a folder of this session's tests."""
    if workspace.exists():
        return
    with FileLock(shared / "begun.lock"):
        made = shared / "begun"
        if not made.is_dir():
            _make(made)
    shutil.copytree(made, workspace)


def _make(place: Path) -> None:
    home = place.with_suffix(".home")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PREFECT_HOME": str(home)}
    upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    subprocess.run(upgrade, env=environment, check=True, capture_output=True)
    whole = place.with_suffix(".making")
    (whole / "prefect").mkdir(parents=True)
    measured = [sys.executable, "-c", MEASURE, str(whole / "mlflow.db")]
    answer = subprocess.run(measured, env=environment, check=True, capture_output=True, text=True)
    name, constants = json.loads(answer.stdout)
    with (
        closing(sqlite3.connect(home / "prefect.db")) as old,
        closing(sqlite3.connect(whole / "prefect" / "prefect.db")) as new,
    ):
        old.backup(new)
    for threads in ("1", "all"):
        (whole / f"machine-{name.format(threads)}.json").write_text(json.dumps(constants, indent=1))
    whole.rename(place)
