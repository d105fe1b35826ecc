"""The flow that a Prefect deployment names to follow a stream; a run of the same rows, settings and code is answered at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect import flow

from abi.config import load_config
from flows.adapting import Stream, follow
from flows.session import model_name
from tasks.orchestration import as_tasks, or_without_prefect
from tasks.stage import Call, Clock
from tasks.workspace import Workspace


@flow(name="adapt", validate_parameters=False)  # type: ignore[untyped-decorator]  # Prefect's types are not read
def adapt_stream(
    data: str,
    target: str,
    test: str | None = None,
    name: str | None = None,
    workspace: str = ".abi",
    config: str | None = None,
    settings: dict[str, Any] | None = None,
    register: bool = True,
) -> dict[str, Any]:
    """Follow a stream: predict each block, then learn from it, and adapt where drift asks for it.

    Args:
        data: CSV (also gzip) or Parquet file whose rows are in order of time.
        target: column to predict.
        test: file whose rows come after.
        name: of the model; the data file's where None.
        workspace: folder for everything that is kept.
        config: settings file.
        settings: dotted settings that go before it.
        register: register the adapted model as a new version.

    Returns:
        The object that ``abi adapt --json`` prints.
    """
    loaded = load_config(Path(config) if config else None, settings)
    ws = Workspace.open(Path(workspace))
    call, clock = Call.of(ws, model_name(name or loaded.name, data), loaded), Clock()
    stream = Stream(call, target, data, test, register)
    with ws.lock(timeout_s=0):
        folder = or_without_prefect(
            call, clock, lambda run: follow(run, stream), lambda: follow(as_tasks(call, clock), stream)
        )
    result: dict[str, Any] = json.loads((Path(folder) / "stream.json").read_bytes())
    return result
