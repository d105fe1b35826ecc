"""The values that say how a model and its attention bear changed inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from abi.types import Estimate
from abi.values import Late, Value

Strength = Literal["weak", "middle", "strong"]
Contender = Literal["model", "uniform", "baseline"]


@dataclass(frozen=True, kw_only=True)
class Suffered(Value):
    """What one contender came to: the metric, and by how much it is worse than without the change (paired)."""

    contender: Contender
    value: Estimate
    loss: Estimate


@dataclass(frozen=True, kw_only=True)
class Perturbed(Value):
    """Held-out rows under one change.

    `kind` is noise in the values, missing values, or "adversarial": an FGSM step on the embeddings, which only networks have.
    `feature` is there where it alone was missing.
    """

    kind: Literal["noise", "missing", "adversarial"]
    what: str
    contenders: tuple[Suffered, ...]
    strength: Strength | None = None
    feature: str | None = None

    def of(self, contender: Contender) -> Suffered | None:
        """What that contender came to, None where the change cannot be made to it."""
        return next((c for c in self.contenders if c.contender == contender), None)


@dataclass(frozen=True, kw_only=True)
class Stability(Value):
    """Attention fitted anew to changed training rows, held against the one that data gave: means over `refits`.

    `rank` is Spearman's correlation of the scores, None where they do not vary; `moved` the total variation distance of
    the attention, with its largest value. `feature` is there where it is the attention over the terms of that text.
    """

    kind: Literal["resampled", "noise"]
    what: str
    refits: int
    rank: float | None
    moved: float
    moved_most: float
    strength: Strength | None = None
    feature: Late[str | None] = None


@dataclass(frozen=True, kw_only=True)
class Robustness(Value):
    """Quality of the contenders under changed inputs. `metric` is accuracy or RMSE, or what the settings ask for."""

    metric: str
    rows: int
    clean: dict[str, Estimate]
    perturbed: tuple[Perturbed, ...]
    stability: Late[tuple[Stability, ...]] = ()

    @property
    def middle(self) -> tuple[Perturbed, ...]:
        """The changes of middle strength."""
        return tuple(p for p in self.perturbed if p.strength == "middle")
