"""Settings of a schedule that have passwords: in a file of the workspace that only its owner can read, and not on Prefect's page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from abi.errors import WorkspaceError
from abi.sections import without_passwords
from tasks.workspace import Workspace, disk_errors


def parted(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings that may be shown, those with a password), by their dotted names."""
    secret = {name for name, value in settings.items() if without_passwords(value) != value}
    shown = {name: value for name, value in settings.items() if name not in secret}
    return shown, {name: settings[name] for name in settings if name in secret}


def keep(ws: Workspace, name: str, secret: Mapping[str, Any]) -> str | None:
    """Write them for the schedule of that name, in place of what it had; gives the file, None where there are none."""
    path = ws.root / "schedules" / f"{name}.json"
    if not secret:
        forget(str(path))
        return None
    ws.write(path, json.dumps(dict(secret), indent=1).encode(), private=True)
    return str(path)


def read(path: str | None) -> dict[str, Any]:
    """The settings in that file; none where there is no file to be read.

    Raises:
        WorkspaceError: it is gone, or damaged.
    """
    if path is None:
        return {}
    try:
        plain = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        plain = None
    if not isinstance(plain, dict):
        msg = f"Expected the schedule's settings with passwords in {path}, found none: make the schedule again with the same `abi schedule` command, on the machine that runs it."
        raise WorkspaceError(msg)
    return plain


def forget(path: str | None) -> None:
    """The schedule is no more."""
    if path is not None:
        with disk_errors(path):
            Path(path).unlink(missing_ok=True)
