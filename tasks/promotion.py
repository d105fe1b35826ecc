"""Who is champion: promotion past the gates, and the way back. The ledger decides; MLflow's aliases follow.

A decision names the entry that it was based on. Where another one has set the champion since, it gets a conflict and
nothing changes (compare and set), however many decide at the same time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from abi.audit.entry import Aliases, Draft, Entry
from abi.errors import GateFailed, TrackingError, UsageError, clip, listed
from abi.evaluation.gates import GateResult, Gates
from tasks.decisions import flow_run, open_ledger
from tasks.gates import examine
from tasks.ledger import Ledger
from tasks.model_registry import Version, find_version, versions
from tasks.progress import say
from tasks.registration import entry_of, held_by_others, is_ours, project, reconciled
from tasks.stage import Call
from tasks.tracking import Tracking


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What came of it: the gates, and the entry that made the version champion (None where they did not let it)."""

    gates: Gates
    entry: Entry | None
    aliases: Aliases

    def demand(self) -> None:
        """Stop where a gate did not let the version pass.

        Raises:
            GateFailed: names the gates.
        """
        failed = self.gates.failed
        if failed:
            first = failed[0]
            names = ", ".join(r.name for r in failed)
            msg = f"Expected version {self.gates.version} of {self.gates.model!r} to pass every gate, got {len(failed)} that failed ({names}): {first.name} expected {first.expected}, got {first.got}. The champion stays."
            raise GateFailed(msg)


def promote(
    call: Call, version: int | None, *, data: Path | None = None, approve: bool = False, reason: str | None = None
) -> Promotion:
    """Make a version champion if it passes its gates.

    Args:
        call: workspace, model and settings.
        version: the candidate; the challenger where None.
        data: fresh rows with the target to compare on; the candidate's held-out rows where None.
        approve: waive the gates that may be approved (`gates.approvable`); asks for a reason.
        reason: why; recorded with who and when.

    Raises:
        UsageError: there is no such version, or none that may be promoted.
        PromotionConflict: another promotion came first.
        ArtifactRefused: the version's files are not what was signed.
    """
    if approve and not (reason or "").strip():
        msg = "Expected --reason TEXT beside --approve, got none: say why the gates are waived."
        raise UsageError(msg)
    ledger, tracking = open_ledger(call), reconciled(call)
    aliases = ledger.aliases(call.name)
    candidate = _promotable(ledger, tracking, call.name, aliases.challenger if version is None else version)
    registered = entry_of(ledger, candidate)
    assert registered is not None
    if candidate.number == aliases.champion:
        msg = f"Expected a version that is not champion yet, got {candidate.number}, which is: nothing is to be done."
        raise UsageError(msg)
    gates = examine(call, tracking, candidate, aliases, data)
    if approve:
        gates = replace(gates, results=tuple(_waive(r, call.settings.gates.approvable) for r in gates.results))
    held = _enter_gates(ledger, call, gates, registered)
    if gates.failed:
        return Promotion(gates=gates, entry=None, aliases=aliases)
    waived = [r.name for r in gates.results if r.waived]
    if waived:
        detail = {"version": candidate.number, "waived": waived, "reason": reason, "gates": held.seq}
        ledger.append(_draft("approval", call, registered, detail))
    detail = {"version": candidate.number, "gates": held.seq, "reason": reason, "waived": waived}
    entry = ledger.change(
        _draft("promotion", call, registered, detail),
        lambda now: promoted(now, candidate.number),
        expected=gates.champion_seq,
    )
    follow(call, tracking, entry)
    return Promotion(gates=gates, entry=entry, aliases=ledger.aliases(call.name))


def rollback(call: Call, reason: str) -> Entry:
    """Put the champion before back: its model, and with it the attention and plan that the entry names.

    Champions that MLflow has no more are passed over; the entry names them.

    Raises:
        UsageError: there is no champion before, or no reason.
        ArtifactRefused: the files of that version are not what was signed; the champion stays.
    """
    if not reason.strip():
        msg = "Expected --reason TEXT, got an empty one: say why the champion goes."
        raise UsageError(msg)
    ledger, tracking = open_ledger(call), reconciled(call)
    aliases = ledger.aliases(call.name)
    if aliases.previous is None:
        msg = f"Expected a champion of {call.name!r} before the present one ({aliases.champion or 'none'}), found none: there is nothing to go back to."
        raise UsageError(msg)
    there = {version.number for version in versions(tracking, call.name)}
    way = [n for n in (aliases.previous, *earlier(ledger, call.name, aliases.previous)) if n != aliases.champion]
    number = next((n for n in way if n in there), None)
    passed_over = way if number is None else way[: way.index(number)]
    gone = ", ".join(map(str, passed_over))
    if number is None:
        msg = f"Expected a champion of {call.name!r} before the present one ({aliases.champion or 'none'}) that MLflow still has, got {f'only version {gone}, deleted there' if gone else 'none'}: promote another version."
        raise UsageError(msg)
    back = _promotable(ledger, tracking, call.name, number)
    with tempfile.TemporaryDirectory() as place:
        tracking.fetch(back.uri, Path(place) / "model")
    registered = entry_of(ledger, back)
    assert registered is not None
    detail: dict[str, object] = {"version": back.number, "rolled_back": aliases.champion, "reason": reason}
    if passed_over:
        say(f"registry  version {gone} of {call.name!r}, champion before, is not in MLflow any more: passed over")
        detail["passed_over"] = passed_over
    entry = ledger.change(
        _draft("rollback", call, registered, detail),
        lambda now: rolled_back(now, back.number, before(ledger, call.name, back.number)),
        expected=aliases.champion_seq,
    )
    follow(call, tracking, entry)
    return entry


def promoted(now: Aliases, version: int) -> Aliases:
    """The aliases once a version is champion."""
    challenger = None if now.challenger == version else now.challenger
    return replace(now, champion=version, previous=now.champion, challenger=challenger)


def rolled_back(now: Aliases, version: int, previous: int | None) -> Aliases:
    """The aliases once an earlier champion is back; `previous` is the champion before that one."""
    return replace(now, champion=version, previous=previous)


def before(ledger: Ledger, model: str, version: int) -> int | None:
    """The champion to go back to from `version`, which is gone back to now."""
    return next(iter(earlier(ledger, model, version)), None)


def earlier(ledger: Ledger, model: str, version: int) -> list[int]:
    """The champions before `version`, the last first: promotions put one on top, ways back take it off."""
    champions = list[int]()
    for entry in ledger.entries(kinds=("promotion", "rollback"), model=model):
        if entry.kind == "promotion":
            champions.append(entry.detail["version"])
        else:
            _drop_to(champions, entry.detail["version"])
    _drop_to(champions, version)
    del champions[-1:]
    barred = {entry.detail["version"] for entry in ledger.entries(kinds=("quarantine",), model=model)} | {version}
    return [number for number in dict.fromkeys(reversed(champions)) if number not in barred]


def _drop_to(champions: list[int], version: int) -> None:
    """Take off the present champion and what else lies on `version`."""
    del champions[-1:]
    while champions and champions[-1] != version:
        del champions[-1]


def follow(call: Call, tracking: Tracking, entry: Entry) -> None:
    """Let MLflow's aliases follow a decision; where MLflow does not answer, the decision stands and they follow later.

    Raises:
        TrackingError: says so.
    """
    try:
        project(call, tracking, call.name)
    except TrackingError as error:
        msg = f"Expected MLflow's aliases to follow entry {entry.seq} of the ledger, which stands, but: {error} They follow with the next command."
        raise TrackingError(msg, transient=error.transient) from error


def _promotable(ledger: Ledger, tracking: Tracking, model: str, number: int | None) -> Version:
    known = sorted({*ledger.models(), *tracking.models()})
    if model not in known:
        msg = f"Expected a registered model, got {clip(model)!r}: {f'choose among {listed(known)}' if known else 'train one with `abi run`'}."
        raise UsageError(msg)
    if number is None:
        msg = f"Expected a challenger of {model!r}, found none: name a version with --version, or run `abi run` first."
        raise UsageError(msg)
    version = find_version(tracking, model, number)
    others = held_by_others(ledger, tracking, model)
    if others or not is_ours(ledger, version):
        got = next((f"{alias} on version {n}" for alias, n in others.items()), f"version {number}")
        msg = f"Expected versions and aliases of {model!r} of this workspace's ledger, got {got} of another one: promote with that ledger (audit.url) or train under another --name; where it is gone for good, delete its aliases in MLflow."
        raise UsageError(msg)
    if version.quarantined:
        msg = f"Expected a version that may be promoted, got {number} of {model!r}, which is in quarantine: train it again with `abi run`."
        raise UsageError(msg)
    if entry_of(ledger, version) is None:
        msg = f"Expected a version that `abi run` registered, got {number} of {model!r}, which the ledger does not know: train it with `abi run`."
        raise UsageError(msg)
    return version


def _draft(kind: str, call: Call, registered: Entry, detail: Mapping[str, object]) -> Draft:
    return Draft(
        kind=kind,  # type: ignore[arg-type]  # one of the kinds
        model=call.name,
        values=registered.values,
        detail=dict(detail),
        flow_run=flow_run(),
        mlflow_run=registered.mlflow_run,
    )


def _enter_gates(ledger: Ledger, call: Call, gates: Gates, registered: Entry) -> Entry:
    results = [
        {"name": r.name, "status": r.status, "passed": r.status != "failed", "waived": r.waived, "expected": r.expected, "got": r.got}
        for r in gates.results
    ]  # fmt: skip
    detail = {"version": gates.version, "champion": gates.champion, "rows": gates.rows, "passed": not gates.failed, "results": results}  # fmt: skip
    (entry,) = ledger.append(_draft("gates", call, registered, detail))
    return entry


def _waive(result: GateResult, approvable: tuple[str, ...]) -> GateResult:
    return replace(result, waived=result.status == "failed" and result.name in approvable)
