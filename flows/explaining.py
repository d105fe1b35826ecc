"""Commands that read what runs recorded: replay, explain, diff."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.common import Common

if TYPE_CHECKING:
    from cyclopts import App


def replay(
    run: str,
    *,
    what_if: Annotated[list[str] | None, Parameter(negative="")] = None,
    retrain: Annotated[bool, Parameter(negative="")] = False,
    common: Common = Common(),
) -> None:
    """Make a run's decisions again from its record and compare byte for byte; exit 6 where one differs.

    Args:
        run: Run id (or its beginning), NAME/VERSION or models:/NAME/VERSION.
        what_if: Decide again with this setting instead, as memory=16GiB or attention.temperature=0.2; may be repeated.
        retrain: Repeat the short trainings that attention was chosen by as well.
        common: Flags that every command takes.
    """
    from abi.audit import replay as rules
    from abi.audit.what_if import what_if as decide_again
    from flows.session import emit
    from tasks import stories
    from tasks.replay import replay_run
    from tasks.runs import load_run

    ws, config = _open(common)
    record = load_run(ws, config, run)
    if what_if:
        found = decide_again(record, _settings(what_if))
        _print(found.to_json(), stories.of_what_if(found), common)
        return
    replayed = replay_run(ws, config, record, retrain=retrain)
    plain = [{**d.to_json(), "same": d.same} for d in replayed.decisions]
    if common.json:
        emit({"run_id": record.run_id, "model": record.title, "decisions": plain, "notes": replayed.notes})
    elif not common.quiet:
        stories.show(stories.of_replay(replayed), no_color=common.no_color)
    rules.verdict(replayed.decisions)
    if not all(d.same for d in replayed.decisions):
        sys.exit(1)


def explain(run: str, feature: str, *, common: Common = Common()) -> None:
    """Tell the whole story of one feature: its data, scores, attention, what it was given and why, what it was worth.

    Args:
        run: Run id (or its beginning), NAME/VERSION or models:/NAME/VERSION.
        feature: Name of the feature.
        common: Flags that every command takes.
    """
    from abi.audit.explain import explain as tell
    from tasks import stories
    from tasks.runs import drifts_of, ledger_entries, load_run

    ws, config = _open(common)
    record = load_run(ws, config, run)
    entries = ledger_entries(ws, config, record)
    told = tell(record, feature, entries, drifts_of(ws, entries))
    _print(told.to_json(), stories.of_explanation(told), common)


def diff(before: str, after: str, *, common: Common = Common()) -> None:
    """Compare two runs: data, settings and code, and with them attention, allocation, cost and quality.

    Args:
        before: Run id (or its beginning), NAME/VERSION or models:/NAME/VERSION.
        after: The same of the other run.
        common: Flags that every command takes.
    """
    from abi.audit.diff import diff as compare
    from tasks import stories
    from tasks.runs import load_run

    ws, config = _open(common)
    found = compare(load_run(ws, config, before), load_run(ws, config, after))
    _print(found.to_json(), stories.of_diff(found), common)


def register(app: App) -> None:
    """Put the commands on `app`."""
    for command in (replay, explain, diff):
        app.command(command)


def _open(common: Common) -> Any:
    from flows.session import open_call

    ws, call = open_call(common, "audit", "", [])
    return ws, call.settings


def _settings(items: list[str]) -> dict[str, str]:
    from abi.errors import UsageError

    found = {}
    for item in items:
        key, _, text = item.partition("=")
        if not key.strip() or not text.strip():
            msg = (
                f"Expected --what-if as setting=value, such as memory=16GiB or attention.temperature=0.2, got {item!r}."
            )
            raise UsageError(msg)
        found[key.strip()] = text.strip()
    return found


def _print(plain: object, parts: Any, common: Common) -> None:
    from flows.session import emit
    from tasks import parts, stories

    if common.json:
        emit(plain)
    elif not common.quiet:
        stories.show(parts, no_color=common.no_color)
