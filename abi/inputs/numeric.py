"""Numeric features: piecewise-linear encodings with bins and a width of each feature's own.

The embedding of a value between two knots is the straight line between the knots' embeddings, which is the
piecewise-linear encoding of Gorishniy et al. 2022 (arXiv 2203.05556) followed by a linear layer: with T_j the sum of
that layer's first j weight rows, knot j has embedding base + T_j. Looking up two rows and interpolating costs the same
at any number of bins, while the encoding itself costs bins x width per value; and each feature may have its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from abi.inputs.kind import EVEN_WIDTH, WIDTHS, Sizes, Step, usable
from abi.inputs.on_gpu import on_gpu

if TYPE_CHECKING:
    from abi.problem import Feature

MIN_BINS: Final = 4


def parameters(width: int, bins: int) -> int:
    """Trainable parameters of one feature: knots (bins + 1), slope, base and missing value, each of `width`."""
    return width * (bins + 1 + 3)


def step(feature: Feature, width: int, sizes: Sizes) -> Step:
    """Bins grow with the width, within a quarter and twice those of the even width, up to the distinct values."""
    bins = sizes.bins
    wanted = min(max(bins * width // EVEN_WIDTH, bins // 4, MIN_BINS), 2 * bins)
    kept = max(1, min(wanted, feature.distinct - 1))
    return Step(width=width, bins=kept, encoder_parameters=parameters(width, kept))


def rungs(feature: Feature, sizes: Sizes, frugal: bool) -> tuple[Step, ...]:  # noqa: ARG001 - as all kinds
    """Every width that it can use."""
    top = usable(feature, WIDTHS[-1])
    return tuple(step(feature, width, sizes) for width in WIDTHS if width <= top)


def quantile_edges(values: Float[np.ndarray, " rows"], bins: int) -> Float[np.ndarray, " knots"]:
    """At most ``bins + 1`` increasing knots: all distinct values where they are few, else quantiles.

    A value that holds many rows takes one knot, and the other knots are spread over the other rows, so that a feature
    that is 90% zeros still gets its bins.

    Args:
        values: NaN and infinities are left out.
        bins: at least 1.
    """
    distinct, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if distinct.size == 0:
        return np.array([0.0, 1.0])
    if distinct.size == 1:
        return np.array([distinct[0], np.nextafter(distinct[0] + 1.0, np.inf)])
    if distinct.size <= bins + 1:
        return np.asarray(distinct)
    ends = np.zeros(distinct.size, dtype=bool)
    ends[[0, -1]] = True
    taken = ends.copy()
    while (free := bins + 1 - int(taken.sum())) > 0:
        spikes = ~taken & (counts > counts[~taken].sum() / (free + 1))
        if not spikes.any():
            break
        taken[np.flatnonzero(spikes)[:free]] = True
    if free > 0:
        rest, mass = np.flatnonzero(~taken), np.cumsum(counts[~taken])
        at = np.searchsorted(mass, mass[-1] * np.arange(1, free + 1) / (free + 1))
        taken[rest[np.minimum(at, rest.size - 1)]] = True
    return np.asarray(distinct[taken])


@dataclass(frozen=True)
class NumericCodes:
    """Numeric cells as knot and fraction, computed once per table.

    row: int32, the row of the width group's table; fraction: float32 in [0, 1], how far towards the next knot.
    """

    row: Int[Tensor, "rows numeric"]
    fraction: Float[Tensor, "rows numeric"]

    def take(self, index: Int[Tensor, " taken"]) -> NumericCodes:
        """The rows at `index`."""
        return NumericCodes(self.row.index_select(0, index), self.fraction.index_select(0, index))

    def to(self, device: torch.device) -> NumericCodes:
        """The same on another device."""
        return NumericCodes(self.row.to(device), self.fraction.to(device))

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that it consists of."""
        return self.row, self.fraction


class _Interpolate(torch.autograd.Function):
    """``table[row] * (1 - fraction) + table[row + 1] * fraction``; autograd's own backward takes three times as long."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, row: Tensor, fraction: Tensor) -> Tensor:
        """Table (table_rows, width); row and fraction (cells,). Returns (cells, width)."""
        ctx.save_for_backward(row, fraction)
        ctx.table_rows = table.shape[0]
        low = table.index_select(0, row)
        return low.lerp_(table.index_select(0, row + 1), fraction.unsqueeze(-1))

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        """Scatter each cell's gradient to its two knots."""
        grad = grads[0]
        row, fraction = ctx.saved_tensors
        high = grad * fraction.unsqueeze(-1)
        out = grad.new_zeros(ctx.table_rows, grad.shape[1])
        out.index_add_(0, row, grad - high).index_add_(0, row + 1, high)
        return out, None, None


def _running_sum(x: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
    """Down the rows. A GPU does it in parallel along the last dimension alone: there it took three quarters of a step."""
    if on_gpu(x):
        return torch.cumsum(x.T.contiguous(), 1).T
    return torch.cumsum(x, 0)


class _Group(nn.Module):
    """Features of one width. `z` is the normal score of each knot: the embedding starts as linear in it."""

    column: Tensor
    first_row: Tensor
    inner: Tensor
    z: Tensor

    def __init__(self, knots: Sequence[int], width: int) -> None:
        super().__init__()
        counts = torch.tensor(knots)
        start = torch.cumsum(counts, 0) - counts
        self.register_buffer("column", torch.repeat_interleave(torch.arange(len(knots)), counts), persistent=False)
        self.register_buffer("first_row", start[self.column], persistent=False)
        inner = torch.ones(int(counts.sum()), 1)
        inner[start] = 0.0
        self.register_buffer("inner", inner, persistent=False)
        scores = []
        for count in knots:
            score = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)
            scores.append((score / score.square().mean().sqrt()).float().unsqueeze(-1))
        self.register_buffer("z", torch.cat(scores), persistent=False)
        bound = width**-0.5
        self.increment = nn.Parameter(torch.zeros(int(counts.sum()), width))
        self.slope = nn.Parameter(torch.empty(len(knots), width).uniform_(-bound, bound))
        self.base = nn.Parameter(torch.empty(len(knots), width).uniform_(-bound, bound))
        self.missing = nn.Parameter(torch.zeros(len(knots), width))

    def table(self) -> Float[Tensor, "table_rows width"]:
        """Knots of all features, then the missing rows, then one spare row that a missing cell's second knot reads."""
        total = _running_sum(self.increment * self.inner)
        knots = total - total.index_select(0, self.first_row)
        knots = knots + torch.addcmul(self.base[self.column], self.slope[self.column], self.z)
        return torch.cat([knots, self.missing, self.missing[:1]])

    def forward(
        self, row: Int[Tensor, "rows features"], fraction: Float[Tensor, "rows features"]
    ) -> Float[Tensor, "rows flat"]:
        """The group's embeddings side by side."""
        out = _Interpolate.apply(self.table(), row.reshape(-1), fraction.reshape(-1))  # type: ignore[no-untyped-call]  # torch does not annotate it
        return torch.as_tensor(out).view(row.shape[0], -1)


class NumericEncoder(nn.Module):
    """Numeric features, each with its own knots and width; one lookup per distinct width.

    The output's columns stand in `order`: features sorted by width.
    """

    def __init__(self, edges: Sequence[Float[np.ndarray, " _"]], widths: Sequence[int]) -> None:
        super().__init__()
        self.edges = [np.asarray(e, dtype=np.float64) for e in edges]
        self.order = sorted(range(len(widths)), key=lambda i: widths[i])
        self.groups = nn.ModuleList()
        self.spans: list[tuple[int, int]] = []
        first, missing = list[int](), list[int]()
        for width in sorted(set(widths)):
            members = [i for i in self.order if widths[i] == width]
            begin = self.spans[-1][1] if self.spans else 0
            self.spans.append((begin, begin + len(members)))
            knots = [len(self.edges[i]) for i in members]
            starts = np.cumsum(knots) - knots
            first += starts.tolist()
            missing += range(sum(knots), sum(knots) + len(knots))
            self.groups.append(_Group(knots, width))
        self._first, self._missing = (np.array(rows, dtype=np.int32) for rows in (first, missing))
        self._gaps = [np.diff(e) for e in self.edges]

    def owners(self) -> dict[str, Int[Tensor, " rows"]]:
        """Tensor -> the place in `order` of the feature that each of its rows belongs to."""
        found: dict[str, Tensor] = {}
        for i, (group, (begin, end)) in enumerate(zip(self.groups.children(), self.spans, strict=True)):
            column = group.get_buffer("column")
            mine = torch.arange(begin, end, device=column.device)
            found |= {f"groups.{i}.{part}": mine for part in ("slope", "base", "missing")}
            found[f"groups.{i}.increment"] = mine[column]
        return found

    def encode(self, values: Float[np.ndarray, "rows numeric"]) -> NumericCodes:
        """Values in schema order -> cells; clipped to the knots' range, NaN to the missing row."""
        row = np.empty(values.shape, dtype=np.int32)
        fraction = np.empty(values.shape, dtype=np.float32)
        with np.errstate(over="ignore"):  # of what lies far outside the knots
            for place, i in enumerate(self.order):
                edges, column = self.edges[i], values[:, i]
                low = edges[1:-1].searchsorted(column, side="right")
                row[:, place] = low
                np.divide(column - edges[low], self._gaps[i][low], out=fraction[:, place], casting="same_kind")
        row += self._first
        np.clip(fraction, 0.0, 1.0, out=fraction)
        gone = np.isnan(fraction)
        row[gone] = np.broadcast_to(self._missing, row.shape)[gone]
        fraction[gone] = 0.0
        return NumericCodes(torch.from_numpy(row), torch.from_numpy(fraction))

    def forward(self, codes: NumericCodes) -> Float[Tensor, "rows embedding"]:
        """The features' embeddings side by side."""
        parts = [
            group(codes.row[:, begin:end], codes.fraction[:, begin:end])
            for group, (begin, end) in zip(self.groups, self.spans, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
