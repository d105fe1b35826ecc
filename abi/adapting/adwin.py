"""ADWIN: a window over a sequence that drops its oldest part as soon as that part's mean is another one.

References:
    Bifet and Gavaldà, "Learning from Time-Changing Data with Adaptive Windowing", 2007: the cut's bound (their
    section 3.1, with the variance) and the exponential histogram that keeps the window in O(log W) buckets (4.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

BUCKETS: Final = 5
"""Buckets of each size (their M); one more, and the two oldest become one of twice the size."""
EVERY: Final = 32
"""Cuts are looked for once in so many values."""
LEAST: Final = 32
"""Values that each side of a cut has at least."""


@dataclass
class _Bucket:
    """Values in a row: how many, their sum, and their sum of squared deviations from their own mean."""

    count: int
    total: float
    spread: float

    def __add__(self, other: _Bucket) -> _Bucket:
        count = self.count + other.count
        gap = self.total / self.count - other.total / other.count
        between = gap * gap * self.count * other.count / count
        return _Bucket(count, self.total + other.total, self.spread + other.spread + between)


@dataclass
class Adwin:
    """Feed it values in [0, 1]; it says when their mean rose.

    Attributes:
        delta: chance of a false alarm, of each look.
    """

    delta: float
    _rows: list[list[_Bucket]] = field(default_factory=list)
    _seen: int = 0

    @property
    def width(self) -> int:
        """Values in the window: those since the last change."""
        return sum(bucket.count for bucket in self._newest_first())

    @property
    def mean(self) -> float:
        """Their mean; 0 of none."""
        buckets = list(self._newest_first())
        return sum(b.total for b in buckets) / max(1, sum(b.count for b in buckets))

    def add(self, value: float) -> bool:
        """Take the next value; True where the window was cut and what is left has the higher mean.

        A fall is dropped from the window too, without an alarm: errors that become fewer are no drift to act on.
        """
        self._seen += 1
        self._insert(_Bucket(1, value, 0.0))
        if self.delta <= 0 or self._seen % EVERY:
            return False
        rose = False
        while (cut := self._cut()) is not None:
            rose = rose or cut
        return rose

    def _newest_first(self) -> Iterator[_Bucket]:
        """Rows hold buckets of 1, 2, 4, .. values, the newest last."""
        for row in self._rows:
            yield from reversed(row)

    def _insert(self, bucket: _Bucket) -> None:
        for row in self._rows:
            row.append(bucket)
            if len(row) <= BUCKETS:
                return
            bucket = row.pop(0) + row.pop(0)
        self._rows.append([bucket])

    def _cut(self) -> bool | None:
        """Drop the oldest bucket where some cut separates two means; gives whether the newer one is higher."""
        buckets = list(self._newest_first())
        whole = buckets[0]
        for bucket in buckets[1:]:
            whole = whole + bucket
        if whole.count < 2 * LEAST:
            return None
        variance, confidence = whole.spread / whole.count, math.log(2 * math.log(whole.count) / self.delta)
        new_count, new_total = 0, 0.0
        for bucket in buckets[:-1]:
            new_count, new_total = new_count + bucket.count, new_total + bucket.total
            old_count = whole.count - new_count
            if min(new_count, old_count) < LEAST:
                continue
            inverse = 1 / new_count + 1 / old_count  # 1 / m, with m their harmonic mean of both sizes
            bound = math.sqrt(2 * inverse * variance * confidence) + 2 / 3 * inverse * confidence
            gap = new_total / new_count - (whole.total - new_total) / old_count
            if abs(gap) > bound:
                self._drop()
                return gap > 0
        return None

    def _drop(self) -> None:
        """Forget the oldest bucket."""
        self._rows[-1].pop(0)
        while self._rows and not self._rows[-1]:
            self._rows.pop()
