"""Commands of scheduled retraining: schedule, monitor."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flows.common import Common

if TYPE_CHECKING:
    from cyclopts import App


def register(app: App) -> None:
    """Put the commands on `app`."""
    app.command(monitor)


def monitor(data: str, *, model: str | None = None, out: Path | None = None, common: Common = Common()) -> None:
    """Hold new rows against what the champion was trained on; exit 4 while the drift alarm is on.

    Args:
        data: CSV (also gzip) or Parquet file; the target may be lacking, other columns are ignored.
        model: Registered model (default: the only one there is).
        out: Folder for one table per feature and drift.json (default: a new one in the workspace).
        common: Flags that every command takes.
    """
    from abi.errors import DriftExceeded
    from flows.session import open_call, print_value
    from tasks.monitoring import monitor as look

    _, call = open_call(common, model, data, [])
    drift = look(call, data, model, out)
    print_value(drift, common)
    if drift.alarm:
        sys.stdout.flush()
        msg = f"Expected rows like those that {drift.model} {drift.version} was trained on, got drift: {'; '.join(drift.reasons)}: retrain with `abi run`, or raise the limits in monitor."
        raise DriftExceeded(msg)
