"""What OpenLineage is told of a run: the job, the run, the data files it read, and the model version it made."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import re
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.documents import find
from abi.errors import AbiError
from abi.problem import DataFile, Problem
from abi.sections import masked
from tasks.stage import Call, code_id

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent, RunState
    from openlineage.client.facet_v2 import DatasetFacet, RunFacet

PRODUCT = "abi-instrument"
NAMESPACE = "abi"


@dataclass
class Known:
    """What is known of a run so far.

    Attributes:
        call: model and settings.
        run_id: UUID that its events share.
        files: training file and, where there is one, test file.
        problem: schema and versions, once the data has been read.
        result: what the run answers (`run.json`), once there is one.
    """

    call: Call
    run_id: str
    files: tuple[Path, ...]
    problem: Problem | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def posed(self, problem_id: str) -> None:
        """The data has been read: `problem_id` names what was found."""
        self.problem = find(self.call.ws.get(problem_id), Problem)

    def recorded(self, folder: Path) -> None:
        """The run's answer lies in `folder`."""
        self.result = json.loads((folder / "run.json").read_bytes())


def run_event(state: RunState, known: Known, error: BaseException | None = None) -> RunEvent:
    """The event of a run that comes to `state`."""
    from openlineage.client import event_v2 as ol

    ol.set_producer(f"urn:{PRODUCT}:{importlib.metadata.version(PRODUCT)}")  # of the event and of its facets
    name = f"retrain.{known.call.name}"
    return ol.RunEvent(
        eventType=state,
        eventTime=datetime.datetime.now(datetime.UTC).isoformat(),
        run=ol.Run(runId=known.run_id, facets=_run_facets(known, error)),
        job=ol.Job(namespace=os.environ.get("OPENLINEAGE_NAMESPACE", NAMESPACE), name=name, facets=_job_facets()),
        inputs=_inputs(known),
        outputs=_outputs(known),
    )


def without_secrets(uri: str) -> str:
    """The address without user, password and query."""
    return re.sub(r"(?<=://)[^/]*@", "", uri.partition("?")[0])


def _job_facets() -> dict[str, Any]:
    from openlineage.client.facet_v2 import job_type_job

    return {"jobType": job_type_job.JobTypeJobFacet(processingType="BATCH", integration="ABI", jobType="MODEL")}


def _run_facets(known: Known, error: BaseException | None) -> dict[str, RunFacet]:
    from openlineage.client.facet_v2 import error_message_run, processing_engine_run, tags_run

    version = importlib.metadata.version(PRODUCT)
    tags = {"settings": known.call.settings.digest(), "code": code_id(), "model": known.call.name}
    for key in ("evaluation", "primary"):
        if key in known.result:
            tags[key] = str(known.result[key])
    if known.result:
        tags["mlflow_run"] = str(known.result["run_id"])
        tags |= {f"metric.{name}": f"{value:.6g}" for name, value in known.result["metrics"].items()}
    facets: dict[str, RunFacet] = {
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(version=version, name="ABI"),
        "tags": tags_run.TagsRunFacet([tags_run.TagsRunFacetFields(k, v, "INTEGRATION") for k, v in tags.items()]),
        **_scheduled(),
    }
    if error is not None:
        # a typed error is one whole sentence; a trace is for what nobody expected
        trace = None if isinstance(error, AbiError) else masked("".join(traceback.format_exception(error)))
        message = masked(str(error)) or type(error).__name__
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "PYTHON", trace)
    return facets


def _scheduled() -> dict[str, RunFacet]:
    """The Prefect flow run that this run belongs to, and when it was due."""
    if "prefect" not in sys.modules:
        return {}
    from openlineage.client.facet_v2 import nominal_time_run, parent_run
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return {}
    facets: dict[str, RunFacet] = {
        "parent": parent_run.ParentRunFacet(
            run=parent_run.Run(runId=str(context.flow_run.id)),
            job=parent_run.Job(namespace="prefect", name=str(context.flow.name if context.flow else "retrain")),
        )
    }
    due = context.flow_run.expected_start_time
    if due is not None:
        facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(nominalStartTime=due.isoformat())
    return facets


def _inputs(known: Known) -> list[InputDataset]:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import input_statistics_input_dataset as statistics

    if known.problem is None:
        return [InputDataset("file", str(path)) for path in known.files]
    return [
        InputDataset(
            "file",
            str(path),
            facets=_file_facets(known.problem, file),
            inputFacets={
                "inputStatistics": statistics.InputStatisticsInputDatasetFacet(
                    rowCount=file.rows, size=file.size_bytes, fileCount=1
                )
            },
        )
        for path, file in zip(known.files, known.problem.snapshot.files, strict=True)
    ]


def _file_facets(problem: Problem, file: DataFile) -> dict[str, DatasetFacet]:
    from openlineage.client.facet_v2 import dataset_version_dataset, schema_dataset

    schema = problem.schema
    columns = {f.column: "date" if f.part else str(f.kind) for f in schema.features}
    columns |= {c.column: c.kind for c in schema.set_aside}
    columns[schema.target] = schema.task
    fields = [schema_dataset.SchemaDatasetFacetFields(name=name, type=kind) for name, kind in columns.items()]
    return {
        "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(file.sha256),
    }


def _outputs(known: Known) -> list[OutputDataset]:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import dataset_type_dataset, dataset_version_dataset

    if not known.result:
        return []
    uri = known.call.settings.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    model = known.result["model"]
    return [
        OutputDataset(
            without_secrets(uri) if uri else f"sqlite:///{known.call.ws.mlflow_db}",
            str(model["name"]),
            facets={
                "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet("MODEL"),
                "version": dataset_version_dataset.DatasetVersionDatasetFacet(str(model["version"])),
            },
        )
    ]
