"""Lines through what was recorded at several numbers of rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import Float64

from abi.execution.recorder import Call, Recording
from abi.execution.types import CallLine

Line = tuple[float, float]
"""(fixed, per row)."""


def value_at(lines: Sequence[Line], rows: int) -> float:
    """The largest of the lines."""
    return max(fixed + row * rows for fixed, row in lines)


def alive_lines(recordings: Sequence[Recording], rows: Sequence[int]) -> tuple[tuple[Line, ...], float]:
    """The lines of the instants that are a peak at some number of rows, and how far the recordings lie above them.

    A storage's size is fixed or grows with the rows, so the bytes alive after the n-th operator are a line; the outermost
    recordings give it, those between check it. Where the operators are not the same at all numbers of rows, the lines go
    through the peaks.

    Returns:
        Lines by rising slope, and the largest relative distance of a recording's peak above them (0 where all fit).
    """
    peaks = [float(recording.peak_bytes) for recording in recordings]
    if len({len(recording.alive) for recording in recordings}) == 1 and len(rows) > 1:
        first, last = (np.array(recordings[i].alive, dtype=np.float64) for i in (0, -1))
        slope = np.maximum(0.0, (last - first) / (rows[-1] - rows[0]))
        lines = _upper(last - slope * rows[-1], slope)
    else:
        lines = _chords(peaks, rows)
    above = max(peak / value_at(lines, at) - 1 for peak, at in zip(peaks, rows, strict=True))
    return lines, max(0.0, above)


def upper_line(values: Sequence[float], rows: Sequence[int]) -> Line:
    """The line through the outermost values, lifted so that no value lies above it; it neither falls nor begins below 0."""
    slope = max(0.0, (values[-1] - values[0]) / (rows[-1] - rows[0])) if len(rows) > 1 else 0.0
    fixed = max(value - slope * at for value, at in zip(values, rows, strict=True))
    return rounded_up(max(0.0, fixed)), rounded_up(slope)


def call_lines(recordings: Sequence[Recording], rows: Sequence[int]) -> tuple[CallLine, ...]:
    """Every operator by itself where all recordings have the same ones in the same order, else added up by name."""
    sequences = [recording.calls for recording in recordings]
    alike = len({tuple((c.name, c.rate) for c in calls) for calls in sequences}) == 1
    groups: Counter[tuple[Any, ...]] = Counter()
    if alike:
        for group in zip(*sequences, strict=True):
            groups[_key(group, rows)] += 1
    else:
        totals = [_added(calls) for calls in sequences]
        for key in sorted(set().union(*totals)):
            groups[_key([total.get(key, _NOTHING._replace(name=key[0])) for total in totals], rows)] += 1
    return tuple(
        CallLine(
            name=name,
            calls=calls,
            flops=flops,
            bytes=moved,
            rate=rate,
            times=plain,
            tensor_times=tensor,
            kernels=kernels,
        )
        for (name, flops, moved, rate, plain, tensor, kernels), calls in sorted(groups.items())
    )


_NOTHING: Final = Call("", 0.0, 0.0, "", 1.0, 1.0, 0.0)


def _key(group: Sequence[Call], rows: Sequence[int]) -> tuple[Any, ...]:
    last = group[-1]
    flops, moved = (upper_line(values, rows) for values in ([c.flops for c in group], [c.bytes for c in group]))
    rate = next((c.rate for c in reversed(group) if c.rate), "")
    kernels = max(c.kernels for c in group)
    return last.name, flops, moved, rate, last.times, last.tensor_times, kernels


def _added(calls: Sequence[Call]) -> dict[tuple[str, str], Call]:
    found: dict[tuple[str, str], Call] = {}
    for call in calls:
        key = call.name, call.rate
        before = found.get(key, call._replace(flops=0.0, bytes=0.0, kernels=0.0))
        found[key] = call._replace(
            flops=before.flops + call.flops, bytes=before.bytes + call.bytes, kernels=before.kernels + call.kernels
        )
    return found


def rounded_up(value: float) -> float:
    """Up to a thousandth: the same text on every machine, and never below the value."""
    return math.ceil(value * 1000 - 1e-3) / 1000


def _upper(fixed: Float64[np.ndarray, " instants"], slope: Float64[np.ndarray, " instants"]) -> tuple[Line, ...]:
    """The lines that are the largest at some number of rows from 1 on."""
    steepest = sorted(
        {(s, f) for s, f in zip(slope.tolist(), fixed.tolist(), strict=True)}, key=lambda p: (p[0], -p[1])
    )
    hull: list[tuple[float, float]] = []
    for s, f in steepest:
        if hull and hull[-1][0] == s:  # as steep as the last one, and below it
            continue
        while hull and (_meets(hull[-1], (s, f)) <= max(1.0, _meets(hull[-2], hull[-1]) if len(hull) > 1 else 1.0)):
            hull.pop()
        hull.append((s, f))
    return tuple((rounded_up(f), rounded_up(s)) for s, f in hull)


def _meets(flat: tuple[float, float], steep: tuple[float, float]) -> float:
    """Rows from which the steeper line is the larger one."""
    return (flat[1] - steep[1]) / (steep[0] - flat[0])


def _chords(peaks: Sequence[float], rows: Sequence[int]) -> tuple[Line, ...]:
    """One line, as steep as the steepest part between neighbours, above all peaks."""
    slopes = [(b - a) / (y - x) for a, b, x, y in zip(peaks, peaks[1:], rows, rows[1:], strict=False)]
    slope = max([0.0, *slopes])
    return ((rounded_up(max(p - slope * at for p, at in zip(peaks, rows, strict=True))), rounded_up(slope)),)
