"""New rows held against what the champion was trained on: drift, its tables, its alarm, and whether a retraining is due."""

from __future__ import annotations

import csv
import datetime
import io
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from abi.audit.entry import Draft, Kind
from abi.data.columns import encode
from abi.data.derive import derive_new
from abi.data.history import History
from abi.data.order import ROWS, times_of
from abi.data.reader import Reader
from abi.data.split import roles
from abi.documents import document, find, read_document
from abi.errors import DataError, TrackingError, UsageError, WorkspaceError
from abi.families.family import Model
from abi.families.stored import load_predictor
from abi.monitored import AttentionDrift, Distribution, Drift, FeatureDrift, Reference
from abi.monitoring.alarm import Alarm, cooled
from abi.monitoring.attention import attention_drift
from abi.monitoring.drift import judge
from abi.monitoring.reference import prediction_column
from abi.monitoring.tables import lines
from abi.monitoring.tally import Tally, columns_of, tally
from abi.monitoring.verdict import Subject, conclude
from abi.outcomes import Along, Evaluation, Trained
from abi.problem import DataFile, Problem, Snapshot, Split
from abi.values import Value
from tasks.data import expect_columns
from tasks.decisions import flow_run, only_model, open_ledger
from tasks.model_registry import Version, find_version, versions
from tasks.models import has_files, load_predictor_of
from tasks.progress import say
from tasks.registration import connect
from tasks.snapshot import read_file
from tasks.stage import Call
from tasks.streams import reference_reader

if TYPE_CHECKING:
    from abi.config import Config
    from abi.data.table import Tabular
    from tasks.ledger import Ledger
    from tasks.tracking import Tracking

HEADER = ("cell", "rows_before", "rows_now", "share_before", "share_now", "psi_part")
NAME_LENGTH = 60


@dataclass(frozen=True)
class Champion:
    """The version that new rows are held against, and what it was trained on; `along` where it followed a stream."""

    version: Version
    trained: Trained
    reference: Reference
    model: Model
    history: History | None
    notes: tuple[str, ...]
    along: Along | None = None
    latency_s: float | None = None

    @property
    def problem(self) -> Problem:
        """What it learned, from which rows."""
        return self.trained.plan.attention.scores.problem


@dataclass(frozen=True)
class Batch:
    """A file of new rows."""

    file: DataFile
    table: Tabular


def monitor(call: Call, data: str, model: str | None = None, out: Path | None = None) -> Drift:
    """Look at new rows: measure, write tables, enter what was found in the ledger.

    Args:
        call: workspace and settings.
        data: CSV (also gzip) or Parquet file; the target may be lacking, other columns are ignored.
        model: the registered model; where None, that of the settings or the only one there is.
        out: folder for the tables; one in the workspace where None.

    Raises:
        UsageError: there is no such model, or it has no reference.
        DataError: the rows cannot be read, or lack a column that the model needs.
    """
    ws, config = call.ws, call.settings
    now = datetime.datetime.now(datetime.UTC)
    call = only_model(call) if model is None else replace(call, name=model)
    ledger, champion = open_ledger(call), find_champion(call)
    reference = champion.reference
    batch = Batch(*read_file(ws, Path(data), config.data, champion.problem.schema.spelled))
    expect_columns(champion.problem, batch.table, data)
    batch = replace(batch, table=derive_new(champion.problem.schema, batch.table, champion.history))
    tallies, predictions = _count(champion, batch)
    features, prediction = _judged(champion, tallies, predictions, config)
    attention, notes = _attention(call, champion, batch)
    subject = Subject(
        model=call.name,
        version=champion.version.number,
        reference=ws.put(reference),
        snapshot=batch.file.sha256,
        rows=batch.table.rows,
    )
    drift = conclude(
        subject,
        features,
        prediction,
        attention,
        last_alarm(ledger, call.name, reference.id),
        now,
        last_retraining(ledger, call.name),
        config.monitor,
        (*champion.notes, *notes),
    )
    folder = out or ws.root / "monitoring" / f"{now:%Y%m%dT%H%M%S.%fZ}"
    _write(call, folder, drift, _named(champion, tallies, predictions), flag="--workspace" if out is None else "--out")
    ledger.append(_draft(drift, ws.put(drift)))
    say(f"monitor   {drift.rows} rows against {call.name} {drift.version}; tables in {folder}")
    return drift


def drift_due(ledger: Ledger, model: str, config: Config, now: datetime.datetime) -> str | None:
    """Why drift makes a retraining due; None where it does not.

    It does while the alarm of the last look is on, unless the champion is another one since, and not before
    `monitor.cooldown` has passed since drift last led to a retraining.
    """
    last = ledger.last("drift", model)
    if last is None or not last.detail["alarm"] or not cooled(now, last_retraining(ledger, model), config.monitor):
        return None
    champion = ledger.aliases(model).champion
    if champion is not None and champion != last.detail["version"]:
        return None
    return f"drift: {'; '.join(last.detail['reasons'])}"


def last_alarm(ledger: Ledger, model: str, reference: str) -> Alarm:
    """The alarm after the last look; off where that was against another reference."""
    last = ledger.last("drift", model)
    if last is None or last.values["reference"] != reference:
        return Alarm()
    return Alarm(on=last.detail["alarm"], since=last.detail["since"])


def last_retraining(ledger: Ledger, model: str) -> datetime.datetime | None:
    """When drift last led to a retraining."""
    fired: list[Kind] = ["trigger"]
    entries = ledger.entries(kinds=fired, model=model)
    times = [e.time for e in entries if "drift" in e.detail.get("triggers", ()) and "training" in e.detail]
    return datetime.datetime.fromisoformat(times[-1]) if times else None


def find_champion(call: Call, version_number: int | None = None) -> Champion:
    """The champion of the call's model, or the newest version where none was promoted, with what its run recorded.

    Args:
        call: workspace, model and settings.
        version_number: a version in place of the champion.

    Raises:
        UsageError: no version is registered, or it has no reference.
        ArtifactRefused: its files are not what was signed.
    """
    tracking = connect(call)
    number = open_ledger(call).aliases(call.name).champion if version_number is None else version_number
    version = _newest(tracking, call.name) if number is None else find_version(tracking, call.name, number)
    note = f"no version of {call.name!r} was promoted yet: held against the newest, {version.number}"
    evaluation: Evaluation = find(_document(tracking, version, "evaluation"), Evaluation)
    trained = evaluation.trained
    model, history = _model(call, tracking, version, trained.artifact)
    return Champion(
        version=version,
        trained=trained,
        along=evaluation.along,
        latency_s=evaluation.latency_s,
        reference=find(_document(tracking, version, "reference"), Reference),
        model=model,
        history=history,
        notes=() if number is not None else (note,),
    )


def _newest(tracking: Tracking, model: str) -> Version:
    found = versions(tracking, model)
    if not found:
        msg = f"Expected a registered version of {model!r}, got none: train one with `abi run`, or name another with --model."
        raise UsageError(msg)
    return found[-1]


def _model(call: Call, tracking: Tracking, version: Version, artifact: str) -> tuple[Model, History | None]:
    """From the workspace, or where it lacks the files from the registry; verified either way."""
    if has_files(call.ws, artifact):
        found = load_predictor_of(call, artifact)
        return found.model, found.history
    with tempfile.TemporaryDirectory() as place:
        found = load_predictor(tracking.fetch(version.uri, Path(place) / "model") / "artifacts" / artifact)
        return found.model, found.history


def _document(tracking: Tracking, version: Version, name: str) -> Value:
    try:
        return read_document(tracking.document(version.run_id, f"values/{name}.json"))
    except TrackingError as error:
        if error.transient:
            raise
        msg = f"Expected {name} among what the run of {version.uri} recorded, got none: an earlier ABI made it, or MLflow's artifacts are gone; restore them, or train again with `abi run`."
        raise UsageError(msg) from None


def _count(champion: Champion, batch: Batch) -> tuple[list[Tally], Tally | None]:
    """All rows in the reference's cells; predictions of rows that the model was not trained on."""
    problem, reference = champion.problem, champion.reference
    features = problem.schema.features
    own = batch.file.sha256 == problem.snapshot.train.sha256
    timed = own and problem.split.order not in ("", ROWS)
    needed = list(dict.fromkeys([*(f.column for f in features), *([problem.split.order] if timed else [])]))
    counted: list[list[Tally]] = []
    predicted: list[Tally] = []
    for first, rows in batch.table.batches(needed):
        numbers = np.arange(first, first + rows.num_rows, dtype=np.int64)
        columns = encode(rows, problem.schema, numbers, with_target=False)
        pairs = zip(reference.features, columns_of(columns, features), strict=True)
        counted.append([tally(known, column) for known, column in pairs])
        if reference.prediction is not None:
            times = times_of(rows.column(problem.split.order)) if timed else None
            fresh = columns.take(roles(numbers, problem.split, times) > 0) if own else columns
            found = prediction_column(problem.schema, champion.model.predict_columns(fresh))
            predicted.append(tally(reference.prediction, found))
    tallies = [reduce(add, parts) for parts in zip(*counted, strict=True)]
    return tallies, reduce(add, predicted) if predicted else None


def _judged(
    champion: Champion, tallies: list[Tally], predictions: Tally | None, config: Config
) -> tuple[tuple[FeatureDrift, ...], FeatureDrift | None]:
    reference = champion.reference
    weights = [w.weight for w in champion.trained.plan.attention.weights]
    if predictions is None or reference.prediction is None:
        return judge(reference.features, tallies, weights, config.monitor), None
    both = judge((*reference.features, reference.prediction), [*tallies, predictions], [*weights, 0.0], config.monitor)
    return both[:-1], both[-1]


def _attention(call: Call, champion: Champion, batch: Batch) -> tuple[AttentionDrift | None, tuple[str, ...]]:
    """Attention of the new rows, where they have enough targets; else why there is none."""
    problem, config = champion.problem, call.settings.monitor
    target = problem.schema.target
    if target not in batch.table.names:
        return None, (f"attention was not compared: the rows have no {target!r}",)
    labelled = batch.table.rows - batch.table.column(target).nulls
    if labelled < config.rows:
        return None, (f"attention was not compared: {labelled} rows have a {target!r}",)
    everything = Split(seed=problem.split.seed, validation=0.0, test=0.0)
    posed = replace(problem, snapshot=Snapshot(files=(batch.file,)), split=everything)
    try:
        found = attention_drift(
            champion.reference, Reader(posed, batch.table), lambda: reference_reader(call, champion), config
        )
    except (DataError, UsageError, WorkspaceError) as error:
        return None, (f"attention was not compared: {error}",)
    return found, ()


def _named(champion: Champion, tallies: Sequence[Tally], predictions: Tally | None) -> list[tuple[Distribution, Tally]]:
    found = list(zip(champion.reference.features, tallies, strict=True))
    if predictions is not None and champion.reference.prediction is not None:
        found.append((champion.reference.prediction, predictions))
    return found


def _write(call: Call, folder: Path, drift: Drift, tables: list[tuple[Distribution, Tally]], *, flag: str) -> None:
    """`drift.json`, and one CSV per feature."""
    for number, (distribution, counts) in enumerate(tables, 1):
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(HEADER)
        for line in lines(distribution, counts):
            part = "" if line.part is None else f"{line.part:.6g}"
            shares = f"{line.share_before:.6g}", f"{line.share_now:.6g}"
            writer.writerow((line.cell, line.rows_before, line.rows_now, *shares, part))
        slug = re.sub(r"[^\w.-]+", "_", distribution.feature)[:NAME_LENGTH]
        call.ws.write(folder / f"{number:03d}-{slug}.csv", text.getvalue().encode(), flag=flag)
    call.ws.write(folder / "drift.json", json.dumps(document(drift), ensure_ascii=False, indent=1).encode(), flag=flag)


def _draft(drift: Drift, drift_id: str) -> Draft:
    return Draft(
        kind="drift",
        model=drift.model,
        flow_run=flow_run(),
        values={"drift": drift_id, "reference": drift.reference, "snapshot": drift.snapshot},
        detail={
            "version": drift.version,
            "rows": drift.rows,
            "psi_max": drift.psi,
            "share": drift.share,
            "drifted": [f.feature for f in drift.features if f.drifted],
            "prediction_psi": None if drift.prediction is None else drift.prediction.psi,
            "attention_distance": None if drift.attention is None else drift.attention.distance,
            "level": drift.level,
            "judged": drift.judged,
            "alarm": drift.alarm,
            "since": drift.since,
            "triggered": drift.due,
            "reasons": list(drift.reasons),
        },
    )
