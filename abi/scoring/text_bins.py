"""A text as one column among others: the bin that its terms speak for, so that every statistic applies to it too.

Two models, each from half of the sampled texts (by a hash of the text), tell each other's texts apart: a text is put
into a bin by terms that were counted elsewhere, which keeps 20,000 terms from explaining the target by chance. So are
texts that were not sampled. A text that is also read as a sequence is told apart there by which word stands before
which other one (`abi.inputs.terms.ordered_pairs`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from abi.inputs.terms import count_terms, ordered_pairs
from abi.scoring.edges import CategoryBins, Target

if TYPE_CHECKING:
    from abi.data.columns import Codes

TEXTS: Final = 4096
"""Texts that each model is made of."""
BUCKETS: Final = 16
SMOOTHING: Final = 1.0


@dataclass(frozen=True)
class _Model:
    """Terms with what each adds to a text's axes; `edges` cut a single axis into buckets, of several the largest wins."""

    place: dict[str, int]
    lift: Float64[np.ndarray, "terms axes"]
    edges: Float64[np.ndarray, " edges"] | None
    read: Callable[[str], list[str]] | None = None

    def axes(self, texts: Sequence[str]) -> Float64[np.ndarray, "texts axes"]:
        """Sum of the known terms' lifts."""
        terms = sorted(self.place, key=lambda term: self.place[term])
        counts, _ = count_terms(texts, terms, read=self.read)
        return np.asarray((counts > 0).astype(np.float64) @ self.lift)

    def bins(self, texts: Sequence[str]) -> Int64[np.ndarray, " texts"]:
        """The bin of each text."""
        axes = self.axes(texts)
        if self.edges is None:
            return np.asarray(axes.argmax(axis=1), dtype=np.int64)
        return np.searchsorted(self.edges, axes[:, 0]).astype(np.int64)


@dataclass(frozen=True)
class TextBins(CategoryBins):
    """A bin per class (or bucket of the one axis), then one for missing texts."""

    models: tuple[_Model, ...] = ()
    buckets: int = 1

    @property
    def size(self) -> int:
        """Number of bins, with the one for missing values."""
        return self.buckets + 1

    def codes(self, column: Codes) -> Int64[np.ndarray, " rows"]:
        """Bin of each row's text; texts are read once, however many rows hold them."""
        bins = np.full(len(column.values) + 1, self.buckets, np.int64)
        used = np.unique(column.codes[column.codes >= 0])
        halves = np.array([half_of(column.values[i]) for i in used], dtype=np.int64)
        for half, model in enumerate(self.models):
            mine = used[halves == 1 - half]  # texts of the other half
            if len(mine):
                bins[mine] = model.bins([column.values[i] for i in mine])
        found: Int64[np.ndarray, " rows"] = bins[column.codes]
        return found


def text_bins(
    texts: Sequence[str],
    classes: Int64[np.ndarray, " texts"] | Bool[np.ndarray, "texts told"],
    target: Target,
    *,
    ordered: bool = False,
) -> TextBins:
    """Bins from sampled texts and their classes, or which of the labels that are told apart each has."""
    read = ordered_pairs if ordered else None
    halves = np.array([half_of(text) for text in texts], dtype=np.int64)
    axes = target.coordinates if target.labels is None else np.eye(len(target.labels))
    several = target.labels is not None or axes.shape[1] > 2  # noqa: PLR2004 - two classes are one axis
    parts = [np.flatnonzero(halves == half)[:TEXTS] for half in (0, 1)]
    models = tuple(_model([texts[i] for i in part], classes[part], axes, several, read) for part in parts)
    if not several:
        # cut by texts that the model did not see: its own lie at the ends, and would leave the others the middle bins
        models = tuple(_cut(model, [texts[i] for i in parts[1 - half]]) for half, model in enumerate(models))
    return TextBins(index={}, models=models, buckets=len(axes) if several else BUCKETS)


def half_of(text: str) -> int:
    """Which of the two models a text belongs to."""
    return zlib.crc32(text.encode()) & 1


def _model(
    texts: Sequence[str],
    classes: Int64[np.ndarray, " texts"] | Bool[np.ndarray, "texts told"],
    axes: Float64[np.ndarray, "classes axes"],
    several: bool,
    read: Callable[[str], list[str]] | None,
) -> _Model:
    counts, terms = count_terms(texts, read=read)
    there = (counts > 0).astype(np.float64)
    if classes.ndim > 1:
        onehot = classes.astype(np.float64)
    else:
        onehot = np.zeros((len(texts), len(axes)))
        onehot[np.arange(len(texts)), classes] = 1.0
    by_class = there.T @ onehot
    rows = by_class.sum(axis=1, keepdims=True)
    base = (onehot.sum(axis=0) + SMOOTHING) / (len(texts) + SMOOTHING * len(axes))
    share = (by_class + SMOOTHING * base) / (rows + SMOOTHING)
    if axes.shape[1] == 1 and not several:
        lift = (share - base) @ axes
    else:
        lift = np.log(share / base)
        lift = lift if several else (lift[:, 1] - lift[:, 0])[:, None]
    place = {term: i for i, term in enumerate(terms)}
    return _Model(place, np.asarray(lift), None, read)


def _cut(model: _Model, texts: Sequence[str]) -> _Model:
    """With the edges of buckets of about equally many of these texts."""
    if not len(texts):
        return replace(model, edges=np.zeros(0))
    at = np.linspace(0, 1, BUCKETS + 1)[1:-1]
    return replace(model, edges=np.unique(np.quantile(model.axes(texts)[:, 0], at)))
