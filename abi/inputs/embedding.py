"""What a pretrained encoder made of a text or picture: its vector, standardised, through a linear layer of the planned width.

A width w costs w (d + 1) parameters for d numbers; the encoder's own weights are frozen and counted apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from abi.inputs.kind import WIDTHS, Sizes, Step
from abi.values import Floats, Value

if TYPE_CHECKING:
    from abi.data.columns import Codes
    from abi.problem import Feature

LEAST_DEVIATION: Final = 1e-4
"""A dimension that varies less says nothing, and is not blown up."""


@dataclass(frozen=True, kw_only=True)
class Scale(Value):
    """Mean and standard deviation of each dimension of a feature's vectors in training rows."""

    feature: str
    mean: Floats
    deviation: Floats


@dataclass(frozen=True)
class VectorRows:
    """Encoded texts: row -> text -> its standardised vector; the last vector is that of a missing text, all zeros."""

    text: Int[Tensor, " rows"]
    vectors: Float[Tensor, "texts dimensions"]

    def take(self, index: Tensor) -> VectorRows:
        """The rows at `index`; the vectors themselves are shared."""
        return VectorRows(self.text.index_select(0, index), self.vectors)

    def to(self, device: torch.device) -> VectorRows:
        """The same on another device."""
        return VectorRows(self.text.to(device), self.vectors.to(device))

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that it consists of."""
        return self.text, self.vectors


def dimensions(feature: Feature) -> int:
    """d, the numbers that the feature's encoder gives."""
    assert feature.encoder is not None
    return feature.encoder.dimensions


def parameters(width: int, numbers: int) -> int:
    """Trainable parameters of one feature."""
    return width * (numbers + 1)


def step(feature: Feature, width: int, sizes: Sizes) -> Step:  # noqa: ARG001 - as all kinds
    """A linear layer of that width."""
    numbers = dimensions(feature)
    return Step(width=width, rows=numbers, encoder_parameters=parameters(width, numbers))


def rungs(feature: Feature, sizes: Sizes, frugal: bool) -> tuple[Step, ...]:  # noqa: ARG001 - as all kinds
    """Every width up to the vector's own."""
    return tuple(step(feature, width, sizes) for width in WIDTHS if width <= dimensions(feature))


def learn_scale(feature: str, codes: Codes) -> Scale:
    """From training rows: a text counts as often as it stands there."""
    assert codes.vectors is not None
    rows = codes.vectors[codes.codes[codes.codes >= 0]].astype(np.float64)
    mean = rows.mean(axis=0) if len(rows) else np.zeros(codes.vectors.shape[1])
    deviation = rows.std(axis=0) if len(rows) else np.ones(codes.vectors.shape[1])
    deviation = np.where(deviation > LEAST_DEVIATION, deviation, 1.0)
    return Scale(feature=feature, mean=_single(mean), deviation=_single(deviation))


def encode(codes: Codes, scale: Scale) -> VectorRows:
    """Vectors of the rows' texts, standardised."""
    assert codes.vectors is not None
    mean, deviation = np.array(scale.mean, np.float32), np.array(scale.deviation, np.float32)
    vectors = np.concatenate([(codes.vectors - mean) / deviation, np.zeros((1, len(mean)), np.float32)])
    number = np.where(codes.codes < 0, len(codes.vectors), codes.codes)
    return VectorRows(torch.from_numpy(number.astype(np.int64)), torch.from_numpy(vectors.astype(np.float32)))


class VectorEncoder(nn.Module):
    """One pretrained feature: a linear layer, whose output has length sqrt(width) above width 1, as that of a text."""

    def __init__(self, numbers: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.layer = nn.Linear(numbers, width)

    def forward(self, cells: VectorRows, drop: float = 0.0) -> Float[Tensor, "rows width"]:
        """Embedding of each row; in training a share `drop` of the numbers is left out."""
        vectors = cells.vectors.index_select(0, cells.text)
        hidden = self.layer(nn.functional.dropout(vectors, drop, self.training))
        if self.width == 1:  # of a single number its length leaves the sign, which has no gradient
            return torch.as_tensor(hidden)
        length = hidden.norm(dim=1, keepdim=True)
        return torch.as_tensor(hidden * (math.sqrt(self.width) / (length + 1e-6)))


def _single(values: Float[np.ndarray, " values"]) -> tuple[float, ...]:
    single: Float32[np.ndarray, " values"] = values.astype(np.float32)
    return tuple(single.astype(float).tolist())
