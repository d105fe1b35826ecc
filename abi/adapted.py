"""The values of adaptive learning: what was adapted along a stream and why, and what that was worth.

They stand below `abi.documents`, which reads them; what computes them is `abi.adapting`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from abi.types import Attention, Cost
from abi.values import Floats, Late, Value

Cause = Literal["start", "error", "data", "attention", "classes"]


@dataclass(frozen=True, kw_only=True)
class Adaptation(Value):
    """One decision: attention was fitted, and the plan revised, from some rows of the stream.

    `row` is the first one that the new models predict; `first` and `last` are the rows that attention was fitted on.
    `moved` is the total variation between both attentions over the features of either, `carried` the share of the
    network's weights that it took over from the one before. `attention` and `plans` (by expert) are ids; those of before
    are empty at the start. `classes` are those that were new.
    """

    number: int
    row: int
    causes: tuple[Cause, ...]
    reasons: tuple[str, ...]
    first: int
    last: int
    rows: int
    attention_before: str
    attention: str
    moved: float
    plans_before: dict[str, str]
    plans: dict[str, str]
    carried: float
    classes: tuple[str, ...]
    predicted: Cost
    weights: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Contender(Value):
    """One way to predict the same rows: over all of them, over the last window, and along the way.

    The figure is accuracy (classification) or root mean squared error. `curve` has the windowed one at each of
    `Adapted.at`; a point without a labelled row repeats the one before.
    """

    name: str
    overall: float
    window: float
    curve: Floats


@dataclass(frozen=True, kw_only=True)
class Adapted(Value):
    """What adapting along a stream came to.

    `start` says whether a champion predicted from the first row on (then `champion` is its version) or the first rows
    were learned from alone. `scored` are the rows with a label from `begin` on, `skipped` those without one there.
    `contenders` begins with "adapted"; "never adapted" is what the stream began with, left as it was. `shares` are the
    experts' shares of the blend at each of `at`. `late` are labels that the models did not know when they predicted the
    row. `attention` is the last one. `evaluation` and `reference` are ids of what the adapted model is registered with;
    where it cannot be registered, `obstacle` says why.
    """

    target: str
    metric: Literal["accuracy", "rmse"]
    snapshot_sha256: str
    settings: str
    start: Literal["champion", "cold"]
    champion: int | None
    rows: int
    begin: int
    scored: int
    skipped: int
    late: int
    window: int
    at: tuple[int, ...]
    contenders: tuple[Contender, ...]
    shares: dict[str, Floats]
    adaptations: tuple[Adaptation, ...]
    grown: int
    seconds: float
    row_s: float
    classes: tuple[str, ...]
    attention: Attention
    notes: tuple[str, ...] = ()
    evaluation: Late[str] = ""
    reference: Late[str] = ""
    obstacle: Late[str] = ""

    def contender(self, name: str) -> Contender:
        """The one of that name."""
        return next(c for c in self.contenders if c.name == name)
