"""What a stream's learner had become, as a registered version: through the door of `tasks.registration`, once for each stream.

The artifact is the whole mixture of experts as it stood after the last row (`abi.families.mixture`). Its figures are
prequential: each row of the stream was predicted before its label was learned from.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from abi.adapted import Adapted
from abi.data.columns import columns_of, encode
from abi.documents import document, find
from abi.evaluation.evaluate import latency
from abi.outcomes import Evaluation
from abi.problem import Checks, Snapshot
from abi.values import Value
from tasks.decisions import open_ledger
from tasks.fresh_process import frame_of, plain_rows
from tasks.models import load_model
from tasks.progress import say
from tasks.recording import EXAMPLE_ROWS, SERVING, public_version
from tasks.records import Record, RunRecord
from tasks.registration import newest, reconciled, register, registered
from tasks.snapshot import fetch_snapshot, written_names

if TYPE_CHECKING:
    from abi.audit.entry import Entry
    from abi.families.family import Model
    from abi.problem import Schema
    from tasks.stage import Call


def register_adapted(call: Call, run: RunRecord, found: Adapted, snapshot: Snapshot) -> Entry:
    """The ledger's entry of the version; the operation that has one already is answered with that."""
    entry = registered(call, run.operation_id)
    if entry is not None:
        say(f"record    already there: {entry.detail['uri']}")
        return entry
    reconciled(call)
    register(call, _record(call, run, found, snapshot))
    entry = newest(open_ledger(call), call.name, run.operation_id)
    assert entry is not None
    say(f"record    registered: {entry.detail['uri']}")
    return entry


def _record(call: Call, run: RunRecord, found: Adapted, snapshot: Snapshot) -> Record:
    ws = call.ws
    planned: Evaluation = find(ws.get(found.evaluation), Evaluation)
    artifact = planned.trained.artifact
    model = load_model(call, artifact)
    last = _last_rows(call, snapshot, model.schema)
    evaluation = _measured(call, planned, found, model, last)
    rows = plain_rows(last)
    example = frame_of(rows)
    output = model.predict(example)
    checks = Checks(problem=evaluation.trained.plan.attention.scores.problem, suite_sha256="", results=())
    values: dict[str, Value] = {"evaluation": evaluation, "checks": checks, "reference": ws.get(found.reference)}
    for value in values.values():
        ws.put(value)
    documents = {f"values/{name}.json": document(value) for name, value in values.items()}
    documents["example.json"] = {"input": rows, "output": plain_rows(output)}
    more = {"tags": {**run.tags, **_tags(call, evaluation)}, "documents": {**run.documents, **documents}}
    return Record(
        **{**vars(run), **more},
        model_dir=ws.models / artifact,
        example=example,
        output=output,
        requirements=[f"{name}=={public_version(name)}" for name in SERVING],
        written=written_names(ws, snapshot.train),
        description=describe(found, evaluation),
    )


def describe(found: Adapted, evaluation: Evaluation) -> str:
    """What the version is and what its figures mean, for who reads the registry."""
    along, metric = evaluation.along, evaluation.metrics[evaluation.primary]
    assert along is not None
    begun = "cold" if along.champion is None else f"from version {along.champion} on"
    never = found.contender("never adapted").overall
    return (
        f"Followed a stream of {found.rows:,} rows {begun}; the mixture of its experts as it stood after the last row. Prequential "
        f"{evaluation.primary} {metric.value:.4g} over {evaluation.rows:,} rows, {never:.4g} never adapted, in {along.adaptations} decisions. "
        "It learns no more: past labels among its features stay those of the stream's end."
    )


def _tags(call: Call, evaluation: Evaluation) -> dict[str, str]:
    problem = evaluation.trained.plan.attention.scores.problem
    along = evaluation.along
    begun = "cold" if along is None or along.champion is None else str(along.champion)
    return {
        "snapshot_sha256": problem.snapshot.train.sha256,
        "plan": evaluation.trained.plan.id,
        "evaluation": evaluation.id,
        "abi.settings": call.settings.digest(),
        "abi.started_from": begun,
        "abi.figures": "prequential",
    }


def _measured(call: Call, planned: Evaluation, found: Adapted, model: Model, last: pd.DataFrame) -> Evaluation:
    """With the time that it took, and that a prediction takes here."""
    columns = encode(last, model.schema, with_target=False)
    row_s = latency(model, columns, call.settings.evaluation.latency_calls)
    trained = planned.trained
    cost = replace(trained.measured, train_time_s=found.seconds, latency_s=row_s)
    return replace(planned, trained=replace(trained, measured=cost), latency_s=row_s)


def _last_rows(call: Call, snapshot: Snapshot, schema: Schema) -> pd.DataFrame:
    """A few, as the model gets them."""
    names = columns_of(schema.features)
    tables = [t for t in fetch_snapshot(call.ws, snapshot, call.settings.tracking.remote) if t is not None]
    first = max(0, tables[-1].rows - EXAMPLE_ROWS)
    batches = [batch for _, batch in tables[-1].batches(names, part=range(first, tables[-1].rows))]
    frame: pd.DataFrame = pa.Table.from_batches(batches).select(names).to_pandas()
    return frame.reset_index(drop=True)
