"""Stages: take a stream, adapt along it. What is decided on the way enters the ledger as it is decided."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from abi.adapted import Adaptation, Adapted
from abi.adapting.checkpoint import pack, restore
from abi.adapting.ending import end, obstacle
from abi.adapting.learner import ChampionModel
from abi.adapting.plans import Planning
from abi.adapting.run import Run, conclude
from abi.adapting.stream import Stream, expect_scored, open_stream
from abi.audit.entry import Draft
from abi.data.columns import encode
from abi.data.memory import hold
from abi.documents import find
from abi.errors import DataError, UsageError, clip
from abi.families.artifact import Model as NetworkModel
from abi.families.blend import Blend
from abi.families.mixture import Mixture
from abi.outcomes import Trained
from abi.problem import Problem, Schema, Snapshot, Split
from abi.report.stream import headline
from abi.types import Attention, Plan
from abi.units import show_seconds
from abi.values import Value
from tasks.data import expect_columns
from tasks.decisions import flow_run, open_ledger
from tasks.models import has_files, keep_model
from tasks.monitoring import find_champion
from tasks.planning import machine
from tasks.progress import say
from tasks.snapshot import take_snapshot
from tasks.stage import Call, Stage, code_id
from tasks.streams import fetcher, joined, learned_rows, stream_files

if TYPE_CHECKING:
    from abi.families.family import Model
    from tasks.monitoring import Champion

READ: Final = (
    "adapt",
    "data",
    "checks.no_time",
    "envelope",
    "training",
    "attention",
    "scoring",
    "monitor",
    "seed",
    "devices",
)
"""Settings that decide what comes of a stream."""
COLD: Final = "cold"
NOTABLE: Final = 5
SAY_S: Final = 10.0
"""Seconds between two lines on how far it is."""
KEEP_S: Final = 5.0
"""Seconds of work that a kill may cost: what is kept grows with the rows, so that each block is not worth it."""


def take_stream(call: Call, data: str, test: str) -> str:
    """Files, the second one after the first -> id of the Snapshot.

    Raises:
        UsageError: the settings name pretrained encoders.
    """
    if call.settings.data.encoders:
        msg = f"Expected no data.encoders where a stream is followed, got {', '.join(map(repr, call.settings.data.encoders))}: leave them out; `abi run` learns with pretrained encoders."
        raise UsageError(msg)
    asked = {"data.series": call.settings.data.series, "data.roles": call.settings.data.roles}
    if unused := [name for name, value in asked.items() if value is not None]:
        say(
            f"adapt     nothing is derived by {' and '.join(unused)} along a stream, which has lags, shares and changes of its own (adapt.lags, adapt.recent, adapt.halves)"
        )
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
    champion, held = find_champion(call, number), find(call.ws.get(snapshot), Snapshot)
    problem = champion.problem
    if champion.along is not None and problem.snapshot == held and problem.schema.target == target:
        begun = COLD if champion.along.champion is None else str(champion.along.champion)
        whence = "cold" if begun == COLD else f"with version {begun}"
        say(f"start     {whence}, as champion version {number} began, which has followed this very stream")
        return begun
    if problem.schema.target != target:
        msg = f"Expected the target of {call.name!r} version {number}, {clip(problem.schema.target)!r}, got {clip(target)!r}: name it, or another model with --model."
        raise UsageError(msg)
    if problem.schema.derivation is not None:
        say(f"start     cold: version {number} reads columns that are derived from earlier rows, which no stream has")
        return COLD
    files = stream_files(call, held)
    for one in files:
        expect_columns(problem, one.stored, "the stream")
    if learned_rows(files, champion, fetcher(call, champion)) == sum(len(one.numbers) for one in files):
        rows = "this very file" if held.test is None else "these very files"
        say(f"start     cold: version {number} learned from {rows}, so that what it says of its rows proves nothing")
        return COLD
    say(f"start     warm: champion version {number}")
    return str(number)


def adapt(call: Call, snapshot: str, target: str, start: str) -> str:
    """Snapshot, target, where it starts -> Adapted; goes on after the last block that was kept where it was stopped."""
    ws, config, held = call.ws, call.settings, find(call.ws.get(snapshot), Snapshot)
    operation = operation_of(call, snapshot, target, start)
    champion = None if start == COLD else find_champion(call, int(start))
    files = stream_files(call, held)
    stream, schema = open_stream(hold(joined(files)), target, config)
    planning = Planning(machine(call, _problem(held, schema, config.seed)), config)
    first = None if champion is None else learned_rows(files, champion, fetcher(call, champion))
    begun = None if champion is None else _warm(champion, stream, first or 0)
    run = Run(stream, planning, begun, first=first, decided=_enters(call, operation, held.id, start), say=say)
    expect_scored(stream, run.begin)
    blocks = _Blocks(call, f"stream-{operation[:32]}.safetensors")
    data = blocks.load()
    if data is not None and restore(run, data):
        say(f"adapt     goes on at row {run.row + 1} of {stream.rows}")
    else:
        run.start()
    _follow(run, blocks)
    if run.learner.own is None:
        msg = f"Expected labels of two classes at least to arrive in the first {stream.rows} rows after the warm-up, got none or one: nothing was learned, so nothing is registered; give more rows, or lower adapt.warmup or adapt.label_delay."
        raise DataError(msg)
    run.finish()
    number = None if champion is None else champion.version.number
    found = _kept(call, run, held, conclude(run, held.train.sha256, number))
    ws.put(found.attention)
    kept = ws.put(found)
    blocks.clear()
    say(f"adapt     {headline(found)}")
    return kept


def _kept(call: Call, run: Run, snapshot: Snapshot, found: Adapted) -> Adapted:
    """Keep the learner as a model, signed; gives the value that says so."""
    why = obstacle(run)
    if why:
        return replace(found, obstacle=why)
    ended = end(run, snapshot, found.champion)
    keep_model(call, ended.model, ended.model.artifact)
    return replace(found, evaluation=call.ws.put(ended.evaluation), reference=call.ws.put(ended.reference))


def _still_there(call: Call, adapted: str) -> bool:
    """Whether a finished stream's value is in the workspace, and its model."""
    ws = call.ws
    if not ws.has(adapted):
        return False
    found = find(ws.get(adapted), Adapted)
    if not found.evaluation:
        return bool(found.obstacle)
    return (
        ws.has(found.reference)
        and ws.has(found.evaluation)
        and has_files(ws, find(ws.get(found.evaluation), Trained).artifact)
    )


def _follow(run: Run, blocks: _Blocks) -> None:
    """Block after block; where it stands is kept after the first, and from then on as often as a kill may cost seconds."""
    told, kept = run.trail.seconds, -KEEP_S
    while not run.done:
        run.step()
        if run.trail.seconds - kept >= KEEP_S:
            blocks.save(pack(run))
            kept = run.trail.seconds
        if run.trail.seconds - told >= SAY_S:
            told = run.trail.seconds
            say(f"adapt     row {run.row:,} of {run.stream.rows:,}, {show_seconds(told)}")


@dataclass(frozen=True)
class _Blocks:
    """Where a stream stands, every few blocks. A power failure may cost it; a kill does not."""

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


def _problem(snapshot: Snapshot, schema: Schema, seed: int) -> Problem:
    return Problem(snapshot=snapshot, schema=schema, split=Split(seed=seed, validation=0.0, test=0.0))


def _warm(champion: Champion, stream: Stream, first: int) -> ChampionModel:
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
    measured = champion.trained.measured
    cost = measured if champion.latency_s is None else replace(measured, latency_s=champion.latency_s)
    return ChampionModel(columns, stream.places(schema), champion.model, _network(champion.model), schema, first, cost)


def _network(model: Model) -> NetworkModel | None:
    """The network in a model, whose weights are taken over."""
    if isinstance(model, Blend):
        model = model.network
    if isinstance(model, Mixture):
        return _network(model.parts["network"]) if "network" in model.parts else None
    return model if isinstance(model, NetworkModel) else None


def operation_of(call: Call, snapshot: str, target: str, start: str) -> str:
    """Names one stream, followed from one start by one version of the code: who asks again means the same."""
    resamples = call.settings.evaluation.resamples
    parts = [call.name, snapshot, target, start, call.settings.digest(*READ), resamples, code_id()]
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


TAKE_STREAM = Stage(take_stream, cached=False)
FIND_START = Stage(find_start, named=True, cached=False)
ADAPT = Stage(adapt, sections=(*READ, "evaluation.resamples"), named=True, kept=_still_there)
