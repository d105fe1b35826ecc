"""The values of monitoring: what the champion was trained on, and how far new rows lie from it.

They stand below `abi.documents`, which reads them; what computes them is `abi.monitoring`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from abi.types import ScoreBlend
from abi.values import Floats, Late, Value


@dataclass(frozen=True, kw_only=True)
class Fine(Value):
    """The finer cells of a numeric feature, for two-sample tests: cell i holds ends[i-1] < x <= ends[i].

    `rows` are counts, `means` the mean value of each cell; the last cell, which has no end, holds what is above.
    Where single precision would put rows into other cells, `ends_left` and `means_left` are what it leaves of them.
    """

    ends: Floats
    rows: Floats
    means: Floats
    ends_left: Late[Floats] = ()
    means_left: Late[Floats] = ()

    @property
    def exact_ends(self) -> Float64[np.ndarray, " ends"]:
        """The ends as they were chosen."""
        return _exact(self.ends, self.ends_left)

    @property
    def exact_means(self) -> Float64[np.ndarray, " cells"]:
        """The mean values as they were counted."""
        return _exact(self.means, self.means_left)


def _exact(single: tuple[float, ...], left: tuple[float, ...]) -> Float64[np.ndarray, " values"]:
    return np.array(single, np.float64) + (np.array(left, np.float64) if left else 0.0)


@dataclass(frozen=True, kw_only=True)
class Distribution(Value):
    """How the values of one feature, or the predictions, lie over cells. The last cell of `counts` is for missing values.

    numeric: bin i holds edges[i] < x <= edges[i+1] (the first one its lower end too), then a cell for what lies outside.
    category: a cell per frequent value, the most frequent first, then one for all others; `complete` where there were none.
    text: cells by the number of words, up to and with each of `edges` (the first is 0, an empty text), then longer ones;
    `values` are frequent terms and `terms` the rows that each stands in, at the end those with none of them.

    `calendar` features (parts of a date) move by themselves, and are shown but not judged.
    """

    feature: str
    kind: Literal["numeric", "category", "text"]
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    complete: bool = True
    fine: Fine | None = None
    terms: tuple[int, ...] = ()
    calendar: bool = False

    @property
    def rows(self) -> int:
        """Rows that were counted."""
        return sum(self.counts)


@dataclass(frozen=True, kw_only=True)
class Reference(Value):
    """What a model was trained on: what new rows are held against.

    `features` are of the training rows, `prediction` of rows that were held out. `weights` is the attention that the
    data scores gave, at the temperature, floor, cap, blend and tail of the model's attention, before any model moved it;
    `scoring` are the settings they were made with. `problem`, `snapshot` (SHA-256 of the file) and `artifact` say of what.
    """

    problem: str
    snapshot: str
    artifact: str
    rows: int
    features: tuple[Distribution, ...]
    prediction: Distribution | None
    weights: tuple[float, ...]
    temperature: float
    floor: float
    cap: float
    blend: ScoreBlend | None = None
    scoring: dict[str, Any] = field(default_factory=dict)
    tail: Late[float | None] = None


@dataclass(frozen=True, kw_only=True)
class FeatureDrift(Value):
    """How far one feature (or the predictions) has moved.

    `psi` is the population stability index less what chance gives, `statistic` that of Kolmogorov and Smirnov (numeric) or
    the largest change of a cell's share (category), of a cell's or a term's (text); `p_value` is Holm-corrected over
    all features. `distance` is Wasserstein's in standard deviations of the training rows (numeric). `unseen` is the share
    of values that no training row had, or that lie outside their range.
    """

    feature: str
    weight: float
    psi: float
    statistic: float
    p_value: float
    distance: float | None
    missing_before: float
    missing_now: float
    unseen: float
    drifted: bool
    judged: bool = True


@dataclass(frozen=True, kw_only=True)
class AttentionDrift(Value):
    """Attention by the scores of the training rows, and by those of the new rows.

    `distance` is Jensen and Shannon's (base 2, from 0 to 1), `band` what chance stays below where nothing moved.
    """

    rows: int
    distance: float
    band: float
    before: tuple[float, ...]
    now: tuple[float, ...]
    drifted: bool


@dataclass(frozen=True, kw_only=True)
class Drift(Value):
    """New rows, held against what the champion was trained on.

    `level` is how far past their limits (1) the figures lie; `judged` is False where the rows are too few to say.
    `alarm` is on from level 1 on, until the level falls below the hysteresis. `due` says that a retraining is.
    """

    model: str
    version: int
    reference: str
    snapshot: str
    time: str
    rows: int
    features: tuple[FeatureDrift, ...]
    prediction: FeatureDrift | None
    attention: AttentionDrift | None
    share: float
    psi: float
    level: float
    judged: bool
    alarm: bool
    due: bool
    since: str | None
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()
