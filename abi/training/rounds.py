"""When the loop of rounds ends, and which round is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from abi.outcomes import Convergence, Trained
from abi.planning.run_time import TOGETHER, left_for_trainings
from abi.types import Attention, Plan
from abi.units import show_seconds

if TYPE_CHECKING:
    from abi.config import Config


def decide(rounds: Sequence[Trained], following: Plan, config: Config, *, controlled: bool = True) -> tuple[bool, str]:
    """Whether to train `following`, and why (not).

    The loop ends when the rounds are used up, the last one gained less than the tolerance, the plan stops moving, or
    the time of the loop or of the whole run would not suffice for another round and, where it is `controlled`, as many
    trainings of the control.
    """
    limits = config.iterate
    last = rounds[-1]
    if len(rounds) >= limits.rounds:
        return False, "one round was asked for" if limits.rounds == 1 else f"all {limits.rounds} rounds are used"
    if len(rounds) > 1:
        before = min(r.loss for r in rounds[:-1])
        gain = (before - last.loss) / abs(before) if before else 0.0
        if gain < limits.tolerance:
            return False, f"the last round changed the validation loss by {-gain:+.2%}"
    changed = plan_change(last.plan, following)
    what = "the contributions" if following.capacity.empty else "the widths"
    if changed < limits.plan_change:
        return False, f"the plan would move only {changed:.1%} of {what}"
    spent = sum(r.measured.train_time_s for r in rounds)
    longest = max(r.measured.train_time_s for r in rounds)
    pilots = min(TOGETHER, len(last.plan.attention.trials) * limits.pilot) * longest
    sides = 2 if controlled else 1
    needed = sides * (pilots + spent + longest)
    refits = sides * config.training.refit * longest
    for limit, asked in ((limits.time, needed), (left_for_trainings(config), needed + refits)):
        if limit is not None and asked > limit:
            return (
                False,
                f"another round{' and its control' if controlled else ''} would take {show_seconds(asked)} of {show_seconds(limit)}",
            )
    return True, f"{changed:.0%} of {what} move"


def converge(moved: Attention, before: Plan, following: Plan, config: Config) -> Convergence:
    """How much is still moving between a round's plan and the one that would follow it."""
    changed = plan_change(before, following)
    return Convergence(
        movement=moved.moved,
        plan_change=round(changed, 9),
        converged=moved.moved < config.iterate.movement or changed < config.iterate.plan_change,
    )


def plan_change(before: Plan, after: Plan) -> float:
    """Share of all width (of trees: of the features' contributions) that moves from one plan to the other.

    Total variation; of a blend, that of the part that moves more. Where the plan prunes, attention decides what goes, so
    what moves of it counts as well.
    """
    widths = [[f.width for f in plan.capacity.features] for plan in (before, after)]
    gains = [[f.contribution for f in plan.trees.features] if plan.trees else [] for plan in (before, after)]
    changes = [_moved(*pair) for pair in (widths, gains) if pair[0] and pair[1]]
    if after.capacity.pruning is not None:
        changes.append(_moved(*([w.weight for w in plan.attention.weights] for plan in (before, after))))
    return max(changes, default=0.0)


def _moved(before: Sequence[float | int], after: Sequence[float | int]) -> float:
    total = max(sum(before), sum(after))
    return sum(abs(b - a) for b, a in zip(before, after, strict=True)) / (2 * total)


def best_round(rounds: Sequence[Trained]) -> int:
    """Index of the round with the least validation loss; the earlier one where they are equal."""
    return min(range(len(rounds)), key=lambda i: (rounds[i].loss, i))
