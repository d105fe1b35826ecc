"""Run by torchrun: memory runs out once, where that ends the processes; started again they go on from their last checkpoint."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from abi.errors import PlanInfeasible
from abi.execution.runner import Runner, running
from tests.abi.execution.short_of_memory import STEPS, batches, planned, training


def state(runner: Runner) -> dict[str, object]:
    module, optimizer = get_state_dict(runner.module, runner.optimizer)
    return {"module": module, "optimizer": optimizer}


def main() -> None:
    parallel, call, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    rank, first = int(os.environ["RANK"]), os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    plan = planned(2, 96)
    plan = replace(plan, configuration=replace(plan.configuration, parallel=parallel))
    given = training(call if rank == 1 and first else -1, "backward")
    losses = []
    try:
        with running(given, plan, journal=folder / "revisions.json") as runner:
            begun = len(list(folder.glob("step-*")))
            if begun:
                saved = state(runner)
                checkpoint.load(saved, checkpoint_id=folder / f"step-{begun}")
                set_state_dict(
                    runner.module, runner.optimizer,
                    model_state_dict=saved["module"], optim_state_dict=saved["optimizer"],
                )  # fmt: skip
            for step in range(begun, STEPS):
                losses.append(runner.step({"input": batches()[step]}))
                checkpoint.save(state(runner), checkpoint_id=folder / f"step-{step + 1}")
            (folder / f"done-{rank}.json").write_text(
                json.dumps({"begun": begun, "losses": losses, "revisions": [r.to_json() for r in runner.revisions]})
            )
    except PlanInfeasible as error:
        sys.stdout.write(f"{error}\n")
        sys.stdout.flush()
        os._exit(error.exit_code)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
