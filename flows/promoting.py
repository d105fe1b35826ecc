"""Commands of the registry: promote, rollback, leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.common import Common

if TYPE_CHECKING:
    from cyclopts import App

    from tasks.promotion import Promotion
    from tasks.stage import Call


def register(app: App) -> None:
    """Put the commands on `app`."""
    for command in (promote, rollback, leaderboard):
        app.command(command)


def promote(
    *,
    model: str | None = None,
    version: int | None = None,
    data: Path | None = None,
    approve: Annotated[bool, Parameter(negative="")] = False,
    reason: str | None = None,
    common: Common = Common(),
) -> None:
    """Make a version champion if it passes its gates; exit 4 and print which one failed where it does not.

    Args:
        model: Name of the registered model; may be left out where the workspace has one.
        version: The candidate (default: the challenger).
        data: Fresh rows with the target, to compare champion and candidate on (default: the candidate's held-out rows).
        approve: Waive the gates that a person may waive (gates.approvable); asks for --reason.
        reason: Why, for the ledger.
        common: Flags that every command takes.
    """
    from flows.session import emit
    from tasks.promotion import promote as decide
    from tasks.telemetry import publishing

    call = _call(model, common)
    with publishing(call.ws, call.settings):
        made = decide(call, version, data=data, approve=approve, reason=reason)
    if common.json:
        emit(
            {
                "gates": made.gates.to_json(),
                "promoted": made.entry is not None,
                "entry": None if made.entry is None else made.entry.seq,
                "aliases": made.aliases.to_json(),
            }
        )
    elif not common.quiet:
        _show(made, no_color=common.no_color)
    made.demand()


def _show(made: Promotion, *, no_color: bool) -> None:
    from tasks.terminal import print_table

    gates = made.gates
    rows = [(r.name, "waived" if r.waived else r.status, r.got, r.expected) for r in gates.results]
    print_table(("gate", "", "got", "expected"), rows, no_color=no_color, whole=(0, 1))
    if made.entry is not None:
        print(f"Version {gates.version} of {gates.model!r} is champion (entry {made.entry.seq} of the ledger).")


def rollback(*, model: str | None = None, reason: str, common: Common = Common()) -> None:
    """Put the champion before back, with its attention and plan.

    Args:
        model: Name of the registered model; may be left out where the workspace has one.
        reason: Why, for the ledger.
        common: Flags that every command takes.
    """
    from flows.session import emit
    from tasks.promotion import rollback as decide
    from tasks.telemetry import publishing

    call = _call(model, common)
    with publishing(call.ws, call.settings):
        entry = decide(call, reason)
    if common.json:
        emit(entry.to_json())
    elif not common.quiet:
        detail = entry.detail
        print(
            f"Version {detail['version']} of {entry.model!r} is champion again, in place of {detail['rolled_back']} (entry {entry.seq} of the ledger)."
        )
        if "passed_over" in detail:
            print(f"  passed over, as MLflow has no more: version {', '.join(map(str, detail['passed_over']))}")
        for name in ("attention", "plan"):
            print(f"  {name:9} {entry.values[name]}")


def leaderboard(*, model: str | None = None, common: Common = Common()) -> None:
    """The versions of a model side by side, the best first; last those that are in quarantine, or gone from MLflow.

    Args:
        model: Name of the registered model; may be left out where the workspace has one.
        common: Flags that every command takes.
    """
    from abi.units import show_count, show_seconds
    from flows.session import emit, open_call
    from tasks.decisions import only_model
    from tasks.leaderboard import leaderboard as rank
    from tasks.ledger import Ledger
    from tasks.terminal import print_table

    ws, call = open_call(common, model, "model", [], reading=True)
    ledger = Ledger.look(ws, call.settings.audit)
    ledger.demand()
    call = call if model is not None else only_model(call, ledger)
    rows = rank(ledger, call)
    if common.json:
        emit({"model": call.name, "versions": rows})
    else:
        same = len({(r["primary"], r["prequential"]) for r in rows}) == 1
        head = (
            "v",
            _figures(rows[0]) if same else "value",
            "vs even",
            "vs base",
            "params",
            "per row",
            "data",
            "gates",
            "alias",
        )
        table = [
            (
                str(r["version"]), f"{r['metrics'][r['primary']]:.4f}{'' if same else f' {_figures(r)}'}",
                _over(r, "uniform"), _over(r, "baseline"), show_count(r["parameters"]), show_seconds(r["latency_s"]),
                r["snapshot"][:6], r["state"], " ".join(r["aliases"]),
            )
            for r in rows
        ]  # fmt: skip
        print_table(head, table, no_color=common.no_color, numbers=range(6), whole=range(9))
        if any(r["prequential"] for r in rows):
            print(
                "* prequential: of each row of a stream before it was learned from; not to be held against held-out rows."
            )


def _figures(row: dict[str, Any]) -> str:
    """The metric, with a star where it is prequential."""
    return f"{row['primary']}*" if row["prequential"] else str(row["primary"])


def _over(row: dict[str, Any], control: str) -> str:
    """The gain over a control; a dash where there was none."""
    return f"{row['gain'][control]:+.4f}" if control in row["gain"] else "-"


def _call(model: str | None, common: Common) -> Call:
    """The call for the named model, or the only one there is."""
    from flows.session import open_call
    from tasks.decisions import only_model

    _, call = open_call(common, model, "model", [], deciding=True)
    return call if model is not None else only_model(call)
