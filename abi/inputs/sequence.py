"""The words of a text in their order: a small convolution that is trained with the network, beside the text's terms.

Words are looked up in a table of the most frequent ones of the training rows; windows of 2 to 4 words pass through one
convolution each, and of every channel the largest value along the text is kept (Kim 2014, "Convolutional neural networks
for sentence classification", arXiv 1408.5882; his windows are of 3 to 5). So it can tell "x before y" where a bag of terms
cannot. A width is channels, dealt out to the windows; the table's columns and rows follow it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from abi.data.words import words_in
from abi.inputs.kind import WIDTHS, Sizes, Step
from abi.inputs.windows import channels, columns, macs, parameters
from abi.values import Value

if TYPE_CHECKING:
    from abi.data.columns import Codes
    from abi.problem import Feature

PADDING, UNKNOWN, EXTRA_ROWS = 0, 1, 2
"""Rows of the table beside the words': what follows a text, and all other words."""
ROWS_PER_WIDTH: Final = 256


@dataclass(frozen=True, kw_only=True)
class Words(Value):
    """The words of a text column that its sequence encoder knows, in the order of their rows."""

    feature: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class SequenceRows:
    """Encoded texts: row -> text -> rows of its first words, then `PADDING`; the last text is a missing one."""

    text: Int[Tensor, " rows"]
    words: Int[Tensor, "texts length"]

    def take(self, index: Tensor) -> SequenceRows:
        """The rows at `index`; the texts themselves are shared."""
        return SequenceRows(self.text.index_select(0, index), self.words)

    def to(self, device: torch.device) -> SequenceRows:
        """The same on another device."""
        return SequenceRows(self.text.to(device), self.words.to(device))

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that it consists of."""
        return self.text, self.words


def step(feature: Feature, width: int, sizes: Sizes) -> Step:
    """Channels of that width over the most frequent words, `ROWS_PER_WIDTH` for each."""
    assert feature.words is not None
    rows = max(EXTRA_ROWS, min(feature.words.known + EXTRA_ROWS, ROWS_PER_WIDTH * width, sizes.most))
    length = feature.words.length
    return Step(
        width=width, rows=rows, length=length, macs=macs(width, length), encoder_parameters=parameters(width, rows)
    )


def rungs(feature: Feature, sizes: Sizes, frugal: bool) -> tuple[Step, ...]:  # noqa: ARG001 - as all kinds
    """Every width."""
    return tuple(step(feature, width, sizes) for width in WIDTHS)


def learn_words(feature: str, codes: Codes, rows: int) -> Words:
    """The most frequent words of training rows, ties by word, as many as fit a table of `rows`."""
    times = np.bincount(codes.codes[codes.codes >= 0], minlength=len(codes.values))
    counts: Counter[str] = Counter()
    for text, often in zip(codes.values, times.tolist(), strict=True):
        if often:
            for word in words_in(text):
                counts[word] += often
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return Words(feature=feature, words=tuple(ranked[: max(0, rows - EXTRA_ROWS)]))


def encode(codes: Codes, words: Words, length: int) -> SequenceRows:
    """The rows' texts as their first `length` words."""
    place = {word: row for row, word in enumerate(words.words, EXTRA_ROWS)}
    used, number = np.unique(codes.codes, return_inverse=True)
    texts = [codes.values[i] for i in used if i >= 0]
    number = number.astype(np.int64) - (len(used) - len(texts))  # -1 is the least
    found = np.full((len(texts) + 1, length), PADDING, np.int32)
    for row, text in zip(found, texts, strict=False):
        known = [place.get(word, UNKNOWN) for word in words_in(text)[:length]]
        row[: len(known)] = known
    return SequenceRows(torch.from_numpy(np.where(number < 0, len(texts), number)), torch.from_numpy(found))


class SequenceEncoder(nn.Module):
    """One column of text as a sequence; the embedding of a text without words is 0."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, columns(width), padding_idx=PADDING)
        with torch.no_grad():
            self.table.weight[:EXTRA_ROWS] = 0  # a word that training rows never show leaves no trace
        self.windows = nn.ModuleList(nn.Conv1d(columns(width), c, w) for w, c in channels(width).items())

    def forward(self, cells: SequenceRows, drop: float = 0.0) -> Float[Tensor, "rows width"]:
        """Embedding of each row's text; in training a share `drop` of the channels is left out."""
        words = cells.words.index_select(0, cells.text)
        x = self.table(words).transpose(1, 2)
        there = words.ne(PADDING).unsqueeze(1)
        parts = []
        for window in self.windows:
            found = window(x).relu()
            parts.append((found * there[:, :, : found.shape[2]]).amax(dim=2))
        return nn.functional.dropout(torch.cat(parts, 1), drop, self.training)
