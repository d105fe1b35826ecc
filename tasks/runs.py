"""What a run recorded, found by its MLflow run id or its registered version: in this workspace, or in MLflow's artifacts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abi.audit.record import RunRecord
from abi.documents import read_document
from abi.errors import AuditBroken, UsageError, WorkspaceError
from abi.monitored import Drift
from abi.outcomes import Conditions, Evaluation, Move
from abi.values import Value
from tasks.model_registry import ALIASES
from tasks.tracking import Tracking
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from abi.audit.entry import Entry
    from abi.config import Config

VERSION = re.compile(rf"(?:models:/)?(?P<name>[^/]+)(?:/(?P<version>[0-9]{{1,18}})|[/@](?P<alias>{'|'.join(ALIASES)}))")
RUN_ID = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True)
class _Known:
    """A run and what is known of where its values lie."""

    run_id: str
    name: str
    version: int | None
    ids: Mapping[str, str]


def load_run(ws: Workspace, config: Config, reference: str) -> RunRecord:
    """Everything that a run recorded.

    Args:
        ws: workspace to look in first.
        config: where MLflow is.
        reference: run id or its beginning, ``NAME/VERSION``, ``NAME/ALIAS`` or the same after ``models:/``.

    Raises:
        UsageError: no such run, or several.
        AuditBroken: a recorded value has other content than when it was recorded.
        TrackingError: MLflow does not answer.
    """
    known = _find(ws, config, reference)
    values = _values(ws, config, known)
    moves = [values[name] for name in sorted((n for n in values if n.startswith("round-")), key=_number)]
    evaluation, conditions = values["evaluation"], values.get("conditions")
    if not moves or not isinstance(evaluation, Evaluation):
        msg = f"Expected the rounds and the evaluation of run {known.run_id}, got {', '.join(sorted(values))}: it is no run of `abi run`."
        raise UsageError(msg)
    return RunRecord(
        run_id=known.run_id,
        name=known.name,
        version=known.version,
        checks=values["checks"],
        evaluation=evaluation,
        control=values["control"],
        moves=tuple(move for move in moves if isinstance(move, Move)),
        conditions=conditions if isinstance(conditions, Conditions) else None,
    )


def run_id_of(ws: Workspace, config: Config, reference: str) -> str:
    """The whole id of the run that `load_run` would read.

    Raises:
        UsageError: no such run, or several.
        TrackingError: MLflow does not answer.
    """
    return _find(ws, config, reference).run_id


def is_reference(text: str) -> bool:
    """Whether a run may be called so."""
    return bool(VERSION.fullmatch(text) or RUN_ID.fullmatch(text))


def newest_run(ws: Workspace, config: Config) -> RunRecord | None:
    """The run that was recorded last in this workspace; None where there is none."""
    written = [(path.stat().st_mtime_ns, str(path)) for path in ws.runs.glob("*/run.json")]
    if not written:
        return None
    return load_run(ws, config, _known(Path(max(written)[1])).run_id)


def ledger_entries(ws: Workspace, config: Config, run: RunRecord) -> list[Entry]:
    """Entries of the ledger about the run's model, in order; none where there is no ledger yet."""
    from tasks.ledger import Ledger

    ledger = Ledger.look(ws, config.audit)
    return list(ledger.entries(model=run.name)) if ledger.exists() else []


def drifts_of(ws: Workspace, entries: list[Entry]) -> dict[str, Drift]:
    """What the ledger's looks at new rows found, by value id, as far as this workspace has it."""
    ids = [entry.values.get("drift", "") for entry in entries if entry.kind == "drift"]
    found = {value_id: ws.get(value_id) for value_id in ids if ws.has(value_id)}
    return {value_id: value for value_id, value in found.items() if isinstance(value, Drift)}


def unknown_to_ledger(run: RunRecord, entries: list[Entry]) -> list[str]:
    """Values of the run that the ledger has no entry of, where it has any of this run's."""
    wanted = {"evaluation": run.evaluation.id, "control": run.control.id}
    wanted |= {f"move {i}": move.id for i, move in enumerate(run.moves, 1)}
    entered = {value for entry in entries for value in entry.values.values()}
    missing = [name for name, value_id in wanted.items() if value_id not in entered]
    return missing if len(missing) < len(wanted) or any(e.mlflow_run == run.run_id for e in entries) else []


def _find(ws: Workspace, config: Config, reference: str) -> _Known:
    """The run in the workspace, or else in MLflow."""
    named = VERSION.fullmatch(reference)
    if named is None and not RUN_ID.fullmatch(reference):
        msg = f"Expected a run id of at least 4 digits, NAME/VERSION or NAME/ALIAS, got {reference!r}: `abi run --json` prints run_id and model."
        raise UsageError(msg)
    here = [_known(path) for path in sorted(ws.runs.glob("*/run.json"))]
    if named is not None:
        name = named["name"]
        version = int(named["version"]) if named["alias"] is None else _meant(ws, config, reference)
        found = [k for k in here if (k.name, k.version) == (name, version)]
        if not found:
            run_id = Tracking.open(ws, config.tracking).run_of(name, version)
            found = [] if run_id is None else [_Known(run_id, name, version, {})]
    else:
        found = [k for k in here if k.run_id.startswith(reference)]
        if not found:
            tracked = Tracking.open(ws, config.tracking).recorded(reference)
            found = [_Known(r.run_id, r.name, r.version, {}) for r in tracked]
    if len(found) != 1:
        msg = f"Expected one run {reference!r} in {ws.root} or MLflow, got {len(found)}: take the run_id that `abi run --json` printed, or name its --workspace."
        raise UsageError(msg)
    return found[0]


def _meant(ws: Workspace, config: Config, reference: str) -> int:
    """The version that an alias stands for."""
    from tasks.registered import resolve
    from tasks.stage import Call

    return resolve(Call.of(ws, "", config), Tracking.open(ws, config.tracking), reference).version


def _known(path: Path) -> _Known:
    try:
        result = json.loads(path.read_bytes())
        model = result["model"]
        return _Known(str(result["run_id"]), str(model["name"]), int(model["version"]), dict(result.get("values", {})))
    except (ValueError, KeyError, TypeError):
        raise AuditBroken(_changed("run.json", str(path))) from None


def _values(ws: Workspace, config: Config, known: _Known) -> dict[str, Any]:
    """The recorded values by name: from the workspace where it has them all, else from MLflow."""
    if known.ids and all(ws.has(value_id) for value_id in known.ids.values()):
        return {name: _held(ws, name, value_id) for name, value_id in known.ids.items()}
    documents = Tracking.open(ws, config.tracking).documents(known.run_id)
    values = {name: _read(name, plain) for name, plain in documents.items()}
    if "adapted" in values:
        msg = f"Expected a run of `abi run`, got {known.name}/{known.version}, which `abi adapt` registered: `abi audit ls --model {known.name} --kind adaptation` lists its decisions, and its report tells them."
        raise UsageError(msg)
    lacking = [name for name in ("checks", "evaluation", "control") if name not in values]
    if lacking:
        msg = f"Expected the values that run {known.run_id} recorded in {ws.values} or in MLflow, got none of {', '.join(lacking)}: name the --workspace or the tracking.uri that it was recorded in."
        raise UsageError(msg)
    for name, value_id in known.ids.items():
        if name in values and values[name].id != value_id:
            raise AuditBroken(_changed(name, f"MLflow's artifacts of run {known.run_id}"))
    return values


def _held(ws: Workspace, name: str, value_id: str) -> Value:
    try:
        return ws.get(value_id)
    except WorkspaceError:
        raise AuditBroken(_changed(name, str(ws.values / f"{value_id}.json"))) from None


def _read(name: str, plain: object) -> Value:
    try:
        return read_document(plain)
    except UsageError:
        raise AuditBroken(_changed(name, f"MLflow's artifact values/{name}.json")) from None


def _changed(name: str, place: str) -> str:
    return f"Expected the value {name!r} as it was recorded, got other content in {place}: the record was changed or damaged; restore it from a copy."


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
