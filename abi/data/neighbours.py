"""Are neighbouring rows more alike than any two rows? Then a random split puts each held-out row beside rows that it was taught."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float64, Shaped

from abi.data.columns import Codes, Columns
from abi.data.columns import encode as encode_rows
from abi.data.table import Tabular
from abi.problem import Schema

BLOCK_ROWS: Final = 8_192
BLOCKS: Final = 3
LEAST_ROWS: Final = 100
ALIKE_TARGET: Final = 0.15
ALIKE_FEATURES: Final = 0.3
"""From here on, on a scale from chance (0) to always the same (1), neighbours count as alike."""
DEVIATIONS: Final = 5.0


@dataclass(frozen=True)
class Alikeness:
    """How much more alike neighbouring rows are than any two, from 0 (chance) to 1; `rows` were looked at.

    `target` is (equal neighbours - chance) / (1 - chance) of classes, the lag-1 autocorrelation of ranks of numbers;
    `features` is the upper quartile of the same over the features. `sorted` where the rows lie in the target's own order.
    """

    target: float
    features: float
    rows: int
    sorted: bool

    @property
    def leaks(self) -> bool:
        """Whether a random split would hold out rows whose neighbours were trained on.

        Rows sorted by their class or value, or by a feature alone, are no sequence.
        """
        chance = DEVIATIONS / np.sqrt(max(self.rows, 1))
        alike = self.target > max(ALIKE_TARGET, chance) and self.features > max(ALIKE_FEATURES, chance)
        return bool(self.rows >= LEAST_ROWS and not self.sorted and alike)


def alikeness(table: Tabular, schema: Schema) -> Alikeness:
    """Look at up to three stretches of 8,192 neighbouring rows, at the start, in the middle and at the end of the table."""
    plain = tuple(
        f for f in schema.features if f.kind not in ("region", "embedding", "sequence")
    )  # pictures are not decoded for this
    schema = replace(schema, features=plain, grids=())
    columns = list(dict.fromkeys([*(f.column for f in schema.features), schema.target]))
    starts = sorted({max(0, (table.rows - BLOCK_ROWS) * i // (BLOCKS - 1)) for i in range(BLOCKS)})
    targets, features, rows, turns = [], [], 0, 0
    for start in starts:
        for first, batch in table.batches(columns, BLOCK_ROWS, range(start, start + BLOCK_ROWS)):
            found = encode_rows(batch, schema, np.arange(first, first + batch.num_rows, dtype=np.int64))
            if len(found) < 2:  # noqa: PLR2004 - a pair
                continue
            assert found.target is not None
            rows += len(found)
            target = _numbered(found.target)
            targets.append(_pairs(target, schema.task != "regression"))
            turns += _turns(target, schema.task != "regression")
            features.append(_features(found))
    if not rows:
        return Alikeness(0.0, 0.0, 0, sorted=False)
    spread = np.array([np.nanquantile(one, 0.75) if np.isfinite(one).any() else 0.0 for one in features])
    few = len(schema.classes) * len(targets) if schema.classes else 2 * len(targets)
    return Alikeness(float(np.mean(targets)), float(spread.mean()), rows, sorted=turns < few)


def _features(rows: Columns) -> Float64[np.ndarray, " features"]:
    found = [autocorrelation(column) for column in rows.numeric.T]
    found += [_same(feature) for feature in rows.categorical]
    return np.array(found or [0.0])


def _same(feature: Codes) -> float:
    return equality(feature.codes.astype(np.float64))


def _numbered(target: np.ndarray) -> Shaped[np.ndarray, " rows"]:
    """The target; sets of labels as numbers, the same for equal sets."""
    if target.ndim == 1:
        return target
    return np.asarray(np.unique(target, axis=0, return_inverse=True)[1]).reshape(-1)


def _pairs(target: np.ndarray, classes: bool) -> float:
    return equality(target.astype(np.float64)) if classes else autocorrelation(target.astype(np.float64))


def _turns(target: np.ndarray, classes: bool) -> int:
    """How often the class changes; how often the values turn from rising to falling or back."""
    steps = np.diff(target.astype(np.float64))
    if classes:
        return int((steps != 0).sum())
    signs = np.sign(steps[steps != 0])
    return int((np.diff(signs) != 0).sum())


def equality(values: Float64[np.ndarray, " rows"]) -> float:
    """(P(two neighbours are equal) - P(any two are equal)) / (1 - P(any two are equal)); 0 for a constant."""
    _, counts = np.unique(values, return_counts=True)
    chance = float(((counts / len(values)) ** 2).sum())
    return 0.0 if chance >= 1 else float(((values[1:] == values[:-1]).mean() - chance) / (1 - chance))


def autocorrelation(values: Float64[np.ndarray, " rows"]) -> float:
    """Pearson's correlation of the ranks of neighbours (Spearman's of a lag of 1); NaN where there is nothing to compare."""
    known = values[np.isfinite(values)]
    if len(known) < 3 or known.min() == known.max():  # noqa: PLR2004 - two pairs
        return float("nan")
    _, place, counts = np.unique(known, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    before, after = ranks[:-1] - ranks[:-1].mean(), ranks[1:] - ranks[1:].mean()
    scale = float(np.sqrt((before**2).sum() * (after**2).sum()))
    return float((before * after).sum() / scale) if scale else float("nan")
