"""Free text: each term has an embedding of its own width, inside a table of which only chosen entries exist.

A text's embedding is the sum of its terms' embeddings by TF-IDF weight, L2-normalised. The table has a row per term
and `width` columns, but only `entries` of its cells are parameters; all others are zero and cost nothing. Which cells a
term owns matters as much as how many: cells start in a window at a hash of the term, and training drops those that
contribute least (`keep`), so that width goes to the terms, and to the directions, that the data pay for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor, nn

from abi.data.split import splitmix64
from abi.inputs.kind import MAX_ROWS, WIDTHS, Sizes, Step
from abi.inputs.terms import Bags

if TYPE_CHECKING:
    from abi.problem import Feature

TERMS_PER_ROW: Final = 8
TEXT_CELLS: Final = tuple(2**k for k in range(6, 15))
"""Cells of a text's table that attention can choose from; the table's width follows, as in `TEXT_WIDTHS`. More than these
made the validation loss of banking77 worse."""
TEXT_WIDTHS: Final = ((256, 8), (1024, 16), (2**14, 32), (2**62, 128))
MORE_CELLS: Final = (*TEXT_CELLS, 2**15)
SLICED_CELLS: Final = (*TEXT_CELLS, 2**15, 2**16)
"""The same where the embeddings are dealt out to several heads."""
START_FACTOR: Final = 12
"""A text starts training with up to so many times the cells that it ends with."""
INITIAL: Final = 0.5
RARE: Final = 0.4
"""Exponent of a term's mean square weight in what a cell contributes; 0.5 would be the root mean square."""
_SEED: Final = 0x7E47


@dataclass(frozen=True)
class BagCells:
    """Encoded texts: row -> text -> its terms (CSR).

    `total` are the terms of all rows together: known before the network runs, whose step then depends on shapes alone.
    `shift` is added to each row's number where a text is one (`abi.inputs.linear_text`).
    """

    text: Int[Tensor, " rows"]
    ids: Int[Tensor, " cells"]
    weights: Float[Tensor, " cells"]
    offsets: Int[Tensor, " ends"]
    total: int
    shift: Float[Tensor, " rows"] | None = None

    def take(self, index: Int[Tensor, " taken"]) -> BagCells:
        """The rows at `index`; the texts themselves are shared."""
        text = self.text.index_select(0, index)
        total = int((self.offsets[text + 1] - self.offsets[text]).sum())
        shift = None if self.shift is None else self.shift.index_select(0, index)
        return BagCells(text, self.ids, self.weights, self.offsets, total, shift)

    def to(self, device: torch.device) -> BagCells:
        """The same on another device."""
        text, ids, weights, offsets, *shift = (p.to(device) for p in self.tensors())
        return BagCells(text, ids, weights, offsets, self.total, shift[0] if shift else None)

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that it consists of."""
        return self.text, self.ids, self.weights, self.offsets, *(() if self.shift is None else (self.shift,))

    def gather(self) -> tuple[Tensor, Tensor, Tensor]:
        """(term ids, weights, first cell of each row) of the rows, one after another."""
        start, end = self.offsets[self.text], self.offsets[self.text + 1]
        lengths = end - start
        first = torch.cumsum(lengths, 0) - lengths
        shift = torch.repeat_interleave(start - first, lengths, output_size=self.total)
        at = torch.arange(self.total, device=start.device) + shift
        return self.ids[at], self.weights[at], first


def parameters(entries: int) -> int:
    """Trainable parameters of a text column: one per entry."""
    return entries


def step(feature: Feature, width: int, sizes: Sizes) -> Step:  # noqa: ARG001 - as all kinds
    """The same width for every term, or for the most frequent `TERMS_PER_ROW` times as many as a category has rows."""
    most = sizes.most
    known = max(1, min(sizes.terms, most * TERMS_PER_ROW) if most < MAX_ROWS else sizes.terms)
    width = 1 if sizes.single else width
    cells = known * width
    return Step(width=width, rows=known, entries=cells, start_entries=cells, encoder_parameters=parameters(cells))


def rungs(feature: Feature, sizes: Sizes, frugal: bool) -> tuple[Step, ...]:
    """Every width; in a frugal split every number of cells, which go to the terms that pay."""
    if not frugal and sizes.single:
        return (step(feature, 1, sizes),)
    if not frugal:
        return tuple(step(feature, width, sizes) for width in WIDTHS)
    found = [text_step(cells, sizes.terms, sizes.single) for cells in (SLICED_CELLS if sizes.sliced else MORE_CELLS)]
    return tuple(r for i, r in enumerate(found) if i == 0 or r.entries > found[i - 1].entries)


def text_step(cells: int, terms: int, single: bool = False) -> Step:
    """What a text of `terms` terms gets where cells go to the terms that pay; where it is a `single` number, one each."""
    width = 1 if single else next(w for most, w in TEXT_WIDTHS if cells <= most)
    kept = min(cells, terms * width)
    start = kept if single else min(START_FACTOR * kept, terms * width)
    return Step(width=width, rows=terms, entries=kept, start_entries=start, encoder_parameters=parameters(kept))


def with_cells(rung: Step, more: int) -> Step:
    """The same text with `more` cells, as far as its table goes."""
    kept = min(rung.entries + more, rung.rows * rung.width)
    start = kept if rung.width == 1 else min(START_FACTOR * kept, rung.rows * rung.width)
    return replace(rung, entries=kept, start_entries=start, encoder_parameters=parameters(kept))


def graded(scores: Float64[np.ndarray, " terms"], entries: int, width: int) -> Int64[np.ndarray, " terms"]:
    """Cells per term, at most `width` each and `entries` in all: maximises sum s_i log2(1 + w_i).

    Marginal gain first, which is exact for a concave gain (Fox 1966): the k-th cell of a term is worth
    s_i log2(1 + 1/k), so the cut is one threshold for all, found by sorting. Equal scores share evenly.
    """
    worth = np.log2(1 + 1 / np.arange(1, width + 1))
    gains = np.outer(scores, worth)
    left = min(entries, gains.size)
    order = np.argsort(-gains.ravel(order="F"), kind="stable")[:left]
    cells: Int64[np.ndarray, " terms"] = np.bincount(order % len(scores), minlength=len(scores)).astype(np.int64)
    return np.where(scores > 0, cells, 0)


def window(cells: Int64[np.ndarray, " terms"], width: int) -> Bool[np.ndarray, "terms width"]:
    """The cells of each term as a window that wraps around, from a column that a hash of its number gives."""
    start = (splitmix64(np.arange(len(cells)), _SEED) % np.uint64(width)).astype(np.int64)
    mask: Bool[np.ndarray, "terms width"] = (np.arange(width)[None] - start[:, None]) % width < cells[:, None]
    return mask


class _Fill(torch.autograd.Function):
    """Lay values into a table that is kept between steps: cells that do not exist are never written, so stay zero."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, cell: Tensor, table: Tensor) -> Tensor:
        """Values and cell (entries,); table (terms * width,), overwritten. Returns the table."""
        ctx.save_for_backward(cell)
        table.index_copy_(0, cell, values)
        return table.data  # an alias: the table itself must not join the graph

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        """The gradient of the cells that exist."""
        (cell,) = ctx.saved_tensors
        return grads[0].index_select(0, cell), None, None


class TextEncoder(nn.Module):
    """One column of text. `cell` lists which cells of the (terms, width) table exist; `values` are their parameters.

    Training leaves `fixed` ones as they are (`abi.inputs.linear_text`).
    """

    cell: Tensor

    def __init__(self, mask: Bool[np.ndarray, "terms width"]) -> None:
        super().__init__()
        self.terms, self.width = mask.shape
        self.register_buffer("cell", torch.from_numpy(np.flatnonzero(mask)))
        self._table: Tensor | None = None
        self.fixed = False
        deviation = INITIAL / math.sqrt(self.width)
        self.values = nn.Parameter(torch.randn(int(mask.sum())) * deviation)

    def table(self) -> Float[Tensor, "terms width"]:
        """The table with zeros where no cell exists."""
        size = self.terms * self.width
        if len(self.values) == size:
            return (self.values.detach() if self.fixed else self.values).view(self.terms, self.width)
        if self._table is None or self._table.device != self.values.device:
            with torch.inference_mode(False):  # a table made while predicting could not be filled while training
                self._table = torch.zeros(size, dtype=self.values.dtype, device=self.values.device)
        filled = _Fill.apply(self.values, self.cell, self._table)  # type: ignore[no-untyped-call]  # torch does not annotate it
        return torch.as_tensor(filled).view(self.terms, self.width)

    def encode(self, codes: Int[np.ndarray, " rows"], bags: Bags) -> BagCells:
        """Rows by the number of their text; -1 (missing) is the last text, which has no terms."""
        offsets = np.append(bags.offsets, bags.offsets[-1])
        number = np.where(codes < 0, len(bags.offsets) - 1, codes)
        return BagCells(
            torch.from_numpy(number.astype(np.int64)),
            torch.from_numpy(bags.ids),
            torch.from_numpy(bags.weights),
            torch.from_numpy(offsets),
            int((offsets[number + 1] - offsets[number]).sum()),
        )

    def forward(self, cells: BagCells, drop: float = 0.0) -> Float[Tensor, "rows width"]:
        """Embedding of each row's text, of length sqrt(width) above width 1; zero where it has no known term.

        Args:
            cells: the rows.
            drop: share of terms left out of each text, in training.
        """
        ids, weights, first = cells.gather()
        if drop and self.training and not self.fixed:
            weights = weights * (torch.rand(len(weights), device=weights.device) >= drop)
        pooled = nn.functional.embedding_bag(ids, self.table(), first, mode="sum", per_sample_weights=weights)
        if self.width == 1:  # of a single number its length leaves the sign, which has no gradient
            return torch.as_tensor(pooled if cells.shift is None else pooled + cells.shift[:, None])
        length = pooled.norm(dim=1, keepdim=True)
        return torch.as_tensor(pooled * (math.sqrt(self.width) / (length + 1e-6)))

    def contributions(self, squares: Float[Tensor, " terms"]) -> Float[Tensor, " entries"]:
        """What each cell adds to the pooled embeddings: |value| (E weight^2)^RARE, with `squares` = E weight^2."""
        return self.values.detach().abs() * squares[self.cell // self.width].pow(RARE)

    def keep(self, kept: Int[Tensor, " kept"]) -> None:
        """Drop all cells but these positions."""
        self.cell, self._table = self.cell[kept], None
        self.values = nn.Parameter(self.values.detach()[kept].clone())

    def renumber(self, used: Int64[np.ndarray, " used"]) -> None:
        """Keep these terms alone, which have all cells."""
        place = torch.full((self.terms,), -1, dtype=torch.int64)
        place[torch.from_numpy(used)] = torch.arange(len(used))
        self.cell = place[self.cell // self.width] * self.width + self.cell % self.width
        self.terms, self._table = len(used), None

    def widths(self) -> Int64[np.ndarray, " terms"]:
        """Cells of each term."""
        return np.bincount(self.cell.cpu().numpy() // self.width, minlength=self.terms)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored = state_dict.get(f"{prefix}cell")
        self._table = None  # the stored cells may be others
        if stored is not None and len(stored) != len(self.cell):  # cells were dropped since this one was built
            self.cell = stored.to(self.cell.device, copy=True)
            self.values = nn.Parameter(torch.zeros(len(stored), dtype=self.values.dtype, device=self.values.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
