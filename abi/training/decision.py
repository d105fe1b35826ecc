"""The decision that a trained network's chances are put to, from validation rows: thresholds of labels, or a rejection.

The rejection's coefficients are a logistic regression of "is out of scope" on the network's own chance of that class and on
its maximum probability among the others (the baseline of Hendrycks and Gimpel 2017), both kinds of rows weighing as much.
Its shift makes the mean of in-scope accuracy and out-of-scope recall largest: rows out of scope are as rare in training
as somebody thought to write them, and not in use. A few rows out of scope choose that shift alone, of fixed coefficients.
Where there is none, what is regressed is "is wrong", and the chance of being out of scope is that of being wrong: the
calibrated maximum probability rejects, the plain one where rows were too few or too right to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from abi.families.decision import Decision, Rejection, evidence
from abi.training.fitted import rounded
from abi.training.thresholds import choose_thresholds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abi.metrics import Prediction, Target
    from abi.problem import Schema

LEAST_ROWS: Final = 5
"""Rows out of scope that a rejection's coefficients are fitted to,"""
FEW: Final = {"intercept": 0.0, "own": 0.5, "top": -0.5}
"""and what they are with fewer: as much of the network's own odds as of its being unsure."""
PLAIN: Final = (0.0, -1.0)
"""Intercept and coefficient by which 1 - max q is the chance of being out of scope."""
RIDGE: Final = 1.0
STEPS: Final = 50
SHIFTS: Final = np.linspace(-4.0, 4.0, 81)


def decision_of(schema: Schema, target: Target, chance: Prediction) -> Decision | None:
    """What these validation rows say; None where the most likely class is simply taken."""
    if schema.task == "multilabel":
        return Decision(thresholds=tuple(rounded(t) for t in choose_thresholds(target, chance)))
    if schema.out_of_scope is None:
        return None
    return Decision(rejection=rejection_of(target, chance, schema.classes.index(schema.out_of_scope)))


def rejection_of(target: Int[np.ndarray, " rows"], chance: Float[np.ndarray, "rows classes"], place: int) -> Rejection:
    """The rejection that validation rows ask for; `place` is the number of the class out of scope."""
    outside = target == place
    seen = evidence(chance, place)
    if not outside.any() or outside.all():
        inside = ~outside
        others = chance[inside].copy()
        others[:, place] = -1.0
        wrong = others.argmax(axis=1) != target[inside]
        intercept, top = logistic(seen[inside, 1:], wrong, balanced=False, prior=PLAIN)
        if top >= 0:  # surer where it is wrong: so few rows say nothing of others
            intercept, top = PLAIN
        return Rejection(place=place, intercept=rounded(intercept), own=0.0, top=rounded(top))
    if outside.sum() < LEAST_ROWS:
        plain = Rejection(place=place, **FEW)
    else:
        intercept, own, top = logistic(seen, outside, balanced=True)
        plain = Rejection(place=place, intercept=rounded(intercept), own=rounded(own), top=rounded(top))
    found = [_quality(Rejection(**(plain.to_json() | {"shift": float(s)})), target, chance) for s in SHIFTS]
    best = np.flatnonzero(np.isclose(found, max(found)))
    shift = float(SHIFTS[best[len(best) // 2]])
    return Rejection(**(plain.to_json() | {"shift": rounded(shift)}))


def logistic(
    x: Float[np.ndarray, "rows n"], y: Bool[np.ndarray, " rows"], *, balanced: bool, prior: Sequence[float] = ()
) -> Float[np.ndarray, " coefficients"]:
    """Intercept and coefficients of a ridge logistic regression, by Newton's method.

    Args:
        x: regressors.
        y: which rows are to be told from the others.
        balanced: both kinds weigh as much together; as many as there are rows in either case.
        prior: what the ridge draws towards, the intercept as well; where there is none, to 0 and the intercept is free.
    """
    design = np.column_stack([np.ones(len(x)), x])
    weights = np.ones(len(y))
    if balanced:
        weights = np.where(y, len(y) / (2 * max(1, y.sum())), len(y) / (2 * max(1, (~y).sum())))
    penalty = np.diag([RIDGE if prior else 1e-3, *[RIDGE] * x.shape[1]])
    middle = np.array(prior, np.float64) if prior else np.zeros(design.shape[1])
    found = middle.copy()
    for _ in range(STEPS):
        chance = expit(design @ found)
        slope = design.T @ (weights * (chance - y)) + penalty @ (found - middle)
        bend = (design * (weights * chance * (1 - chance))[:, None]).T @ design + penalty
        step = np.linalg.solve(bend, slope)
        found = found - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:  # noqa: PLR2004 - converged
            break
    return found


def _quality(
    rejection: Rejection, target: Int[np.ndarray, " rows"], chance: Float[np.ndarray, "rows classes"]
) -> float:
    """Mean of accuracy in scope and recall out of scope."""
    right = rejection.applied(chance).argmax(axis=1) == target
    outside = target == rejection.place
    return float(right[~outside].mean() + right[outside].mean()) / 2
