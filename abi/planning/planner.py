"""All that a plan follows from but the attention: with it an envelope is divided once and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from abi.config import Config
from abi.errors import PlanInfeasible
from abi.outcomes import Conditions
from abi.planning.family import plan_family
from abi.planning.machine import Machine
from abi.planning.run_time import limits, with_reason
from abi.planning.trail import Trail
from abi.types import Allocation, Attention, Envelope, Family, Plan


@dataclass(frozen=True)
class Planner:
    """Divides envelopes with a machine's constants, numbers of rows and settings; those of a run decide as it did."""

    machine: Machine
    train_rows: int
    validation_rows: int
    config: Config

    @classmethod
    def of(cls, conditions: Conditions, change: Callable[[Config], Config] = lambda config: config) -> Planner:
        """The planner of a run; `change` alters its settings."""
        return cls(
            Machine.from_json(conditions.machine),
            conditions.train_rows,
            conditions.validation_rows,
            change(Config.restore(conditions.settings)),
        )

    def divide(
        self,
        attention: Attention,
        family: Family | None = None,
        *,
        allocation: Allocation = "attention",
        envelope: Envelope | None = None,
        config: Config | None = None,
        trail: Trail | None = None,
    ) -> Plan:
        """Attention -> plan; `envelope` and `config` in place of its own."""
        try:
            return plan_family(
                attention,
                envelope or limits(self.config),
                config or self.config,
                self.machine,
                allocation=allocation,
                train_rows=self.train_rows,
                validation_rows=self.validation_rows,
                family=family,
                trail=trail,
            )
        except PlanInfeasible as error:
            raise with_reason(error, self.config) from None
