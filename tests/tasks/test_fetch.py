"""Signed models in the store of a real MLflow server, which sends them over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from abi.audit.model_files import list_files
from abi.config import TrackingConfig
from abi.errors import ArtifactRefused
from abi.problem import DataFile, Snapshot
from tasks.records import Dataset, Record
from tasks.tracking import Tracking
from tasks.workspace import Workspace


@pytest.mark.slow
def test_a_model_comes_from_a_server_as_it_was_signed_or_not_at_all(
    servers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", servers.mlflow)  # MLflow sets it as well, for good
    for name, value in servers.login.items():
        monkeypatch.setenv(name, value)
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text("{}")
    file = DataFile(role="train", format="csv", md5="0" * 32, sha256="ab" * 32, size_bytes=9, rows=3)
    record = Record(
        operation_id="remote",
        name="shop",
        run_name="run",
        dataset=Dataset(snapshot=Snapshot(files=(file,)), name="people", target="y"),
        model_dir=model,
        example=pd.DataFrame({"age": [1]}),
        output=pd.DataFrame({"prediction": ["yes"]}),
        requirements=["pandas"],
    )
    tracking = Tracking.open(Workspace.open(tmp_path / "ws"), TrackingConfig(uri=servers.mlflow))
    recorded = tracking.record(record)
    folder = tracking.fetch(recorded.uri, tmp_path / "fetched")
    assert {"MLmodel", "model.sig", "pyfunc_model.py", "artifacts/model/model.json"} <= set(list_files(folder))
    assert [path.name for path in tmp_path.glob(".abi-fetch-*")] == []

    model_id = tracking.client.get_run(recorded.run_id).outputs.model_outputs[0].model_id
    (tmp_path / "pyfunc_model.py").write_text("print('mine')")
    tracking.client.log_model_artifact(model_id, str(tmp_path / "pyfunc_model.py"))
    with pytest.raises(ArtifactRefused, match=r"'pyfunc_model\.py' as signed, got other content"):
        tracking.fetch(recorded.uri, tmp_path / "second")
    assert not (tmp_path / "second").exists()
