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
        run: Run id (or its beginning), NAME/VERSION or NAME/ALIAS.
        what_if: Decide again with this setting instead, as memory=16GiB or attention.temperature=0.2; may be repeated.
        retrain: Repeat the short trainings that attention was chosen by as well.
        common: Flags that every command takes.
    """
    from abi.audit import replay as rules
    from abi.audit.what_if import what_if as decide_again
    from abi.errors import UsageError
    from flows.session import emit
    from tasks import stories
    from tasks.parts import show
    from tasks.replay import replay_run
    from tasks.runs import load_run

    if what_if and retrain:
        msg = "Expected --what-if or --retrain, got both: leave one out, as another setting is decided on from what was recorded."
        raise UsageError(msg)
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
        show(stories.of_replay(replayed), no_color=common.no_color)
    rules.verdict(replayed.decisions)
    if not all(d.same for d in replayed.decisions):
        sys.exit(1)


def explain(
    what: str,
    feature: str | None = None,
    *,
    run: str | None = None,
    common: Common = Common(),
) -> None:
    """Tell the whole story of one feature: its data, scores, attention, what it was given and why, what it was worth.

    `abi explain age` is about the newest run in the workspace, `abi explain RUN age` about that run; `abi explain RUN` tells
    of its plan what binds, what a little more would buy, each feature's next step, and what lost.

    Args:
        what: A feature, or a run: its id (or the beginning), NAME/VERSION or NAME/ALIAS.
        feature: Name of the feature, where WHAT is a run.
        run: The run, where WHAT is a feature (default: the newest).
        common: Flags that every command takes.
    """
    from abi.audit.explain import explain as tell
    from flows.explained import resolve
    from tasks import plan_stories, stories
    from tasks.explaining import explain_run
    from tasks.runs import drifts_of, ledger_entries

    ws, config = _open(common)
    record, name = resolve(ws, config, what, feature, run)
    if name is None:
        why, notes = explain_run(record)
        plain = {"run_id": record.run_id, "model": record.title, **why.to_json(), "notes": notes}
        schema = record.rounds[record.kept].plan.attention.scores.problem.schema
        _print(plain, [record.title, *notes, *plan_stories.of_plan(why, schema)], common)
        return
    entries = ledger_entries(ws, config, record)
    told = tell(record, name, entries, drifts_of(ws, entries))
    _print(told.to_json(), stories.of_explanation(told), common)


def diff(before: str, after: str, *, common: Common = Common()) -> None:
    """Compare two runs or two plans: data, settings and code, and with them attention, allocation, cost and quality.

    Of plans from files there are no data and no quality: what each feature has, layers, execution and predicted cost; of
    plans of modules how they run and what that costs.

    Args:
        before: Run id (or its beginning), NAME/VERSION, NAME/ALIAS, models:/NAME/VERSION, or a file that `abi plan --json` printed.
        after: The same of the other.
        common: Flags that every command takes.
    """
    from abi.audit.diff import diff as compare
    from abi.errors import UsageError
    from abi.execution.compare import compare as compare_execution
    from abi.execution.types import ExecutionPlan
    from abi.planning.compare import compare as compare_plans
    from abi.types import Plan
    from flows.explained import is_file, side
    from tasks import plan_stories, stories

    ws, config = _open(common, files=is_file(before) and is_file(after))
    one, other = side(ws, config, before), side(ws, config, after)
    if one.run is not None and other.run is not None:
        found = compare(one.run, other.run)
        _print(found.to_json(), stories.of_diff(found), common)
        return
    titles = one.title, other.title
    if isinstance(one.plan, Plan) and isinstance(other.plan, Plan):
        changed = compare_plans(one.plan, other.plan, titles)
        _print(changed.to_json(), plan_stories.of_change(changed), common)
    elif isinstance(one.plan, ExecutionPlan) and isinstance(other.plan, ExecutionPlan):
        run = compare_execution(one.plan, other.plan, titles)
        _print(run.to_json(), plan_stories.of_execution_change(run), common)
    else:
        of_module, of_data = titles if isinstance(one.plan, ExecutionPlan) else titles[::-1]
        msg = f"Expected two plans of one kind, got {of_module} of a module and {of_data} of a data set: compare a module's with a module's."
        raise UsageError(msg)


def register(app: App) -> None:
    """Put the commands on `app`."""
    for command in (replay, explain, diff):
        app.command(command)


def _open(common: Common, *, files: bool = False) -> Any:
    """Workspace and settings; of `files` alone none has to be there."""
    from flows.session import expect_alone, look, settings_of, workspace_of
    from tasks import progress
    from tasks.workspace import Workspace

    expect_alone()
    config = settings_of(common, [])
    progress.set_up(quiet=common.quiet, verbose=common.verbose, no_color=common.no_color)
    return Workspace.at(workspace_of(common)) if files else look(common, config), config


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
    from tasks.parts import show

    if common.json:
        emit(plain)
    else:
        show(parts, no_color=common.no_color)
