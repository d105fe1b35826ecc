"""Whether widths would come out better if they were divided anew for each way to run them.

    python benchmarks/planner_joint.py                    # 66 envelopes on 1xL4, 2xH100-SXM and a processor
    python benchmarks/planner_joint.py --gpus 1xL4 --networks large

`abi.planning.execution` divides the envelope by a model with three constants, traces what came out, searches how it runs, and
divides again with tighter limits where the trace does not fit, or wider ones where it leaves room. `--first-rules` is without
the latter, as plans were made first. What no such order of steps could miss is looked for beside it:
limits of memory and time from half to four times as large are divided too, each network that comes out is traced and searched
under the real envelope, and of those that fit the best is taken: the largest size, then the expected gain of the widths, then
epochs, then rows per second. A line for each envelope; figures go to ``results/planner-joint-<date>.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final

from planner_own import prepared
from results_file import write_results

from abi.config import Config
from abi.devices.request import parse
from abi.errors import PlanInfeasible
from abi.planning.execution import plan_on_devices
from abi.planning.figures import machine_of
from abi.planning.limits import on_device
from abi.planning.machine import Machine
from abi.planning.on_devices import on_devices
from abi.planning.plan import make_plan
from abi.planning.trail import Trail
from abi.planning.worth import expected_gain
from abi.types import Attention, Envelope, Plan
from tasks import progress

FEATURES: Final = 60
ROWS: Final[dict[str, Any]] = {"train_rows": 60_000, "validation_rows": 8_000}
NETWORKS: Final[dict[str, dict[str, int]]] = {
    "usual": {},
    "large": {"members": 32, "blocks": 3, "block_width": 1024, "batch_rows": 8192},
}
"""What settings ask for; of the large ones activations fill the memory."""
WIDER: Final = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 4.0)
SHARES: Final[tuple[dict[str, float], ...]] = (
    {"memory": 0.7}, {"memory": 0.4}, {"memory": 0.2}, {"time": 0.6}, {"time": 0.3}, {"time": 0.1}, {"parameters": 0.3},
    {"parameters": 0.05}, {"memory": 0.5, "time": 0.5}, {"parameters": 0.2, "time": 0.3}, {"memory": 0.3, "time": 0.2},
)  # fmt: skip
"""Of what the plan without limits takes; of memory beside the driver's and the data's."""


@dataclass(frozen=True)
class Found:
    """A plan that fits, and how many sizes were tried before it."""

    plan: Plan
    place: int

    @property
    def key(self) -> tuple[float, ...]:
        """What is smaller is better."""
        planned = on_devices(self.plan)
        assert planned is not None
        return (
            self.place,
            -round(expected_gain(self.plan), 6),
            -self.plan.execution.epochs,
            -planned.predicted.rows_per_s,
        )

    def figures(self) -> dict[str, Any]:
        """For a line."""
        planned = on_devices(self.plan)
        assert planned is not None
        choice = planned.configuration
        return {
            "parameters": self.plan.predicted.parameters,
            "gain": round(expected_gain(self.plan), 5),
            "epochs": self.plan.execution.epochs,
            "rows_per_s": round(planned.predicted.rows_per_s),
            "runs": f"{choice.devices} x {choice.arithmetic} {choice.micro_batch} x {choice.accumulation}",
            "size": self.place,
        }


def main() -> None:
    """Every device and envelope."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", nargs="+", default=["1xL4", "2xH100-SXM", "cpu"])
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--first-rules", action="store_true", help="plan as before there were wider limits")
    chosen = parser.parse_args()
    progress.set_up(quiet=True, verbose=False, no_color=True)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        attention, call = prepared(Path(folder), FEATURES)
        for gpus, size in product(chosen.gpus, chosen.networks):
            machine = machine_of(parse(gpus, {}), "auto", None)
            machine = replace(machine, rules=None) if chosen.first_rules else machine
            training = call.settings.training.model_copy(update=NETWORKS[size])
            config = call.settings.model_copy(update={"training": training})
            free = planned(attention, config, machine, Envelope(), None)
            for share in SHARES:
                line = {"gpus": gpus, "network": size, "limits": share}
                line |= case(attention, config, machine, free.plan, share)
                found.append(line)
                print(json.dumps(line), flush=True)
    better = [line for line in found if line["better"]]
    print(f"{len(better)} of {len(found)} plans could be better")
    print(write_results("planner-joint", {"features": FEATURES, **ROWS, "cases": found}))


def case(attention: Attention, config: Config, machine: Machine, free: Plan, share: dict[str, float]) -> dict[str, Any]:
    """One envelope: what is planned, and the best that was found beside it."""
    envelope = limits(free, share)
    try:
        now = planned(attention, config, machine, envelope, None)
    except PlanInfeasible:
        now = None
    found, tried = list[Found](), set[str]()
    wider = [WIDER if name in share else (1.0,) for name in ("memory", "time")]
    for memory, time in product(*wider):
        if {"memory", "time"} <= share.keys() and 1.0 not in {memory, time, memory / time}:
            continue  # of both, the axes and the diagonal
        try:
            found.append(planned(attention, config, machine, envelope, (memory, time), tried))
        except PlanInfeasible:
            continue
    best = min(found, key=lambda one: one.key, default=now)
    better = best is not None and (now is None or best.key < now.key)
    return {
        "better": better,
        "planned": None if now is None else now.figures(),
        "best": best.figures() if best is not None and better else None,
    }


def limits(free: Plan, share: dict[str, float]) -> Envelope:
    """Shares of what the plan without limits takes."""
    run, bound = on_devices(free), free.bound
    assert run is not None
    assert bound is not None
    fixed = run.cluster.device.context_bytes + run.resident_bytes
    return Envelope(
        parameters=int(share["parameters"] * free.predicted.parameters) if "parameters" in share else None,
        memory_bytes=int(fixed + share["memory"] * (bound.memory_bytes - fixed)) if "memory" in share else None,
        train_time_s=share["time"] * bound.train_time_s if "time" in share else None,
    )


def planned(
    attention: Attention,
    config: Config,
    machine: Machine,
    envelope: Envelope,
    wider: tuple[float, float] | None,
    tried: set[str] | None = None,
) -> Found:
    """As it is done; with `wider`, from limits that are so many times as large and are never tightened.

    Raises:
        PlanInfeasible: nothing fits, or what was divided from such limits does not, or was seen before.
    """
    trail, divided = Trail(machine.solver), list[str]()

    def make(tight: Envelope, seen: Trail) -> Plan:
        if wider is None:
            return make_plan(attention, tight, config, machine, trail=seen, **ROWS)
        if divided:
            msg = "no second try"
            raise PlanInfeasible(msg)
        loose = on_device(envelope, machine)
        loose = replace(
            loose,
            memory_bytes=None if loose.memory_bytes is None else int(wider[0] * loose.memory_bytes),
            train_time_s=None if loose.train_time_s is None else wider[1] * loose.train_time_s,
        )
        made = replace(make_plan(attention, loose, config, machine, trail=seen, **ROWS), envelope=envelope)
        assert tried is not None
        if made.id in tried:
            msg = "it was traced before"
            raise PlanInfeasible(msg)
        tried.add(made.id)
        divided.append(made.id)
        return made

    asked = machine if wider is None else replace(machine, rules=None)
    how = {"precision": config.training.precision, "kl": config.attention.kl, **ROWS}
    plan = plan_on_devices(make, envelope, asked, trail=trail, **how)
    return Found(plan, len(trail.sizes))


if __name__ == "__main__":
    main()
