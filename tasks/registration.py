"""One version for one operation, its artifact held against its signature, entered in the ledger; and what mends a broken one.

The order is: MLflow's run, model and version (`tasks.tracking`), the artifact fetched and verified, the ledger's entry, the
aliases. Only what has an entry can be promoted. Whatever stops in between is mended, or put in quarantine, by `reconcile`.
Several ledgers may record in one MLflow: runs, versions and aliases of another one are left alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from abi.adapted import Adapted
from abi.audit.entry import Aliases, Draft, Entry
from abi.data.scratch import scratch_folder
from abi.documents import read_document
from abi.errors import AbiError, ArtifactRefused, TrackingError, UsageError, listed
from abi.outcomes import Evaluation
from abi.problem import Checks
from abi.values import Value
from tasks import model_registry
from tasks.decisions import flow_run, ids, open_ledger, outcome
from tasks.ledger import Ledger
from tasks.mlflow_runs import LEDGER, QUARANTINED, STATE, may_be_of
from tasks.model_registry import ALIASES, Version
from tasks.patience import insist
from tasks.progress import say
from tasks.records import Record, Recorded
from tasks.stage import Call
from tasks.tracking import Tracking

LEASE_S = 120.0


def connect(call: Call) -> Tracking:
    """MLflow, as the settings name it."""
    return Tracking.open(call.ws, call.settings.tracking, call.settings.signing)


def register(call: Call, record: Record) -> Recorded:
    """Record an operation in MLflow and enter its version in the ledger; whatever is there of it is used.

    Raises:
        TrackingError: MLflow did not answer for as long as the settings wait; nothing is promotable then.
        ArtifactRefused: what MLflow stored is not what was sent; the version is in quarantine.
    """
    config = call.settings.tracking
    tagged = replace(record, tags={**record.tags, LEDGER: open_ledger(call).id})

    def once() -> Recorded:
        tracking = connect(call)
        recorded = tracking.record(tagged)
        version = model_registry.find_version(tracking, recorded.name, recorded.version)
        enter(call, tracking, version)
        project(call, tracking, version.name)
        return recorded

    with open_ledger(call).lease(f"record:{record.operation_id}", seconds=LEASE_S):
        return insist(once, config.patience)


def enter(call: Call, tracking: Tracking, version: Version) -> Entry:
    """Verify what MLflow stored for a version and enter it in the ledger as the challenger.

    Raises:
        ArtifactRefused: it is not what was signed; the version is in quarantine.
    """
    ledger = open_ledger(call)
    assert version.operation is not None
    if is_barred(ledger, version):
        msg = f"Expected a version that may be used, got {version.number} of {version.name!r}, which is in quarantine: train it again with `abi run`."
        raise ArtifactRefused(msg)
    for operation in _operations(version):
        entry = ledger.find(operation)
        if entry is None:
            break
        if _names(entry, version) or is_there(tracking, entry):
            return entry
    try:
        with scratch_folder(call.ws.root) as folder:
            tracking.fetch(version.uri, folder / "model")
        contents = _contents(tracking, version)
    except ArtifactRefused as refused:
        if _may_be_anothers(version, refused):
            raise
        quarantine(call, tracking, version, str(refused))
        raise
    draft = Draft(
        kind="registration",
        model=version.name,
        operation=operation,
        flow_run=flow_run(),
        mlflow_run=version.run_id,
        **contents,
    )
    return ledger.change(draft, lambda now: replace(now, challenger=version.number))


def _operations(version: Version) -> tuple[str, str]:
    """What the entry of a version is named, and what it is where MLflow has lost the version that was entered before."""
    first = f"registration:{version.operation}"
    return first, f"{first}:{version.run_id}"


def _names(entry: Entry, version: Version) -> bool:
    return (entry.detail["version"], entry.mlflow_run) == (version.number, version.run_id)


def entry_of(ledger: Ledger, version: Version) -> Entry | None:
    """The registration of that very version."""
    found = [] if version.operation is None else [ledger.find(operation) for operation in _operations(version)]
    return next((entry for entry in found if entry is not None and _names(entry, version)), None)


def newest(ledger: Ledger, model: str, operation: str) -> Entry | None:
    """The last registration of an operation; only where MLflow has lost a version are there several."""
    if ledger.find(f"registration:{operation}") is None:
        return None
    entries = ledger.entries(kinds=("registration",), model=model)
    return [entry for entry in entries if entry.detail["operation_id"] == operation][-1]


def is_there(tracking: Tracking, entry: Entry) -> bool:
    """Whether MLflow has the version of a registration, and not in quarantine."""
    known = model_registry.versions(tracking, entry.model)
    return any(_names(entry, version) and not version.quarantined for version in known)


def is_barred(ledger: Ledger, version: Version) -> bool:
    """Whether a version is in quarantine, by its tag or by the ledger alone."""
    entry = ledger.find(f"quarantine:{version.name}:{version.number}")
    return version.quarantined or (entry is not None and entry.mlflow_run == version.run_id)


def _may_be_anothers(version: Version, refused: ArtifactRefused) -> bool:
    """Whether a refused version is perhaps in order for another ledger: an earlier release tagged none."""
    return refused.untrusted and LEDGER not in version.tags


def _contents(tracking: Tracking, version: Version) -> dict[str, Any]:
    """Values and detail of a registration, from what the run recorded in MLflow: the same whoever enters it.

    Raises:
        ArtifactRefused: a value is damaged, or one is missing.
    """
    documents = tracking.documents(version.run_id)
    try:
        recorded = {name: read_document(plain) for name, plain in documents.items()}
    except UsageError as error:
        msg = f"Expected the values of run {version.run_id} as they were recorded, got damaged ones: {error}"
        raise ArtifactRefused(msg) from None
    evaluation, checks = recorded.get("evaluation"), recorded.get("checks")
    if not (isinstance(evaluation, Evaluation) and isinstance(checks, Checks)):
        msg = f"Expected evaluation and checks among the values of run {version.run_id}, got {listed(sorted(recorded)) or 'none'}: train it again with `abi run`."
        raise ArtifactRefused(msg)
    tags = {key.removeprefix("abi."): value for key, value in version.tags.items() if key.startswith("abi.")}
    return {
        "values": {**ids(evaluation), **{name: value.id for name, value in recorded.items()}},
        "detail": {
            "name": version.name,
            "version": version.number,
            "uri": version.uri,
            "operation_id": version.operation,
            "snapshot_sha256": checks.problem.snapshot.train.sha256,
            "settings": tags.get("settings", ""),
            "code": tags.get("code", ""),
            "family": evaluation.trained.family,
            "status": "completed",
            **outcome(evaluation),
            **_stream(recorded.get("adapted"), evaluation),
        },
    }


def _stream(adapted: Value | None, evaluation: Evaluation) -> dict[str, Any]:
    """Of a version that followed a stream: what it began with, and the decisions that it went through."""
    if not isinstance(adapted, Adapted) or evaluation.along is None:
        return {}
    made = [
        {"number": a.number, "row": a.row, "causes": list(a.causes), "attention": a.attention, "plans": a.plans}
        for a in adapted.adaptations
    ]
    return {"along": {**evaluation.along.to_json(), "made": made}}


def quarantine(call: Call, tracking: Tracking, version: Version, reason: str) -> None:
    """Nobody promotes this version: marked in MLflow, and said in the ledger."""
    model_registry.mark(tracking, version, STATE, QUARANTINED)
    draft = Draft(
        kind="quarantine",
        model=version.name,
        operation=f"quarantine:{version.name}:{version.number}",
        mlflow_run=version.run_id,
        detail={"version": version.number, "reason": reason, "operation_id": version.operation},
    )
    open_ledger(call).change(draft, lambda now: _without(now, version.number))
    say(f"registry  version {version.number} of {version.name!r} is in quarantine: {reason}")


def _without(aliases: Aliases, number: int) -> Aliases:
    """A version in quarantine challenges nobody, and nobody goes back to it; a champion is only replaced by a decision."""
    return replace(
        aliases,
        challenger=None if aliases.challenger == number else aliases.challenger,
        previous=None if aliases.previous == number else aliases.previous,
    )


def project(call: Call, tracking: Tracking, model: str) -> None:
    """Let MLflow's aliases say what the ledger says now; who comes last looks again, so the newest decision stays.

    Where another ledger holds one of them, all stay as they are.
    """
    ledger = open_ledger(call)
    while True:
        others = held_by_others(ledger, tracking, model)
        if others:
            said = ", ".join(f"{alias} on version {number}" for alias, number in others.items())
            say(f"registry  aliases of {model!r} in MLflow are another ledger's ({said}) and stay as they are")
            return
        wanted = ledger.aliases(model)
        gone = model_registry.point(tracking, model, wanted)
        if ledger.aliases(model).seq == wanted.seq:
            break
    for alias, version in gone.items():
        remedy = ": promote another version, or roll back" if alias == "champion" else ""
        say(f"registry  version {version} of {model!r}, {alias} by the ledger, is not in MLflow any more{remedy}")


def held_by_others(ledger: Ledger, tracking: Tracking, model: str) -> dict[str, int]:
    """Aliases in MLflow that stand for a version of another ledger."""
    ours, found = ledger.aliases(model), tracking.aliases(model)
    there = {alias: int(found[alias]) for alias in ALIASES if alias in found}
    moved = {alias: number for alias, number in there.items() if number != getattr(ours, alias)}
    if not moved:
        return {}
    known = {version.number: version for version in model_registry.versions(tracking, model)}
    return {alias: n for alias, n in moved.items() if n in known and not is_ours(ledger, known[n])}


def is_ours(ledger: Ledger, version: Version) -> bool:
    """Whether a version is not another ledger's; one that an earlier release made is of the ledger that has it entered."""
    if version.operation is None or LEDGER in version.tags:
        return may_be_of(ledger.id, version.tags)
    return entry_of(ledger, version) is not None


def reconcile(call: Call, tracking: Tracking, model: str) -> Mapping[str, list[int]]:
    """Mend what was left half-done of a model: runs, versions, aliases. Gives what was done, by verb.

    A version without an entry is verified, and entered or put in quarantine; of several for one operation the one that
    has an entry stays, or else the first; runs that nobody is at work on any more are marked as failed; aliases follow
    the ledger. What other ledgers recorded is none of its business.
    """
    ledger = open_ledger(call)
    done: dict[str, list[int]] = {"entered": [], "removed": [], "quarantined": [], "left": []}
    found = [v for v in model_registry.versions(tracking, model) if may_be_of(ledger.id, v.tags)]
    there = {(version.number, version.run_id) for version in found if not version.quarantined}
    registrations = ledger.entries(kinds=("registration",), model=model)
    entered = [e.detail for e in registrations if (e.detail["version"], e.mlflow_run) in there]
    kept: dict[str, int] = {detail["operation_id"]: detail["version"] for detail in entered}
    for version in found:
        if version.operation is None or version.quarantined:
            continue
        if kept.get(version.operation) != version.number and not is_barred(ledger, version):
            with ledger.lease(f"record:{version.operation}", seconds=LEASE_S) as mine:
                if mine:  # else its run is still at work
                    verb = _settle(call, tracking, version, kept.setdefault(version.operation, version.number))
                    done[verb].append(version.number)
                    if verb in ("quarantined", "left"):  # another one of its operation may be in order
                        del kept[version.operation]
    _end_runs(call, tracking, model)
    if ledger.aliases(model).seq:
        project(call, tracking, model)
    for verb, numbers in done.items():
        if numbers and verb != "quarantined":  # that has been said
            why = "which no key that is trusted here signed" if verb == "left" else "which a stopped run had left"
            say(f"registry  {verb} version {', '.join(map(str, numbers))} of {model!r}, {why}")
    return done


def _settle(call: Call, tracking: Tracking, version: Version, kept: int) -> str:
    """What becomes of a version that has no entry; `kept` is the one of its operation that stays."""
    if version.number != kept:
        model_registry.remove(tracking, version)
        return "removed"
    try:
        enter(call, tracking, version)
    except (ArtifactRefused, TrackingError) as error:
        if isinstance(error, TrackingError) and error.transient:
            raise
        if isinstance(error, ArtifactRefused) and _may_be_anothers(version, error):
            return "left"
        if not isinstance(error, ArtifactRefused):  # what it recorded cannot be read
            quarantine(call, tracking, version, str(error))
        return "quarantined"
    return "entered"


def _end_runs(call: Call, tracking: Tracking, model: str) -> None:
    ledger = open_ledger(call)
    for operation in tracking.open_operations(model, ledger.id):
        with ledger.lease(f"record:{operation}", seconds=LEASE_S) as mine:
            if mine and ledger.find(f"registration:{operation}") is None:
                tracking.fail(operation, "it stopped before its model was registered", ledger.id)


def registered(call: Call, operation: str) -> Entry | None:
    """The registration of an operation, where its version can be used; of what MLflow does not say it is believed.

    What stopped processes left behind is mended, if MLflow answers now: who asks for a finished run does not wait for it.
    """
    ledger, tracking = open_ledger(call), None
    if ledger.find(f"registration:{operation}") is None:
        return None
    try:
        tracking = connect(call)
        reconcile(call, tracking, call.name)
    except AbiError as error:
        say(f"registry  what a stopped run left could not be mended: {error}")
    entry = newest(ledger, call.name, operation)
    assert entry is not None
    with contextlib.suppress(TrackingError):
        if tracking is not None and not is_there(tracking, entry):
            return None
    return entry


def reconciled(call: Call) -> Tracking:
    """MLflow, with what stopped runs of the model left behind mended as far as it answers."""
    tracking = insist(lambda: connect(call), call.settings.tracking.patience)
    try:
        reconcile(call, tracking, call.name)
    except AbiError as error:
        if isinstance(error, TrackingError):
            raise
        say(f"registry  what a stopped run left could not be mended: {error}")
    return tracking
