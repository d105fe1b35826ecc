"""What an input kind is: one file here that says how its features are encoded at a width, and what a width costs.

Each kind's file is a module with the functions of `InputKind`, listed in `abi.inputs.kinds`; and has an encoder, an
`nn.Module` that takes the kind's `CellPart`, encoded rows, to the embeddings of its features side by side.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import torch
from torch import Tensor

if TYPE_CHECKING:
    from abi.problem import Feature

WIDTHS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
EVEN_WIDTH: Final = 8
"""Width of an even split where the envelope allows it: wider ones brought nothing on validation rows."""
MAX_ROWS: Final = 4096
CELLS_UNIT: Final = 256
"""So many cells of a text are worth as much as one unit of width of another feature."""
ALL_SHARED: Final = 0.5
"""What a category of which all values share rows is worth; with rows of their own, criteo's loss was 1% lower."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One rung: a width with its bins, rows or cells, and the parameters of the feature's encoder.

    `pooled` embeddings are added up with those of other features, so that their width costs nothing in the layer above.
    An encoder that reads `length` words takes `macs` multiply-accumulates per row.
    """

    width: int
    bins: int = 0
    rows: int = 0
    shared: int = 0
    entries: int = 0
    start_entries: int = 0
    encoder_parameters: int
    pooled: bool = False
    length: int = 0
    macs: int = 0

    def parameters(self, per_width: int) -> int:
        """All parameters that this rung costs, where each unit of width also costs `per_width` in the layer above."""
        return self.encoder_parameters + self.laid * per_width

    @property
    def laid(self) -> int:
        """Width that the layer above reads for this feature alone."""
        return 0 if self.pooled else self.width

    @property
    def units(self) -> float:
        """What its use is measured in: width, or cells of a text; half of it where no value has a row of its own."""
        alone = self.shared == self.rows > 0
        return self.entries / CELLS_UNIT if self.entries else self.width * (ALL_SHARED if alone else 1.0)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a rung's size depends on beside the feature.

    Attributes:
        bins: of a numeric feature at the even width.
        terms: of a text.
        most: rows of a category, the most frequent values.
        base: channels of the first stage of a picture's encoder.
        sliced: whether a text's embedding may be dealt out to several heads (`abi.planning.backbone.slices_of`).
        single: whether a text is one number (`abi.inputs.linear_text`).
    """

    bins: int
    terms: int = 0
    most: int = MAX_ROWS
    base: int = 0
    sliced: bool = False
    single: bool = False


class InputKind(Protocol):
    """The functions that a kind's file has."""

    def step(self, feature: Feature, width: int, sizes: Sizes) -> Step:
        """What `feature` gets at `width` in a split that gives all its values the same."""
        ...

    def rungs(self, feature: Feature, sizes: Sizes, frugal: bool) -> tuple[Step, ...]:
        """All sizes of `feature` that it can use, by cost."""
        ...


@runtime_checkable
class CellPart(Protocol):
    """Encoded rows of one kind of features, as tensors."""

    def take(self, index: Tensor) -> CellPart:
        """The rows at `index`."""
        ...

    def to(self, device: torch.device) -> CellPart:
        """The same on another device."""
        ...

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that it consists of."""
        ...


@dataclass(frozen=True)
class TableRows:
    """Rows of embedding tables: one number per cell (rows, features), or several (rows, features, n)."""

    rows: Tensor

    def take(self, index: Tensor) -> TableRows:
        """The rows at `index`."""
        return TableRows(self.rows.index_select(0, index))

    def to(self, device: torch.device) -> TableRows:
        """The same on another device."""
        return TableRows(self.rows.to(device))

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that it consists of."""
        return (self.rows,)


def usable(feature: Feature, width: int) -> int:
    """The largest rung up to `width` that the feature can use: as many units as it has distinct values."""
    rungs = bisect_right(WIDTHS, min(width, feature.distinct))
    return WIDTHS[max(rungs, 1) - 1]
