"""Where a value stands on a bar that is drawn with CSS, in per cent of its width."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """A linear scale; values outside land on its ends."""

    low: float | int
    high: float | int

    @classmethod
    def over(cls, values: Iterable[float | int], margin: float = 0.06) -> Axis:
        """The range of `values` with a margin on both sides."""
        seen = list(values) or [0.0]
        low, high = min(seen), max(seen)
        room = margin * (high - low) or max(abs(high), 1.0) * margin
        return cls(low - room, high + room)

    @classmethod
    def upto(cls, values: Iterable[float | int]) -> Axis:
        """From zero to the largest of `values`."""
        return cls(0.0, max(values, default=0.0) or 1.0)

    def at(self, value: float | int) -> float:
        """Position of `value`, 0 to 100."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def span(self, low: float | int, high: float | int) -> tuple[float, float]:
        """Start and length of the piece from `low` to `high`."""
        start = self.at(low)
        return start, round(max(self.at(high) - start, 0.0), 2)
