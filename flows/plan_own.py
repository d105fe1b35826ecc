"""`abi plan ATTENTION.json`: the envelope divided; on request why, and what another envelope would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.errors import PlanInfeasible
from flows.imports import at_once

if TYPE_CHECKING:
    from flows.common import Common
    from flows.plan_module import ModuleFlags


def plan(source: str, asked: ModuleFlags, budget: list[str], common: Common) -> None:
    """Plan, explain, and answer what if; nothing is trained."""
    with at_once("torch"):
        from abi.documents import document
        from abi.planning.compare import compare
        from abi.planning.explain import explain_plan
        from abi.planning.run_time import limits
        from abi.planning.what_if import changed
        from abi.types import Plan
        from flows.session import emit, open_call, read_value
        from tasks import parts, plan_stories
        from tasks.planning import asked_of, divide_or_name, elsewhere, planner
        from tasks.planning import plan as make
        from tasks.progress import say_nothing_fits
        from tasks.terminal import show

    what_if, explain = asked.what_if or [], asked.explain
    value = read_value(source)
    attention, family = asked_of(value)
    ws, call = open_call(common, None, source, budget, asked.gpus, _named(asked))
    other = changed(limits(call.settings), what_if) if what_if else None
    there = None if other is None else elsewhere(call, other)
    made = ws.get(make(call, ws.put(value)))
    assert isinstance(made, Plan)
    told = explain_plan(planner(call, attention.scores.problem), attention, family) if explain else None
    after, refused = None, None
    try:
        after = None if other is None or there is None else divide_or_name(there, attention, family, other.envelope)
    except PlanInfeasible as error:
        refused = error
    found = None if after is None else compare(made, after, ("plan", ", ".join(what_if)))
    if common.json:
        also = {} if told is None else {"explanation": told.to_json()}
        if after is not None and found is not None:
            also |= {"what_if": document(after), "difference": found.to_json()}
        emit(document(made) | also)
    elif not common.quiet:
        show(made, no_color=common.no_color)
        if told is not None:
            parts.show(["", *plan_stories.of_plan(told, attention.scores.problem.schema)], no_color=common.no_color)
        if after is not None and found is not None:
            print(f"\nWhat if {', '.join(what_if)}:")
            show(after, no_color=common.no_color)
            parts.show(["", *plan_stories.of_change(found)], no_color=common.no_color)
    if refused is not None:
        say_nothing_fits(what_if)
        raise refused


def _named(asked: ModuleFlags) -> dict[str, object]:
    """The settings that --objective and --global-batch stand for."""
    from abi.execution.goodput import expect_known
    from abi.planning.what_if import expect_rows

    named: dict[str, object] = {}
    if asked.objective is not None:
        expect_known(asked.objective)
        named["training.objective"] = asked.objective
    if asked.global_batch is not None:
        named["training.batch_rows"] = expect_rows(asked.global_batch)
    return named
