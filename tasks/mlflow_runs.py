"""What one record becomes in MLflow before it has a version: a run with nested rounds, files, and the signed model's files."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

import abi
from abi.data.scratch import scratch_folder
from tasks.records import Dataset, Record, RunRecord, flatten, mlflow_key
from tasks.signing import Signing
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

OPERATION = "abi.operation_id"
MODEL = "abi.model"
LEDGER = "abi.ledger"
"""Tag of the ledger that a run and its version are of; earlier releases put none."""
BARE = "abi.without_model"
"""Tag of a run that was recorded without a model, as long as it has none."""
STATE = "abi.state"
QUARANTINED = "quarantined"
METRICS_PER_CALL, PARAMS_PER_CALL = 1000, 100


@dataclass(frozen=True)
class RunStore:
    """Stores runs and models in one experiment."""

    ws: Workspace
    client: MlflowClient
    experiment_id: str
    signing: Signing

    def run(self, record: RunRecord) -> str:
        """The run with its rounds, inputs, documents and files, still open; gives its id."""
        tags = {**record.tags, OPERATION: record.operation_id, MODEL: record.name, "mlflow.source.name": "abi"}
        run_id = self._log(record.run_name, tags, record.params, record.metrics, ())
        self.client.log_inputs(run_id, _inputs(self.ws, record.dataset))
        for part in record.rounds:
            child = self._log(part.name, {"mlflow.parentRunId": run_id}, part.params, part.metrics, part.steps)
            self.client.set_terminated(child)
        self._keep(run_id, record)
        return run_id

    def more(self, run_id: str, record: RunRecord) -> str:
        """The same run with what the record tells beyond it: its tags, documents and files. What it has measured stays."""
        for key, value in record.tags.items():
            self.client.set_tag(run_id, key, value)
        self._keep(run_id, record)
        return run_id

    def _keep(self, run_id: str, record: RunRecord) -> None:
        with scratch_folder(self.ws.root) as stage:
            for name, plain in record.documents.items():
                target = _below(stage, name)
                target.write_bytes(orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
            for name, source in record.files.items():
                _link(source, _below(stage, name))
            self.client.log_artifacts(run_id, str(stage))

    def _log(
        self,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        steps: Sequence[tuple[str, int, float]],
    ) -> str:
        from mlflow.entities import Metric, Param

        now_ms = int(time.time() * 1000)
        run_id = str(self.client.create_run(self.experiment_id, run_name=name, tags=dict(tags)).info.run_id)
        all_params = [Param(mlflow_key(key), value) for key, value in flatten(params).items()]
        all_metrics = [Metric(mlflow_key(key), float(value), now_ms, 0) for key, value in metrics.items()]
        all_metrics += [Metric(mlflow_key(key), float(value), now_ms, step) for key, step, value in steps]
        for start in range(0, len(all_params), PARAMS_PER_CALL):
            self.client.log_batch(run_id, params=all_params[start : start + PARAMS_PER_CALL])
        for start in range(0, len(all_metrics), METRICS_PER_CALL):
            self.client.log_batch(run_id, metrics=all_metrics[start : start + METRICS_PER_CALL])
        return run_id

    def model(self, record: Record, run_id: str) -> str:
        """The model's signed files: a logged model of the run, a version of none yet; gives its id."""
        import mlflow
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        logged = self.client.create_logged_model(
            self.experiment_id, name="model", source_run_id=run_id, tags={OPERATION: record.operation_id}
        )
        with scratch_folder(self.ws.root) as stage, _requirements_as_given():
            folder = stage / record.operation_id  # the signature names the folder
            mlflow.pyfunc.save_model(
                path=folder,
                mlflow_model=Model(
                    artifact_path=logged.artifact_location,
                    run_id=run_id,
                    model_uuid=logged.model_id,
                    model_id=logged.model_id,
                ),
                python_model=str(Path(__file__).with_name("pyfunc_model.py")),
                artifacts={"model": record.model_dir.resolve().as_uri()},
                code_paths=[str(Path(str(abi.__file__)).parent)],
                signature=_signature(record),
                input_example=record.example,
                pip_requirements=list(record.requirements),
            )
            for cache in sorted(folder.rglob("__pycache__")):
                for compiled in cache.iterdir():
                    compiled.unlink()
                cache.rmdir()
            self.signing.sign(folder)
            self.client.log_model_artifacts(logged.model_id, str(folder))
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return str(logged.model_id)


def may_be_of(ledger: str | None, tags: Mapping[str, str]) -> bool:
    """Whether a run or version with these tags can be that ledger's; None asks for any."""
    return ledger is None or tags.get(LEDGER) in (None, ledger)


@contextlib.contextmanager
def _requirements_as_given() -> Iterator[None]:
    """Without MLflow's check that this environment has a model's requirements: ours are read off it.

    The check lists the files of all installed packages, a second or two of every run; no setting turns it off.
    """
    from mlflow.utils import environment

    name = "warn_dependency_requirement_mismatches"
    check = getattr(environment, name, None)
    if check is None:  # another version of MLflow
        yield
        return
    setattr(environment, name, lambda requirements: None)  # noqa: ARG005 - its name may be given
    try:
        yield
    finally:
        setattr(environment, name, check)


def _inputs(ws: Workspace, dataset: Dataset) -> list[Any]:
    from mlflow.entities import Dataset as Entity
    from mlflow.entities import DatasetInput, InputTag

    return [
        DatasetInput(
            Entity(
                name=dataset.name if file.role == "train" else f"{dataset.name} ({file.role})",
                digest=file.sha256[:32],
                source_type="local",
                source=json.dumps({"uri": str(ws.snapshots / f"{file.sha256}.{file.format}")}),
                profile=json.dumps({"num_rows": file.rows, "size_bytes": file.size_bytes, "md5": file.md5}),
            ),
            tags=[
                InputTag("mlflow.data.context", "training" if file.role == "train" else "test"),
                InputTag("target", dataset.target),
                InputTag("sha256", file.sha256),
                InputTag("md5", file.md5),
            ],
        )
        for file in dataset.snapshot.files
    ]


def _signature(record: Record) -> Any:
    """Columns by name, of any type: the model encodes them itself, and MLflow would refuse whole numbers for decimals.

    One that may have another name is optional under both, as MLflow drops what it does not know; the model asks for it.
    """
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    names = [str(name) for name in record.example.columns]
    other = {name: record.written[name] for name in names if name in record.written}
    inputs = [ColSpec(AnyType(), name=name, required=name not in other) for name in names]
    inputs += [ColSpec(AnyType(), name=written, required=False) for written in other.values()]
    return ModelSignature(inputs=Schema(inputs), outputs=infer_signature(record.output).inputs)


def _below(folder: Path, name: str) -> Path:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _link(source: Path, target: Path) -> None:
    """Folders as folders, files as links: nothing is copied twice."""
    if source.is_dir():
        target.mkdir(exist_ok=True)
        for entry in source.iterdir():
            _link(entry, target / entry.name)
    else:
        target.symlink_to(source.resolve())
