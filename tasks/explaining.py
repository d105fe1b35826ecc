"""Why a recorded run's plan is as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abi.audit.explain import planned
from abi.errors import UsageError
from abi.planning.explain import PlanExplanation, explain_plan

if TYPE_CHECKING:
    from abi.audit.record import RunRecord


def explain_run(run: RunRecord) -> tuple[PlanExplanation, list[str]]:
    """Explain the kept round's plan, by the constants, settings and rows that the run recorded; with what to know of it.

    Raises:
        UsageError: the run did not record them.
    """
    found = planned(run)
    if found is None:
        msg = f"Expected a run that recorded its settings and machine, got {run.title}, which is older: run it again first."
        raise UsageError(msg)
    planner, attention, family = found
    same = planner.divide(attention, family).id == run.rounds[run.kept].plan.id
    notes = (
        []
        if same
        else ["The code plans otherwise than when the run was recorded: this is of the plan that it makes now."]
    )
    return explain_plan(planner, attention, family), notes
