"""What planning tried on its way, kept for an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from abi.inputs.kind import Step
from abi.planning.allocate import SOLVER, Allotment, allotments, solve
from abi.planning.backbone import Backbone, macs_per_width_of, per_width_of
from abi.planning.knapsack import Knapsack, knapsack
from abi.types import Capacity, Cost


@dataclass(frozen=True)
class TriedSize:
    """An even split and the limit that it exceeds; `short` is None where it fits. `most` bounds the rows of a category."""

    backbone: Backbone
    width: int
    most: int
    cost: Cost
    short: str | None


@dataclass(frozen=True)
class TriedSplit:
    """A split of attention's, and the limit that it exceeds; None where it fits."""

    capacity: Capacity
    cost: Cost
    short: str | None


@dataclass(frozen=True)
class Solved:
    """A division of widths that was solved for one backbone: the rung of each feature, as the solver gave it."""

    backbone: Backbone
    sack: Knapsack
    places: tuple[int, ...]


@dataclass
class Trail:
    """Filled while a plan is made, in the order in which things were tried.

    Attributes:
        solver: which one divides widths (see `abi.planning.allocate.SOLVER`).
        sizes: even splits.
        splits: attention's, on one or several backbones.
        solved: divisions of widths.
        bins: of a numeric feature at the even width.
    """

    solver: int | None = SOLVER
    sizes: list[TriedSize] = field(default_factory=list)
    splits: list[TriedSplit] = field(default_factory=list)
    solved: list[Solved] = field(default_factory=list)
    bins: int = 0

    def divide(
        self,
        backbone: Backbone,
        out: int,
        ladders: Sequence[Sequence[Step]],
        weights: Sequence[float],
        budget: int,
        width_limit: int | None,
        curves: Sequence[Sequence[float]],
    ) -> tuple[Allotment, ...] | None:
        """Solve for the widths of one backbone (see `abi.planning.allocate.allocate`), and keep what came out."""
        per_width, macs = per_width_of(backbone, out), macs_per_width_of(backbone)
        sack = knapsack(ladders, weights, budget, per_width, width_limit, curves, macs)
        places = solve(sack, self.solver)
        if places is None:
            return None
        self.solved.append(Solved(backbone, sack, tuple(places)))
        return allotments(sack, places)

    def take(self, other: Trail) -> None:
        """Add what another one was left."""
        self.sizes += other.sizes
        self.splits += other.splits
        self.solved += other.solved
        self.bins = other.bins

    def of(self, capacity: Capacity) -> Solved | None:
        """The last division that was solved for the backbone of this capacity."""
        wanted = Backbone(capacity.members, capacity.blocks, capacity.block_width)
        return next((s for s in reversed(self.solved) if s.backbone == wanted), None)
