"""Stage: the report of a stream, its MLflow run, and the adapted model's version."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.adapted import Adapted
from abi.documents import document, find
from abi.problem import Snapshot
from abi.report.stream import render_stream
from abi.sections import without_passwords
from tasks.adapted_version import register_adapted
from tasks.adapting import COLD, operation_of
from tasks.decisions import open_ledger
from tasks.mlflow_runs import LEDGER
from tasks.patience import insist
from tasks.progress import say
from tasks.records import Dataset, Round, RunRecord
from tasks.registration import LEASE_S, connect, registered
from tasks.stage import Call, Stage, code_id

if TYPE_CHECKING:
    from abi.audit.entry import Entry


def record_stream(call: Call, data_name: str, snapshot: str, adapted: str, leave: str = "") -> str:
    """Adapted -> path of its folder, with `stream.json` and `report.html`; one MLflow run, whoever asks and how often.

    The adapted model becomes a version of the call's model, unless `leave` says why not; one that it has become before stays.
    """
    ws, found, held = call.ws, find(call.ws.get(adapted), Adapted), find(call.ws.get(snapshot), Snapshot)
    start = COLD if found.champion is None else str(found.champion)
    operation = f"stream-{operation_of(call, snapshot, found.target, start)[:32]}"  # not of its seconds
    folder = ws.runs / operation
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    facts = {
        "adapted": found.id,
        "snapshot SHA-256": held.train.sha256,
        "attention": found.attention.id,
        "settings": found.settings,
        "code": code_id(),
        "operation": operation,
    }
    page = folder / "report.html"

    def write(more: dict[str, str]) -> None:
        ws.write(page, render_stream(found, call.name, data_name, created, {**facts, **more}).encode())

    write({})
    record = RunRecord(
        operation_id=operation,
        name=call.name,
        run_name=f"{call.name} stream",
        dataset=Dataset(snapshot=held, name=data_name, target=found.target),
        params=without_passwords({**call.settings.recorded(), "adapt": call.settings.adapt.model_dump(mode="json")}),
        metrics=_metrics(found),
        tags={
            "abi.kind": "stream",
            "abi.snapshot": held.train.sha256,
            "abi.code": code_id(),
            "abi.start": found.start,
            LEDGER: open_ledger(call).id,
        },
        rounds=(_course(found),),
        documents={"values/adapted.json": document(found), "values/attention.json": document(found.attention)},
        files={"report.html": page},
    )
    why = leave or found.obstacle
    entry = registered(call, operation) if why else register_adapted(call, record, found, held)
    if why and entry is not None:
        say(f"record    registered before: {entry.detail['uri']}")
    if entry is not None and entry.mlflow_run is not None:
        run_id = entry.mlflow_run
        write({"model": entry.detail["uri"]})
        insist(lambda: connect(call).attach(run_id, page), call.settings.tracking.patience)
    else:
        with open_ledger(call).lease(f"record:{operation}", seconds=LEASE_S):
            run_id = insist(lambda: connect(call).record_run(record), call.settings.tracking.patience)
    answer = result(found, call.name, run_id, page) | _version(entry, why)
    ws.write(folder / "stream.json", json.dumps(answer, indent=1).encode())
    say(f"record    MLflow run {run_id}, report {page}")
    return str(folder)


def _version(entry: Entry | None, why: str) -> dict[str, Any]:
    if entry is None:
        return {"version": None, "unregistered": why}
    named = {name: entry.detail[name] for name in ("name", "version", "uri")}
    return {"version": named, "unregistered": None}


def _metrics(found: Adapted) -> dict[str, float]:
    named = {f"{found.metric}.{c.name.replace(' ', '_')}": c.overall for c in found.contenders}
    counted = {"rows": found.scored, "adaptations": len(found.adaptations), "growths": found.grown}
    return {**named, **{k: float(v) for k, v in counted.items()}, "row_s": found.row_s, "seconds": found.seconds}


def _course(found: Adapted) -> Round:
    """Curves, as steps by row."""
    steps = [
        (f"window.{c.name.replace(' ', '_')}", row, value)
        for c in found.contenders
        for row, value in zip(found.at, c.curve, strict=True)
    ]
    steps += [
        (f"share.{name.replace(' ', '_')}", row, value)
        for name, shares in found.shares.items()
        for row, value in zip(found.at, shares, strict=True)
    ]
    steps += [(f"attention.{n}", made.row, weight) for made in found.adaptations for n, weight in made.weights.items()]
    return Round(name="along the stream", steps=steps)


def result(found: Adapted, name: str, run_id: str, page: Path) -> dict[str, Any]:
    """The object that ``abi adapt --json`` prints.

    Fields:
        run_id: MLflow run, the same for the same stream, settings and code. model: its name. status: "completed".
        metric: accuracy or rmse, prequential. adapted: over all scored rows. window: over the last ones.
        controls: the same of persistence, majority or mean, and never adapted. experts: of each alone.
        rows, scored, skipped (without a label), begin (first scored row, from 0).
        start: cold or champion; champion: its version. adaptations: each decision. shares: the experts' last ones.
        version: name, version and uri of the adapted model; null where none was registered, and `unregistered` says why.
        values: ids of what was kept. seconds, row_s: time of work. report: path of the page.
    """
    controls = [c for c in found.contenders if c.name != "adapted" and not c.name.endswith(" alone")]
    experts = [c for c in found.contenders if c.name.endswith(" alone")]
    return {
        "run_id": run_id,
        "model": name,
        "status": "completed",
        "metric": found.metric,
        "adapted": found.contender("adapted").overall,
        "window": found.contender("adapted").window,
        "controls": {c.name: c.overall for c in controls},
        "experts": {c.name.removesuffix(" alone"): c.overall for c in experts},
        "rows": found.rows,
        "scored": found.scored,
        "skipped": found.skipped,
        "begin": found.begin,
        "start": found.start,
        "champion": found.champion,
        "adaptations": [
            {
                "row": a.row, "causes": list(a.causes), "reasons": list(a.reasons), "from_rows": [a.first, a.last],
                "moved": a.moved, "carried": a.carried, "classes": list(a.classes), "attention": a.attention,
                "plans": a.plans, "parameters": a.predicted.parameters,
            }
            for a in found.adaptations
        ],
        "shares": {name: values[-1] for name, values in found.shares.items()},
        "attention": found.adaptations[-1].weights,
        "values": {"adapted": found.id, "attention": found.attention.id},
        "seconds": found.seconds,
        "row_s": found.row_s,
        "notes": list(found.notes),
        "report": str(page),
    }  # fmt: skip


RECORD_STREAM = Stage(record_stream, named=True, cached=False)
