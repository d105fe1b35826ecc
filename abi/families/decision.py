"""What a network's chances are made a decision by, chosen on validation rows after training.

Labels have thresholds. A class that means "none of the others" is a rejection: its chance is calibrated anew from the
network's own chance of it and from how sure the network is of the best other class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit

from abi.metrics import at_half
from abi.values import Late, Value

EDGE: Final = 1e-6
"""Chances are held this far from 0 and 1 before their logits are taken."""


@dataclass(frozen=True, kw_only=True)
class Rejection(Value):
    """Chance that a row is out of scope: sigmoid(intercept + own * logit p_o + top * logit max q + shift).

    p_o is the network's chance of class number `place`, q those of the other classes among themselves. `shift` moves the
    odds from the share of such rows in training to the one that they are decided by.
    """

    place: int
    intercept: float
    own: float
    top: float
    shift: float = 0.0

    def applied(self, chance: Float[np.ndarray, "rows classes"]) -> Float[np.ndarray, "rows classes"]:
        """The chances with the calibrated one of being out of scope; the others share what is left as before."""
        seen = evidence(chance, self.place)
        outside = expit(self.intercept + seen @ [self.own, self.top] + self.shift)
        found = np.asarray(within(chance, self.place) * (1 - outside)[:, None])
        found[:, self.place] = outside
        return np.asarray(found)


@dataclass(frozen=True, kw_only=True)
class Decision(Value):
    """`thresholds` are the chances from which on labels are taken, in the schema's order."""

    thresholds: Late[tuple[float, ...]] = ()
    rejection: Late[Rejection | None] = None


def within(chance: Float[np.ndarray, "rows classes"], place: int) -> Float[np.ndarray, "rows classes"]:
    """q: the chances of the other classes among themselves, equal ones where they have none; 0 for class `place`."""
    others = np.asarray(chance, np.float64).copy()
    others[others[:, np.arange(others.shape[1]) != place].sum(axis=1) == 0] = 1.0
    others[:, place] = 0.0
    return np.asarray(others / others.sum(axis=1, keepdims=True))


def evidence(chance: Float[np.ndarray, "rows classes"], place: int) -> Float[np.ndarray, "rows 2"]:
    """(logit p_o, logit max q) of each row."""
    sure = within(chance, place).max(axis=1)
    return np.asarray(logit(np.clip(np.column_stack([chance[:, place], sure]), EDGE, 1 - EDGE)))


def decided(decision: Decision | None, chance: Float[np.ndarray, "rows ..."]) -> Float[np.ndarray, "rows ..."]:
    """The network's chances as metrics take them: after a rejection, with thresholds moved to one half."""
    if decision is not None and decision.rejection is not None:
        return decision.rejection.applied(chance)
    return at_half(chance, np.array(decision.thresholds)) if decision is not None and decision.thresholds else chance
