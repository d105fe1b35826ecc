"""Settings of adaptive learning: predict, then learn, along a stream (`abi adapt`).

None of them changes what ``abi run`` trains, so none is part of a run's identity (`Config.digest`). Defaults were chosen on
the first 25 to 40% of three open streams (elec2, noaa_weather, outdoor_stream).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from abi.sections import Section, Share

ExpertName = Literal["network", "trees", "change"]
Positive = Annotated[float, Field(gt=0, lt=math.inf)]


class AdaptConfig(Section):
    """How a model goes on learning along a stream."""

    warmup: float = Field(default=0.1, gt=0, lt=math.inf)
    """Rows that the first own models learn from before any row is scored: a share of the stream below 1, else a number."""
    every: int = Field(default=100, ge=1)
    """Rows of a block: predict all of it, then learn from what has arrived."""
    label_delay: int = Field(default=1, ge=1)
    """How many rows later a row's label is known: with 1 it is known when the next row is predicted."""
    lags: int = Field(default=3, ge=0, le=64)
    """So many labels that arrived last are features."""
    recent: tuple[Annotated[int, Field(ge=2, le=10_000)], ...] = (8, 32)
    """Over so many labels that arrived last, the share of each class (of the mean target) is a feature."""
    halves: tuple[Annotated[float, Field(ge=0, lt=math.inf)], ...] = (0.0, 8.0, 64.0)
    """A number's change from its mean over the rows before is a feature, with weights that halve in so many rows (0: the last row)."""
    changes: int = Field(default=32, ge=0)
    """Numeric columns, those with the best scores, whose changes are features."""
    experts: tuple[ExpertName, ...] = ("network", "trees", "change")
    """What learns beside persistence: a network, trees, and trees that say whether (or by how much) the target changes."""
    trees: int = Field(default=800, ge=1)
    """Most trees of one growth, which are as many as classes in each round; the envelope may make it less."""
    rounds: int = Field(default=100, ge=1)
    """Most rounds of boosting of one growth."""
    history: int = Field(default=10_000, ge=50)
    """Latest rows that trees are grown on."""
    refit: Annotated[float, Field(gt=0, lt=math.inf)] = 0.1
    """Trees are grown anew when the rows since make up this share of those that they were grown on."""
    epochs: int = Field(default=10, ge=1)
    """Epochs of the network on the rows of the warm-up, and after drift, at `rate`, on those of the replay."""
    steps: int = Field(default=4, ge=0)
    """Steps of the network after each block."""
    replay: int = Field(default=2_000, ge=1)
    """Latest rows that those steps, and an adaptation's epochs, draw from."""
    rate: Positive = 0.3
    """Their learning rate over the plan's peak rate."""
    blend_rows: Positive = 200.0
    """Rows in which an expert's past loss counts half in its share of the blend."""
    blend_temperature: Positive = 16.0
    """Softmax temperature of those losses (nats, or variances of the target); the larger, the more even the blend."""
    window: int = Field(default=1_000, ge=50)
    """Latest rows that drift is looked for on, and that windowed metrics are of."""
    cooldown: int = Field(default=1_000, ge=1)
    """Least rows from one adaptation to the next."""
    drift: Share = 0.002
    """Chance of a false alarm of the detector of errors (ADWIN's delta); 0 turns it off."""
