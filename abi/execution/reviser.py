"""What comes after a configuration that ran out of memory, as a runner asks for it in the midst of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from abi.errors import AbiError
from abi.execution.costing import Question
from abi.execution.out_of_memory import Shortage, is_out_of_memory
from abi.execution.revision import Revision, halved, question_of, revised
from abi.execution.step import Training
from abi.execution.tracer import Tracer
from abi.execution.types import Configuration, ExecutionPlan, Footprint
from abi.execution.wrapping import look

Revise = Callable[[Configuration, Shortage], Revision]


@dataclass
class Reviser:
    """Solves the plan's question again; where there is no plan, or no trace of what ran out, halves the micro-batch.

    FSDP follows FSDP alone: else weights and the optimizer's state would have to be cut apart where memory has just run out.
    """

    training: Training
    plan: ExecutionPlan | None
    _asked: list[Question] = field(default_factory=list)

    def __call__(self, failed: Configuration, short: Shortage) -> Revision:
        """The next configuration.

        Raises:
            PlanInfeasible: nothing takes less.
        """
        if self.plan is None:
            return halved(failed, short)
        if not self._asked:
            self._asked.append(question_of(self.plan, self._checkpointed(failed), sharded=failed.parallel == "fsdp"))
        if failed.checkpointing not in {footprint.checkpointing for footprint in self._asked[0].footprints}:
            return halved(failed, short)
        return revised(self._asked[0], failed, short)

    def _checkpointed(self, failed: Configuration) -> tuple[Footprint, ...]:
        """The footprint with activation checkpointing: a plan carries its own alone, and most fit without."""
        assert self.plan is not None
        if self.plan.footprint.checkpointing or self.plan.footprint.method != "traced":
            return ()
        device = self.plan.cluster.device
        device = replace(device, rates={failed.arithmetic: device.rates[failed.arithmetic]})
        plain = self.training.changed(arithmetic="float32", checkpointing=False)
        try:
            with torch.random.fork_rng(devices=[]):  # a factory may set the seed
                if not look(plain.build)[0]:
                    return ()
                return Tracer(plain, device).footprints(checkpointing=True)
        except (AbiError, RuntimeError, MemoryError) as error:
            if isinstance(error, AbiError) or is_out_of_memory(error):
                return ()  # smaller micro-batches are known without it
            raise
