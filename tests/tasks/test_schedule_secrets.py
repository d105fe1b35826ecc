"""Settings with passwords stay out of what Prefect's server shows, and reach the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from abi.errors import WorkspaceError
from flows.deployed import Job
from tasks.schedule_secrets import forget, keep, parted, read
from tasks.workspace import Workspace

SETTINGS = {
    "seed": 3,
    "audit.url": "postgresql://me:hush@db/abi",
    "tracking.uri": "http://host:5000",
    "data.columns": {"a": "date"},
}
JOB = {"data": "x.csv", "target": "y", "test": None, "name": "shop", "config": None}


def test_what_has_a_password_is_kept_apart_for_its_owner_alone(ws: Workspace) -> None:
    shown, secret = parted(SETTINGS)
    assert secret == {"audit.url": SETTINGS["audit.url"]}
    assert {**shown, **secret} == SETTINGS
    path = keep(ws, "shop", secret)
    assert path is not None
    assert Path(path).stat().st_mode & 0o777 == 0o600
    job = Job(**JOB, workspace=str(ws.root), settings=shown, secrets=path)  # type: ignore[arg-type]
    assert (job.call().settings.audit.url, job.call().settings.seed) == (SETTINGS["audit.url"], 3)
    assert keep(ws, "shop", {}) is None
    assert not Path(path).exists()


def test_without_a_password_there_is_no_file(ws: Workspace) -> None:
    assert keep(ws, "shop", parted({"seed": 3})[1]) is None
    assert read(None) == {}
    forget(None)
    assert not list(ws.root.glob("schedules/*"))


@pytest.mark.parametrize("content", [None, "[]", "{"])
def test_a_file_that_is_gone_or_damaged_is_one_sentence(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "shop.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(WorkspaceError, match="make the schedule again with the same `abi schedule` command"):
        read(str(path))
