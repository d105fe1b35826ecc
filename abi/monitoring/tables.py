"""One table per feature: each cell's share before and now, and what it adds to the index."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from abi.monitored import Distribution
from abi.monitoring.drift import stability_parts
from abi.monitoring.tally import Tally


@dataclass(frozen=True)
class Line:
    """A cell of a feature. `part` is None for terms, which stand beside each other and do not add up."""

    cell: str
    rows_before: int
    rows_now: int
    share_before: float
    share_now: float
    part: float | None


def lines(before: Distribution, now: Tally) -> list[Line]:
    """All cells of a feature, then a text's terms."""
    parts = stability_parts(np.array(before.counts), now.counts)
    cells = zip(_names(before), before.counts, now.counts.tolist(), parts.tolist(), strict=True)
    found = [_line(name, old, new, before, now, part) for name, old, new, part in cells]
    if before.kind == "text":
        named = zip((*before.values, "none of these terms"), before.terms, now.terms.tolist(), strict=True)
        found += [_line(f"term {name}", old, new, before, now, None) for name, old, new in named]
    return found


def _line(name: str, old: int, new: int, before: Distribution, now: Tally, part: float | None) -> Line:
    return Line(name, old, new, old / max(1, before.rows), new / max(1, now.rows), part)


def _names(before: Distribution) -> list[str]:
    edges = [f"{edge:.6g}" for edge in before.edges]
    if before.kind == "category":
        return [*before.values, "other values", "missing"]
    if before.kind == "text":
        ends = zip([None, *edges[:-1]], edges, strict=True)
        words = ["0 words" if low is None else f"over {low} to {high} words" for low, high in ends]
        return [*words, f"over {edges[-1]} words", "missing"]
    first = [f"{edges[0]} to {edges[1]}"] if len(edges) > 1 else []
    return [*first, *(f"over {a} to {b}" for a, b in pairwise(edges[1:])), "outside", "missing"]
