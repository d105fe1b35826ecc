"""What one run recorded, as replay, explanation and comparison read it."""

from __future__ import annotations

from dataclasses import dataclass

from abi.outcomes import Conditions, Evaluation, Move, Trained
from abi.problem import Checks, Problem, Snapshot
from abi.training.rounds import best_round
from abi.types import Scores


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The values of one run.

    Attributes:
        run_id: MLflow's.
        name: registered model.
        version: of it; None where none is known.
        checks: of the data.
        evaluation: of the kept model.
        control: the uniform control's training.
        moves: one per round, each with the round's model.
        conditions: what decisions rest on beside the data; None in runs recorded before there were any.
    """

    run_id: str
    name: str
    version: int | None
    checks: Checks
    evaluation: Evaluation
    control: Trained
    moves: tuple[Move, ...]
    conditions: Conditions | None = None

    @property
    def title(self) -> str:
        """How a person names it."""
        return f"{self.name}/{self.version}" if self.version is not None else self.run_id[:12]

    @property
    def problem(self) -> Problem:
        """What was learned from which data."""
        return self.checks.problem

    @property
    def snapshot(self) -> Snapshot:
        """The data."""
        return self.problem.snapshot

    @property
    def rounds(self) -> tuple[Trained, ...]:
        """The trainings, in order."""
        return tuple(move.trained for move in self.moves)

    @property
    def scores(self) -> Scores:
        """What the data alone said."""
        return self.rounds[0].plan.attention.scores

    @property
    def kept(self) -> int:
        """Index of the round whose model was kept."""
        ids = [t.id for t in self.rounds]
        kept = self.evaluation.trained.judged.id
        return ids.index(kept) if kept in ids else best_round(self.rounds)
