"""An execution plan as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from abi.execution.demands import show_price
from abi.execution.wording import describe
from abi.units import show_bytes, show_count, show_energy, show_seconds
from tasks.stdout import stdout_console
from tasks.terminal import print_table

if TYPE_CHECKING:
    from rich.console import Console

    from abi.execution.types import ExecutionPlan


def show_plan(plan: ExecutionPlan, *, explain: bool, no_color: bool = False) -> None:
    """Print the choice, what it is predicted to take beside its limits, and the sentences."""
    console = _choice(plan, no_color=no_color)
    console.print()
    for sentence in plan.reasons:
        console.print(sentence, markup=False)
    if explain:
        _explain(plan, console, no_color=no_color)


def show_change(before: ExecutionPlan, after: ExecutionPlan, *, no_color: bool = False) -> None:
    """Print what is different in another envelope, before beside after."""
    console = stdout_console(no_color=no_color)
    console.print()
    rows = [(name, old, new) for name, old, new in _pairs(before, after) if old != new]
    if not rows:
        console.print("What if: nothing changes.")
        return
    print_table(("what if", "before", "after"), rows, no_color=no_color, numbers={1, 2})
    if before.cluster.host_memory_bytes != after.cluster.host_memory_bytes and after.limits.host_memory_bytes is None:
        console.print(_host(after), markup=False)


def _pairs(before: ExecutionPlan, after: ExecutionPlan) -> Iterator[tuple[str, str, str]]:
    """What is chosen, then every figure, its bound and its limit, of both."""
    chosen = [
        {
            "devices": f"{plan.cluster.count} x {plan.cluster.device.name}",
            "runs": describe(plan.configuration),
            "workers": str(plan.configuration.workers),
            "rows evaluated at a time": "" if plan.evaluation is None else show_count(plan.evaluation.batch),
        }
        for plan in (before, after)
    ]
    for name in chosen[0]:
        yield name, chosen[0][name], chosen[1][name]
    for old, new in zip(_figures(before), _figures(after), strict=True):
        name = old[0] if old[0] == new[0] else f"{old[0]} -> {new[0]}"
        for place, of in ((1, ""), (2, ", at most"), (3, ", limit")):
            yield f"{name}{of}", old[place] or "none", new[place] or "none"


def _host(plan: ExecutionPlan) -> str:
    """Of what host memory is a limit."""
    each = show_bytes(plan.cluster.host_memory_bytes / plan.cluster.count)
    return (
        f"Host memory is the machine's, counted as {each} for each of {plan.cluster.count} devices that may be used."
        if plan.cluster.count > 1
        else f"Host memory is the machine's, which has {each}."
    )


def _choice(plan: ExecutionPlan, *, no_color: bool) -> Console:
    console = stdout_console(no_color=no_color)
    choice, cluster = plan.configuration, plan.cluster
    workers = f"{choice.workers} worker{'s' if choice.workers > 1 else ''}"
    console.print(f"{plan.module} on {cluster.count} x {cluster.device.name}", markup=False)
    console.print(f"{describe(choice)}, {workers}{_evaluated(plan)}", style="bold", markup=False)
    console.print()
    print_table(("", "predicted", "at most", "limit"), _figures(plan), no_color=no_color, numbers={1, 2, 3})
    return console


def _evaluated(plan: ExecutionPlan) -> str:
    return "" if plan.evaluation is None else f"; evaluation {show_count(plan.evaluation.batch)} rows at a time"


def _explain(plan: ExecutionPlan, console: Console, *, no_color: bool) -> None:
    console.print()
    for name, sentence in plan.sensitivities.items():
        console.print(f"{name}: {sentence}", markup=False)
    if plan.limits.host_memory_bytes is None and plan.cluster.count > 1:
        console.print(_host(plan), markup=False)
    console.print()
    told = "\n".join(plan.reasons)
    rows = [(describe(other.configuration), other.why) for other in plan.alternatives if other.why not in told]
    if rows:
        print_table(("what else lost", "why"), rows, no_color=no_color)


def _figures(plan: ExecutionPlan) -> Iterator[tuple[str, str, str, str]]:
    cost, limits, cluster = plan.predicted, plan.limits, plan.cluster
    wider = cost.train_bound_s / cost.train_s

    def most(text: str) -> str:
        """A bound; of times nothing is known but what was predicted until runs have taught it."""
        return text if wider > 1 else ""

    memory = min(limits.memory_bytes or cluster.device.memory_bytes, cluster.device.memory_bytes)
    host = min(limits.host_memory_bytes or cluster.host_memory_bytes, cluster.host_memory_bytes)
    yield "device memory", show_bytes(cost.memory_bytes), show_bytes(cost.memory_bound), show_bytes(memory)
    yield "batches on the host", show_bytes(cost.host_bytes), show_bytes(cost.host_bytes), show_bytes(host)
    yield "one step", show_seconds(cost.step_s), most(show_seconds(cost.step_s * wider)), ""
    yield "rows per second", show_count(cost.rows_per_s), "", ""
    yield (
        f"{plan.job.steps} steps",
        show_seconds(cost.train_s),
        most(show_seconds(cost.train_bound_s)),
        "" if limits.train_time_s is None else show_seconds(limits.train_time_s),
    )
    yield (
        "energy",
        show_energy(cost.energy_j),
        most(show_energy(cost.energy_j * wider)),
        "" if limits.energy_j is None else show_energy(limits.energy_j),
    )
    if cost.price is not None:
        limit = "" if limits.cost is None else show_price(limits.cost)
        yield "cost", show_price(cost.price), most(show_price(cost.price * wider)), limit
    if (told := plan.evaluation) is not None:
        yield "memory in evaluation", show_bytes(told.memory_bytes), show_bytes(told.memory_bound), show_bytes(memory)
        yield (
            "evaluating 1,000 rows",
            show_seconds(1000 / told.rows_per_s),
            most(show_seconds(1000 / told.rows_per_s * wider)),
            "",
        )
    yield (
        "latency of one row",
        show_seconds(cost.latency_s),
        most(show_seconds(cost.latency_s * wider)),
        "" if limits.latency_s is None else show_seconds(limits.latency_s),
    )
