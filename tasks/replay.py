"""Replay of a run: its decisions made again from this workspace's record, and what has changed around them since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abi.audit.diff import changed_settings
from abi.audit.difference import first_difference
from abi.audit.replay import Decision, replay
from abi.config import Config
from abi.errors import listed
from tasks.runs import ledger_entries, unknown_to_ledger
from tasks.snapshot import fetch_snapshot
from tasks.stage import Call, code_id, versions
from tasks.vectors import encoders_of

if TYPE_CHECKING:
    from abi.audit.record import RunRecord
    from abi.outcomes import Conditions
    from tasks.workspace import Workspace


@dataclass(frozen=True)
class Replayed:
    """The decisions, and notes on what is not as it was when the run was recorded."""

    decisions: tuple[Decision, ...]
    notes: tuple[str, ...]


def replay_run(ws: Workspace, config: Config, run: RunRecord, *, retrain: bool = False) -> Replayed:
    """Make every decision of `run` again.

    Args:
        ws: workspace with the snapshot's tables.
        config: the present settings: where DVC's remote and the ledger are, and what has changed since.
        run: what was recorded.
        retrain: repeat the short trainings that attention was chosen by as well.
    """
    decisions = replay(
        run,
        lambda: fetch_snapshot(ws, run.snapshot, config.tracking.remote),
        lambda recorded: encoders_of(ws, recorded),
    )
    if retrain:
        decisions.append(_trained_again(ws, run))
    missing = unknown_to_ledger(run, ledger_entries(ws, config, run))
    decisions += [
        Decision(name=name, recorded="", recomputed="", difference="the ledger has no entry of it") for name in missing
    ]
    return Replayed(tuple(decisions), tuple(_notes(run.conditions, config)))


def _trained_again(ws: Workspace, run: RunRecord) -> Decision:
    """The stage that fits attention, run once more with the run's own settings."""
    from tasks.attention import fit

    recorded = run.rounds[0].plan.attention
    if run.conditions is None:
        return Decision(
            name="trials", recorded=recorded.id, recomputed=None, why="the run was recorded without settings"
        )
    call = Call.of(ws, run.name, Config.restore(run.conditions.settings))
    made = fit(call, ws.put(run.scores))
    found = first_difference(recorded.to_json(), ws.get(made).to_json()) or ""
    return Decision(name="trials", recorded=recorded.id, recomputed=made, difference=found)


def _notes(conditions: Conditions | None, config: Config) -> list[str]:
    """What is another than when the run was recorded."""
    if conditions is None:
        return ["the run was recorded without its settings, code and libraries"]
    notes = []
    settings = changed_settings(conditions.settings, config.recorded())
    if settings:
        notes.append(f"settings are others now: {listed(list(settings))}")
    if conditions.code != code_id():
        notes.append(f"the code is another now: {conditions.code[:12]} -> {code_id()[:12]}")
    present = versions()
    libraries = [
        f"{name} {version} -> {present.get(name, 'none')}"
        for name, version in conditions.libraries.items()
        if present.get(name) != version
    ]
    if libraries:
        notes.append(f"libraries are others now: {', '.join(libraries)}")
    return notes
