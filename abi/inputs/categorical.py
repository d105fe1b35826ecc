"""Categorical and boolean features: an embedding table with rows and a width of each feature's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from abi.data.twins import places_of
from abi.inputs import profile
from abi.inputs.kind import WIDTHS, Sizes, Step, TableRows, usable

if TYPE_CHECKING:
    from abi.data.columns import Codes
    from abi.problem import Feature

EXTRA_ROWS: Final = 2
"""Beside the frequent values: one row for rare and unseen values, one for missing ones."""

MANY_ROWS: Final = 128
SMALL_START: Final = 0.1


def parameters(width: int, rows: int) -> int:
    """Trainable parameters of one feature."""
    return width * rows


def step(feature: Feature, width: int, sizes: Sizes) -> Step:
    """A row for each of the `most` frequent values."""
    rows = min(feature.distinct, sizes.most) + EXTRA_ROWS
    return Step(width=width, rows=rows, encoder_parameters=parameters(width, rows))


def rungs(feature: Feature, sizes: Sizes, frugal: bool) -> tuple[Step, ...]:
    """Every width that it can use; in a frugal split rare values of a category with many share rows."""
    top = usable(feature, WIDTHS[-1])
    if frugal and shares_rows(feature):
        own = [profile.sharing_step(w, profile.OWN_PER_WIDTH * w) for w in WIDTHS if w <= top]
        return (profile.sharing_step(1, 0), *own)
    return tuple(step(feature, width, sizes) for width in WIDTHS if width <= top)


def shares_rows(feature: Feature) -> bool:
    """Whether its values are too many for a row each."""
    return feature.kind == "categorical" and feature.distinct > profile.SHARED_FROM


def vocabulary(codes: Codes, rows: int) -> tuple[str, ...]:
    """The most frequent values in training rows, at most ``rows - EXTRA_ROWS``; ties by text."""
    counts = np.bincount(codes.codes[codes.codes >= 0], minlength=len(codes.values))
    seen = [i for i in range(len(codes.values)) if counts[i]]
    seen.sort(key=lambda i: (-counts[i], codes.values[i]))
    return tuple(codes.values[i] for i in seen[: max(1, rows - EXTRA_ROWS)])


def look_up(codes: Codes, known: Sequence[str]) -> Int[np.ndarray, " rows"]:
    """Table rows: the value's place in `known`, then the row of rare and unseen values, then that of missing ones."""
    place = {value: i for i, value in enumerate(known)}
    rows = places_of(codes.values, place, len(known))
    return np.asarray(np.array([*rows, len(known) + 1], dtype=np.int32)[codes.codes])


class CategoryEncoder(nn.Module):
    """Categorical features, one table per distinct width. The output's columns stand in `order`: sorted by width."""

    def __init__(self, rows: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.order = sorted(range(len(widths)), key=lambda i: widths[i])
        self.tables = nn.ParameterList()
        self.spans: list[tuple[int, int]] = []
        self._counts: list[list[int]] = []
        offsets: list[int] = []
        for width in sorted(set(widths)):
            members = [i for i in self.order if widths[i] == width]
            begin = self.spans[-1][1] if self.spans else 0
            self.spans.append((begin, begin + len(members)))
            counts = [rows[i] for i in members]
            self._counts.append(counts)
            offsets += (np.cumsum(counts) - counts).tolist()
            # a row that few steps reach keeps what it started with: where there are many, they start small
            bound = torch.tensor([width**-0.5 if n <= MANY_ROWS else SMALL_START for n in counts])
            start = torch.repeat_interleave(bound, torch.tensor(counts)).unsqueeze(1)
            self.tables.append(nn.Parameter(torch.empty(sum(counts), width).uniform_(-1.0, 1.0) * start))
        self._offsets = np.array(offsets, dtype=np.int32)

    def owners(self) -> dict[str, Int[Tensor, " rows"]]:
        """Table -> the place in `order` of the feature that each of its rows belongs to."""
        return {
            f"tables.{i}": torch.repeat_interleave(torch.arange(begin, end), torch.tensor(counts))
            for i, ((begin, end), counts) in enumerate(zip(self.spans, self._counts, strict=True))
        }

    def encode(self, rows: Int[np.ndarray, "rows categorical"]) -> TableRows:
        """Rows of each feature's own table, in schema order -> rows of the width's table."""
        return TableRows(torch.from_numpy(rows[:, self.order].astype(np.int32) + self._offsets))

    def forward(self, cells: TableRows) -> Float[Tensor, "rows embedding"]:
        """The features' embeddings side by side."""
        rows = cells.rows
        parts = [
            table.index_select(0, rows[:, begin:end].reshape(-1)).view(rows.shape[0], -1)
            for table, (begin, end) in zip(self.tables, self.spans, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)
