"""A convex blend of experts: attention over models, a = softmax(-L / t), with L each one's discounted past loss.

With t = 1 and no discount it is the exponentially weighted average forecaster, which for the logarithmic loss is Bayes' mixture.
The discount lets an expert that was bad long ago come back.

References:
    Vovk, "Aggregating strategies", 1990. Cesa-Bianchi and Lugosi, "Prediction, Learning, and Games", 2006, chapter 2
    (their eta is our 1 / t) and section 2.11 (discounted regret).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from abi.attention.simplex import softmax

Each = Float[np.ndarray, " experts"]


@dataclass
class Blend:
    """Shares of the experts, moved by what they lose.

    Attributes:
        half_rows: rows in which a loss counts half.
        temperature: t.
        losses: L of each expert.
        rows: how many rows they are of.
        silent: the number of one that is not heard, though its losses are known; None where all are.
    """

    half_rows: float
    temperature: float
    losses: Each
    rows: int = 0
    silent: int | None = None

    @classmethod
    def even(cls, experts: int, half_rows: float, temperature: float) -> Blend:
        """Nothing is known of any."""
        return cls(half_rows, temperature, np.zeros(experts))

    @property
    def weights(self) -> Each:
        """On the simplex."""
        losses = self.losses.copy()
        if self.silent is not None:
            losses[self.silent] = np.inf
        return softmax(-losses, self.temperature)

    def absorb(self, losses: Each) -> None:
        """One row's label became known."""
        self.losses = 0.5 ** (1 / self.half_rows) * self.losses + losses
        self.rows += 1

    def join(self, experts: int) -> None:
        """So many more, each as good so far as the blend was on average: they start with a share like the others'."""
        mean = float(self.weights @ self.losses)
        self.losses = np.append(self.losses, np.full(experts, mean))
