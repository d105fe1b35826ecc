"""Stages: take a stream, adapt along it, record what came of it. What is decided on the way enters the ledger as it is decided."""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from abi.adapted import Adaptation, Adapted
from abi.adapting.checkpoint import pack, restore
from abi.adapting.learner import ChampionModel
from abi.adapting.plans import Planning
from abi.adapting.run import Run, conclude
from abi.adapting.stream import Stream, open_stream, whole
from abi.audit.entry import Draft
from abi.data.columns import encode
from abi.data.memory import hold
from abi.documents import document, find
from abi.errors import DataError, UsageError, clip
from abi.families.artifact import Model as NetworkModel
from abi.families.blend import Blend
from abi.problem import Problem, Schema, Snapshot, Split
from abi.report.stream import headline, render_stream
from abi.sections import without_passwords
from abi.types import Attention, Plan
from abi.units import show_seconds
from abi.values import Value
from tasks.data import expect_columns
from tasks.decisions import flow_run, open_ledger
from tasks.monitoring import find_champion
from tasks.patience import insist
from tasks.planning import machine
from tasks.progress import say
from tasks.records import Dataset, Round, RunRecord
from tasks.registration import LEASE_S, connect
from tasks.snapshot import fetch_snapshot, take_snapshot
from tasks.stage import Call, Stage, code_id

if TYPE_CHECKING:
    from abi.data.table import Table
    from abi.families.family import Model
    from tasks.monitoring import Champion

READ: Final = ("adapt", "data", "envelope", "training", "attention", "scoring", "monitor", "seed", "devices")
"""Settings that decide what comes of a stream."""
COLD: Final = "cold"
NOTABLE: Final = 5
SAY_S: Final = 10.0
"""Seconds between two lines on how far it is."""


def take_stream(call: Call, data: str, test: str) -> str:
    """Files, the second one after the first -> id of the Snapshot."""
    remote = call.settings.tracking.remote
    return call.ws.put(take_snapshot(call.ws, Path(data), Path(test) if test else None, remote))


def find_start(call: Call, snapshot: str, target: str) -> str:
    """The champion's version as text, or "cold"; looks at the registry.

    Raises:
        UsageError: the champion learned another target.
        DataError: the stream lacks a column that it needs.
    """
    number = open_ledger(call).aliases(call.name).champion
    if number is None:
        say(f"start     cold: {call.name!r} has no champion")
        return COLD
    champion, held = find_champion(call), find(call.ws.get(snapshot), Snapshot)
    problem = champion.problem
    if problem.schema.target != target:
        msg = f"Expected the target of {call.name!r} version {number}, {clip(problem.schema.target)!r}, got {clip(target)!r}: name it, or another model with --model."
        raise UsageError(msg)
    for table in _tables(call, held):
        expect_columns(problem, table, "the stream")
    if _seen(champion, held) and held.test is None:
        say(
            f"start     cold: version {number} was trained on this very file, so that what it says of its rows proves nothing"
        )
        return COLD
    say(f"start     warm: champion version {number}")
    return str(number)


def adapt(call: Call, snapshot: str, target: str, start: str) -> str:
    """Snapshot, target, where it starts -> Adapted; goes on after the last finished block where it was stopped."""
    ws, config, held = call.ws, call.settings, find(call.ws.get(snapshot), Snapshot)
    operation = _operation(call, snapshot, target, start)
    champion = None if start == COLD else find_champion(call)
    table = hold(pa.concat_tables([whole(t) for t in _tables(call, held)], promote_options="permissive"))
    stream, schema = open_stream(table, target, config)
    planning = Planning(machine(call, _problem(held, schema, config.seed)), config)
    begun = None if champion is None else _warm(champion, stream)
    first = None if champion is None else held.train.rows if _seen(champion, held) else 0
    run = Run(stream, planning, begun, first=first, decided=_enters(call, operation, held.id, start), say=say)
    blocks = _Blocks(call, f"stream-{operation[:32]}.safetensors")
    data = blocks.load()
    if data is not None and restore(run, data):
        say(f"adapt     goes on at row {run.row + 1} of {stream.rows}")
    else:
        run.start()
    _follow(run, blocks)
    found = conclude(run, held.train.sha256, None if champion is None else champion.version.number)
    ws.put(found.attention)
    kept = ws.put(found)
    blocks.clear()
    say(f"adapt     {headline(found)}")
    return kept


def _follow(run: Run, blocks: _Blocks) -> None:
    """Block after block, each kept before the next."""
    told = run.trail.seconds
    while not run.done:
        run.step()
        blocks.save(pack(run))
        if run.trail.seconds - told >= SAY_S:
            told = run.trail.seconds
            say(f"adapt     row {run.row:,} of {run.stream.rows:,}, {show_seconds(told)}")


@dataclass(frozen=True)
class _Blocks:
    """Where a stream stands, after each block. A power failure may cost it; a kill does not."""

    call: Call
    name: str

    @property
    def path(self) -> Path:
        """Its file."""
        return self.call.ws.checkpoints / self.name

    def load(self) -> bytes | None:
        """The last one, or None."""
        return self.path.read_bytes() if self.path.is_file() else None

    def save(self, data: bytes) -> None:
        """Replace it, atomically."""
        self.call.ws.write(self.path, data, durable=False)

    def clear(self) -> None:
        """The stream was followed to its end."""
        self.path.unlink(missing_ok=True)


def _tables(call: Call, snapshot: Snapshot) -> list[Table]:
    return [t for t in fetch_snapshot(call.ws, snapshot, call.settings.tracking.remote) if t is not None]


def _problem(snapshot: Snapshot, schema: Schema, seed: int) -> Problem:
    return Problem(snapshot=snapshot, schema=schema, split=Split(seed=seed, validation=0.0, test=0.0))


def _seen(champion: Champion, snapshot: Snapshot) -> bool:
    """Whether the stream's first file is what it was trained on."""
    return champion.problem.snapshot.train.sha256 == snapshot.train.sha256


def _warm(champion: Champion, stream: Stream) -> ChampionModel:
    """The champion, with all rows as it sees them.

    Raises:
        DataError: it learned numbers where the stream has classes, or the other way round.
    """
    schema = champion.problem.schema
    if (schema.task == "regression") != stream.numeric:
        kinds = ("numbers", "classes") if schema.task == "regression" else ("classes", "numbers")
        msg = f"Expected {kinds[0]} in the target {clip(stream.target)!r} as the champion learned, got {kinds[1]}: set data.task, or name another model with --model."
        raise DataError(msg)
    columns = encode(stream.table, schema, with_target=False)
    return ChampionModel(columns, stream.places(schema), champion.model, _network(champion.model), schema)


def _network(model: Model) -> NetworkModel | None:
    """The network in a model, whose weights are taken over."""
    if isinstance(model, Blend):
        model = model.network
    return model if isinstance(model, NetworkModel) else None


def _operation(call: Call, snapshot: str, target: str, start: str) -> str:
    parts = [call.name, snapshot, target, start, call.settings.digest(*READ), code_id()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _enters(call: Call, operation: str, snapshot: str, start: str) -> Any:
    """What enters each decision in the ledger, once."""

    def enter(made: Adaptation, attention: Attention, plans: dict[str, Plan]) -> None:
        ws, ledger = call.ws, open_ledger(call)
        name = f"adaptation:{operation}:{made.number}"
        values: list[tuple[str, Value]] = [("attention", attention), ("scores", attention.scores)]
        values += [(f"plan:{expert}", plan) for expert, plan in plans.items()]
        for _, value in values:
            ws.put(value)
        if ledger.find(name) is not None:
            return
        before = {f"plan_before:{expert}": plan for expert, plan in made.plans_before.items()}
        if made.attention_before:
            before["attention_before"] = made.attention_before
        heavy = sorted(made.weights.items(), key=lambda item: -item[1])[:NOTABLE]
        detail = {
            "number": made.number, "row": made.row, "causes": list(made.causes), "reasons": list(made.reasons),
            "from_rows": [made.first, made.last], "rows": made.rows, "moved": made.moved, "carried": made.carried,
            "classes": list(made.classes), "predicted": made.predicted.to_json(), "most": dict(heavy), "start": start,
            "envelope": attention_envelope(plans),
        }  # fmt: skip
        ledger.append(
            Draft(
                kind="adaptation",
                model=call.name,
                values={"snapshot": snapshot, **{key: value.id for key, value in values}, **before},
                detail=detail,
                operation=name,
                flow_run=flow_run(),
            )
        )

    return enter


def attention_envelope(plans: dict[str, Plan]) -> dict[str, Any]:
    """The part of the envelope that each expert's plan was held to."""
    return {name: plan.envelope.to_json() for name, plan in plans.items()}


def record_stream(call: Call, data_name: str, snapshot: str, adapted: str) -> str:
    """Adapted -> path of its folder, with `stream.json` and `report.html`; one MLflow run, whoever asks and how often."""
    ws, found, held = call.ws, find(call.ws.get(adapted), Adapted), find(call.ws.get(snapshot), Snapshot)
    start = COLD if found.champion is None else str(found.champion)
    operation = f"stream-{_operation(call, snapshot, found.target, start)[:32]}"  # not of its seconds
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
    ws.write(page, render_stream(found, call.name, data_name, created, facts).encode())
    record = RunRecord(
        operation_id=operation,
        name=call.name,
        run_name=f"{call.name} stream",
        dataset=Dataset(snapshot=held, name=data_name, target=found.target),
        params=without_passwords({**call.settings.recorded(), "adapt": call.settings.adapt.model_dump(mode="json")}),
        metrics=_metrics(found),
        tags={"abi.kind": "stream", "abi.snapshot": held.train.sha256, "abi.code": code_id(), "abi.start": found.start},
        rounds=(_course(found),),
        documents={"values/adapted.json": document(found), "values/attention.json": document(found.attention)},
        files={"report.html": page},
    )

    def store() -> str:
        return connect(call).record_run(record)

    with open_ledger(call).lease(f"record:{operation}", seconds=LEASE_S):
        run_id = insist(store, call.settings.tracking.patience)
    ws.write(folder / "stream.json", json.dumps(result(found, call.name, run_id, page), indent=1).encode())
    say(f"record    MLflow run {run_id}, report {page}")
    return str(folder)


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


TAKE_STREAM = Stage(take_stream, cached=False)
FIND_START = Stage(find_start, named=True, cached=False)
ADAPT = Stage(adapt, sections=READ, named=True)
RECORD_STREAM = Stage(record_stream, named=True, cached=False)
