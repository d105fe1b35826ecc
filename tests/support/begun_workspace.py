"""What a first run in a new workspace takes twenty seconds of the processor for, made once: Prefect's tables, the machine's constants."""

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
import json, torch
from abi.planning.measure import measure
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
    answer = subprocess.run(
        [sys.executable, "-c", MEASURE], env=environment, check=True, capture_output=True, text=True
    )
    name, constants = json.loads(answer.stdout)
    whole = place.with_suffix(".making")
    (whole / "prefect").mkdir(parents=True)
    with (
        closing(sqlite3.connect(home / "prefect.db")) as old,
        closing(sqlite3.connect(whole / "prefect" / "prefect.db")) as new,
    ):
        old.backup(new)
    for threads in ("1", "all"):
        (whole / f"machine-{name.format(threads)}.json").write_text(json.dumps(constants, indent=1))
    whole.rename(place)
