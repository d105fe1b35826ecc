"""Rare values of a category share embedding rows with values of the same profile.

A value's *profile* is its smoothed mean of the target, in one of `BUCKETS` buckets, and how often it was seen, in one of
`LEVELS` levels; its embedding is the sum of the two rows. So a category of 100,000 values costs 22 rows beside the
frequent values' own, and a value seen twice still says what it can. For training rows the profile is that of the other
folds' rows (`abi.inputs.target_means`).

References:
    Shi et al., "Compositional embeddings", 2020 (sums of rows from two partitions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor, nn

from abi.data.split import splitmix64
from abi.inputs.kind import Step, TableRows
from abi.inputs.target_means import held_out_means, target_means
from abi.values import Value

if TYPE_CHECKING:
    from abi.data.columns import Codes

BUCKETS: Final = 16
LEVEL_STARTS: Final = (1, 2, 4, 10, 31)
"""Rows from which the next level begins; level 0 are values that training never saw."""
LEVELS: Final = len(LEVEL_STARTS) + 1
SHARED_ROWS: Final = BUCKETS + LEVELS
FOLDS: Final = 10
SMOOTHING: Final = 1.0
SHARED_FROM: Final = 128
"""A category with more values than this can share rows."""
OWN_PER_WIDTH: Final = 16
"""Frequent values of a category with a row of their own, per unit of width; the others share rows."""
_SEED: Final = 0x0F01D


@dataclass(frozen=True, kw_only=True)
class Sharing(Value):
    """Where each value's rows are.

    Attributes:
        own: values with a row of their own, which is their place here.
        others: all other values that training saw.
        bucket: of each of those.
        level: of each of those.
        unseen: bucket of a value that training never saw.
    """

    own: tuple[str, ...]
    others: tuple[str, ...]
    bucket: tuple[int, ...]
    level: tuple[int, ...]
    unseen: int

    @property
    def rows(self) -> int:
        """Rows of the table: own, buckets, levels, missing."""
        return len(self.own) + SHARED_ROWS + 1

    def look_up(self, codes: Codes) -> Int64[np.ndarray, "cells 2"]:
        """Two table rows per cell; the second is `rows` (a row of zeros) where one says all."""
        known = {value: (i, self.rows) for i, value in enumerate(self.own)}
        first, second = len(self.own), len(self.own) + BUCKETS
        known |= {
            value: (first + b, second + n) for value, b, n in zip(self.others, self.bucket, self.level, strict=True)
        }
        unseen, missing = (first + self.unseen, second), (self.rows - 1, self.rows)
        places = np.array([*(known.get(value, unseen) for value in codes.values), missing], dtype=np.int64)
        return np.asarray(places[codes.codes])


def parameters(width: int, own: int) -> int:
    """Trainable parameters of one feature."""
    return width * (own + SHARED_ROWS + 1)


def sharing_step(width: int, own: int) -> Step:
    """What a category of many values gets at `width` where all but the `own` most frequent ones share rows."""
    rows = own + SHARED_ROWS + 1
    return Step(width=width, rows=rows, shared=SHARED_ROWS + 1, encoder_parameters=parameters(width, own))


def learn(
    codes: Codes,
    axes: Float64[np.ndarray, "cells axes"],
    row_numbers: Int64[np.ndarray, " cells"],
    own: int,
) -> tuple[Sharing, Int64[np.ndarray, "cells 2"]]:
    """From training rows: where values' rows are, and the rows of the training cells themselves, cross-fitted.

    Args:
        codes: the feature in training rows.
        axes: the target: one column (binary: 0 or 1; regression: standardised) or one per class.
        row_numbers: they decide the fold, by hash.
        own: the most frequent values that get a row of their own.
    """
    count, rows = len(codes.values), len(codes.codes)
    there = codes.codes >= 0
    value, known = codes.codes[there].astype(np.int64), axes[there]
    base = axes.mean(axis=0) if rows else np.zeros(axes.shape[1])
    profile, times = target_means(value, known, count, base, SMOOTHING)
    priors = np.broadcast_to(base, (FOLDS, len(base)))
    held, held_times = held_out_means(value, known, _fold(row_numbers)[there], count, priors, SMOOTHING)
    bucket_of = _buckets(held, base)
    frequent = sorted(np.flatnonzero(times), key=lambda i: (-times[i], codes.values[i]))
    mine, others = frequent[:own], frequent[own:]
    sharing = Sharing(
        own=tuple(codes.values[i] for i in mine),
        others=tuple(codes.values[i] for i in others),
        bucket=tuple(int(b) for b in bucket_of(profile[others])) if others else (),
        level=tuple(int(n) for n in _level(times[others])) if others else (),
        unseen=int(bucket_of(base[None])[0]),
    )
    place = np.full(count, -1)
    place[mine] = np.arange(len(mine))
    result = np.empty((rows, 2), dtype=np.int64)
    result[:] = (sharing.rows - 1, sharing.rows)
    owned = place[value] >= 0
    first = np.where(owned, place[value], len(mine) + bucket_of(held))
    level = len(mine) + BUCKETS + _level(held_times)
    result[there] = np.column_stack([first, np.where(owned, sharing.rows, level)])
    return sharing, result


def _fold(row_numbers: Int64[np.ndarray, " cells"]) -> Int64[np.ndarray, " cells"]:
    return (splitmix64(row_numbers, _SEED) % np.uint64(FOLDS)).astype(np.int64)


def _level(times: np.ndarray) -> Int64[np.ndarray, " values"]:
    return np.searchsorted(np.array(LEVEL_STARTS) - 0.5, times).astype(np.int64)


class _Quantiles:
    """Buckets of about equal numbers of rows along one axis."""

    def __init__(self, profiles: np.ndarray) -> None:
        at = np.linspace(0, 1, BUCKETS + 1)[1:-1]
        self.edges = np.unique(np.quantile(profiles[:, 0], at)) if len(profiles) else np.zeros(0)

    def __call__(self, profiles: np.ndarray) -> Int64[np.ndarray, " values"]:
        return np.searchsorted(self.edges, profiles[:, 0]).astype(np.int64)


class _Clusters:
    """Buckets of several axes: the nearest of k-means' centres."""

    def __init__(self, profiles: np.ndarray) -> None:
        from sklearn.cluster import KMeans  # noqa: PLC0415 - scikit-learn takes a second to import
        from threadpoolctl import threadpool_limits  # noqa: PLC0415

        distinct = np.unique(profiles, axis=0)
        if len(distinct) <= BUCKETS:
            self.centres = distinct
        else:
            chosen = profiles[np.random.default_rng(0).permutation(len(profiles))[:4096]]
            few = min(BUCKETS, len(np.unique(chosen, axis=0)))
            with threadpool_limits(1):  # no more cores than training was given, and sums in one order
                self.centres = KMeans(few, n_init=1, random_state=0).fit(chosen).cluster_centers_

    def __call__(self, profiles: np.ndarray) -> Int64[np.ndarray, " values"]:
        squares = (self.centres**2).sum(axis=1)
        return np.asarray((squares - 2 * profiles @ self.centres.T).argmin(axis=1), dtype=np.int64)


def _buckets(profiles: np.ndarray, base: Float64[np.ndarray, " axes"]) -> _Quantiles | _Clusters:
    return _Quantiles(profiles) if len(base) == 1 else _Clusters(np.concatenate([profiles, base[None]]))


class ProfileEncoder(nn.Module):
    """Categories that share rows, one table each. The output's columns stand in `order`: sorted by width."""

    def __init__(self, rows: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.order = sorted(range(len(widths)), key=lambda i: widths[i])
        self.tables = nn.ParameterList()
        for i in self.order:
            bound = widths[i] ** -0.5
            self.tables.append(nn.Parameter(torch.empty(rows[i], widths[i]).uniform_(-bound, bound)))

    def owners(self) -> dict[str, Int[Tensor, " rows"]]:
        """Table -> the place in `order` of the feature that each of its rows belongs to."""
        return {f"tables.{i}": torch.tensor(i).expand(len(table)) for i, table in enumerate(self.tables)}

    def encode(self, cells: Sequence[Int64[np.ndarray, "rows 2"]]) -> TableRows:
        """Table rows of each feature, in schema order -> in this encoder's."""
        return TableRows(torch.from_numpy(np.stack([cells[i] for i in self.order], axis=1).astype(np.int32)))

    def forward(self, cells: TableRows) -> Float[Tensor, "rows embedding"]:
        """The features' embeddings side by side: the sum of two rows each."""
        parts = []
        for place, table in enumerate(self.tables):
            padded = torch.cat([table, table.new_zeros(1, table.shape[1])])
            found = padded.index_select(0, cells.rows[:, place].reshape(-1))
            parts.append(found.view(-1, 2, table.shape[1]).sum(1))
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
