"""The flow that a Prefect deployment names (`infra/prefect.yaml`): the same order of stages as ``abi run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from abi.config import load_config
from flows.retrain import Request, retrain
from tasks.lineage import lineage
from tasks.orchestration import as_tasks
from tasks.preflight import preflight
from tasks.stage import Call, Clock
from tasks.telemetry import publishing
from tasks.workspace import Workspace


@flow(name="retrain", validate_parameters=False)  # type: ignore[untyped-decorator]  # Prefect's types are not read
def retrain_table(
    data: str,
    target: str,
    test: str | None = None,
    name: str | None = None,
    workspace: str = ".abi",
    config: str | None = None,
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Retrain on a table; results of finished stages are reused across flow runs.

    Args:
        data: CSV (also gzip) or Parquet file.
        target: column to predict.
        test: file with held-out rows.
        name: of the registered model; the data file's where None.
        workspace: folder for everything that is kept.
        config: settings file.
        settings: dotted settings that go before it.

    Returns:
        The object that ``abi run --json`` prints.
    """
    ws = Workspace.open(Path(workspace))
    loaded = load_config(Path(config) if config else None, settings)
    call = Call.of(ws, name or loaded.name or Path(data).name.split(".")[0], loaded)
    with ws.lock(timeout_s=0), publishing(ws, loaded), lineage(call, data, test) as known:
        known.posed(preflight(call, data, test, target))
        known.recorded(Path(retrain(as_tasks(call, Clock()), Request(call, target, data, test))))
    return known.result
