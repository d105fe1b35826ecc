"""Regions of pictures and spectrograms: a convolutional trunk whose width at a region is what attention gave the region.

The trunk has three stages of two 3 x 3 convolutions each, of c, 2c and 4c channels, the picture halved after the first and
second (He et al. 2016 without the depth). A region at level l of `LEVELS` has the first l / `LEVELS` of the channels in every
stage, computed from the same share of what is below: multiply-accumulates fall with the square of the level, while all regions
share the weights. It is a slimmable network (Yu et al. 2019, arXiv 1812.08928; normalised per level, as there) whose width
differs along space. A region's embedding h_i is the mean of the last stage over it; a picture's is sum_i a_i h_i, taken after
attention, of 4c numbers. Where a picture has two views, a prediction's h_i are the means over it and its mirror image (test-time
augmentation: Krizhevsky et al. 2012).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from abi.inputs.kind import Sizes, Step
from abi.inputs.trunk import LEVELS, STAGES, convolutions
from abi.problem import Grid

if TYPE_CHECKING:
    from abi.media.grid import Pictures
    from abi.problem import Feature

DEEPEST: Final = 4
"""Pixels along a side that a number of the last stage stands for."""
TOGETHER: Final = 32
"""Pictures at most whose views go through the layers together, which takes half the calls."""
SHIFT: Final = 8
"""In training a picture is shifted by up to an eighth of its sides."""
SILENCED: Final = 5
"""In training a band and a window of a spectrogram, up to a fifth of it each, are left out (Park et al. 2019)."""


def can_halve(grid: Grid) -> bool:
    """Whether training may see half-sized pictures: images whose regions are still whole in the last stage then."""
    least_tall, least_wide = 2 * DEEPEST * grid.rows, 2 * DEEPEST * grid.cols
    return grid.medium == "image" and not grid.height % least_tall and not grid.width % least_wide


def step(feature: Feature, width: int, sizes: Sizes) -> Step:  # noqa: ARG001 - as all kinds
    """Every channel; the weights are the column's, see `trunk_parameters`."""
    return Step(width=STAGES[-1] * sizes.base, encoder_parameters=0, pooled=True)


def rungs(feature: Feature, sizes: Sizes, frugal: bool) -> tuple[Step, ...]:
    """The one size that a split of parameters can give: levels are divided by multiply-accumulates, afterwards."""
    del frugal
    return (step(feature, 0, sizes),)


@dataclass(frozen=True)
class GridCells:
    """Rows of a media column: all pictures, and which one each row has; -1 is none."""

    pixels: UInt8[Tensor, "pictures channels height width"]
    at: Int[Tensor, " rows"]

    def take(self, index: Int[Tensor, " taken"]) -> GridCells:
        """The rows at `index`; the pictures are shared."""
        return GridCells(self.pixels, self.at.index_select(0, index))

    def to(self, device: torch.device) -> GridCells:
        """The same on another device."""
        return GridCells(self.pixels.to(device), self.at.to(device))

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors that it consists of."""
        return self.pixels, self.at


class _Convolution(nn.Module):
    """A 3 x 3 convolution, normalised and rectified, as broad at each region as its level says.

    Args:
        inputs: channels below at the full width.
        outputs: channels at the full width.
        levels: that some region has; the highest one decides how many weights there are.
        first: whether it reads the picture itself, whose channels are not divided.
    """

    def __init__(self, inputs: int, outputs: int, levels: Sequence[int], *, first: bool) -> None:
        super().__init__()
        self.inputs, self.outputs, self.first = inputs, outputs, first
        top = max(levels)
        self.weight = nn.Parameter(torch.empty(self.channels(top), self.read(top), 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.norms = nn.ModuleDict({str(level): nn.BatchNorm2d(self.channels(level)) for level in levels})

    def read(self, level: int) -> int:
        """Channels below that a region at that level reads."""
        return self.inputs if self.first else self.inputs * level // LEVELS

    def channels(self, level: int) -> int:
        """Channels of a region at that level."""
        return self.outputs * level // LEVELS

    def at(self, x: Tensor, level: int, padding: int) -> Tensor:
        """Maps of regions at that level."""
        weight = self.weight[: self.channels(level), : self.read(level)]
        return torch.relu(
            self.norms[str(level)](nn.functional.conv2d(x[:, : self.read(level)], weight, padding=padding))
        )


class _Tiles(torch.autograd.Function):
    """Regions of padded maps, a tile for each, level by level; autograd's own slices would fill a whole map for every tile."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, cut: _Cut, reads: Sequence[int]) -> tuple[Tensor, ...]:
        """Maps (B, C, H + 2, W + 2) -> per level the tiles (regions B, channels read, h + 2, w + 2)."""
        ctx.cut, ctx.reads, ctx.shape = cut, reads, padded.shape
        batch, tall, wide = len(padded), *cut.tile(padded.shape[2] - 2, padded.shape[3] - 2)
        found = []
        for places, read in zip(cut.places.values(), reads, strict=True):
            tiles = _like(padded, len(places) * batch, read, tall + 2, wide + 2)
            for k, (top, left) in enumerate(cut.corners(places, tall, wide)):
                tiles[k * batch : (k + 1) * batch] = padded[:, :read, top : top + tall + 2, left : left + wide + 2]
            found.append(tiles)
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        """Tiles overlap by what is around them, so their gradients add up."""
        batch, channels, height, width = ctx.shape
        tall, wide = ctx.cut.tile(height - 2, width - 2)
        total = _like(grads[0], batch, channels, height, width).zero_()
        for grad, places, read in zip(grads, ctx.cut.places.values(), ctx.reads, strict=True):
            for k, (top, left) in enumerate(ctx.cut.corners(places, tall, wide)):
                here = total[:, :read, top : top + tall + 2, left : left + wide + 2]
                here += grad[k * batch : (k + 1) * batch]
        return total, None, None


class _Laid(torch.autograd.Function):
    """Tiles of all levels on maps that are zero elsewhere."""

    @staticmethod
    def forward(ctx: Any, cut: _Cut, size: tuple[int, int, int, int], *tiles: Tensor) -> Tensor:
        """Per level (regions B, channels, h, w) -> (B, C, H, W)."""
        ctx.cut, ctx.shapes = cut, [t.shape for t in tiles]
        batch, _, height, width = size
        tall, wide = cut.tile(height, width)
        whole = _like(tiles[0], *size).zero_()
        for made, places in zip(tiles, cut.places.values(), strict=True):
            for k, (top, left) in enumerate(cut.corners(places, tall, wide)):
                whole[:, : made.shape[1], top : top + tall, left : left + wide] = made[k * batch : (k + 1) * batch]
        return whole

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        """Each tile's part of the maps' gradient."""
        (grad,) = grads
        found: list[Tensor | None] = [None, None]
        for shape, places in zip(ctx.shapes, ctx.cut.places.values(), strict=True):
            part, batch = _like(grad, *shape), shape[0] // len(places)
            for k, (top, left) in enumerate(ctx.cut.corners(places, shape[2], shape[3])):
                here = grad[:, : shape[1], top : top + shape[2], left : left + shape[3]]
                part[k * batch : (k + 1) * batch] = here
            found.append(part)
        return tuple(found)


def _like(x: Tensor, *size: int) -> Tensor:
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


class _Cut:
    """Where the regions of each level lie; regions at level 0 are left out.

    Args:
        grid: rows and columns of regions.
        levels: of each region.
    """

    def __init__(self, grid: Grid, levels: Sequence[int]) -> None:
        self.rows, self.cols = grid.rows, grid.cols
        used = sorted({level for level in levels if level})
        self.places = {level: [i for i, own in enumerate(levels) if own == level] for level in used}
        self.whole = len(self.places) == 1 and all(levels)

    def tile(self, height: int, width: int) -> tuple[int, int]:
        """Sides of a region in maps of that size."""
        return height // self.rows, width // self.cols

    def corners(self, places: Sequence[int], tall: int, wide: int) -> list[tuple[int, int]]:
        """(top, left) of these regions."""
        return [(i // self.cols * tall, i % self.cols * wide) for i in places]

    def __call__(self, x: Tensor, layer: _Convolution) -> Tensor:
        """A layer over maps (B, inputs, H, W) -> (B, outputs, H, W); channels that a region does not have are zero there."""
        levels = list(self.places)
        if self.whole:
            return layer.at(x, levels[0], 1)
        padded = nn.functional.pad(x, (1, 1, 1, 1)).contiguous(memory_format=torch.channels_last)
        tiles = _Tiles.apply(padded, self, [layer.read(level) for level in levels])  # type: ignore[no-untyped-call]  # torch does not annotate it
        made = [layer.at(part, level, 0) for part, level in zip(tiles, levels, strict=True)]
        size = (len(x), layer.channels(max(levels)), x.shape[2], x.shape[3])
        return torch.as_tensor(_Laid.apply(self, size, *made))  # type: ignore[no-untyped-call]  # as above


class RegionEncoder(nn.Module):
    """One media column: its regions' embeddings side by side, in the grid's order.

    Args:
        grid: sizes, and the moments that pictures are standardised by.
        base: channels of the first stage.
        levels: of each region, 0 to `LEVELS`; at least one is not 0.
    """

    mean: Tensor
    scale: Tensor
    kept: Tensor

    def __init__(self, grid: Grid, base: int, levels: Sequence[int]) -> None:
        super().__init__()
        self.grid, self.base, self.levels = grid, base, tuple(levels)
        used = sorted({level for level in levels if level})
        self.cut = _Cut(grid, levels)
        self.layers = nn.ModuleList(
            _Convolution(a, b, used, first=not place)
            for place, (_, a, b) in enumerate(convolutions(grid.channels, base))
        )
        self.register_buffer("mean", torch.tensor(grid.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(grid.deviation).view(-1, 1, 1).reciprocal(), persistent=False)
        whole = STAGES[-1] * base * max(used) // LEVELS
        kept = [i * whole + d for i, level in enumerate(levels) for d in range(level * base)]
        self.register_buffer("kept", torch.tensor(kept), persistent=False)
        self.augment = True
        self.halved = False

    @property
    def width(self) -> int:
        """Numbers of a picture's embedding."""
        return STAGES[-1] * self.base

    def pooled(self) -> Int[Tensor, " width"]:
        """Of each number of the regions' embeddings, the number of the picture's that it is added to."""
        return torch.cat([torch.arange(level * self.base) for level in self.levels])

    def encode(self, pictures: Pictures) -> GridCells:
        """Pictures of rows as cells."""
        at = torch.arange(len(pictures.there))
        return GridCells(torch.from_numpy(pictures.pixels), at.masked_fill(~torch.from_numpy(pictures.there), -1))

    def forward(self, cells: GridCells) -> Float[Tensor, "rows embedding"]:
        """The regions' embeddings, over the number of regions, so that a picture's is of one scale; 0 without a picture.

        In training of the picture as it is augmented, at half its size where it is `halved`; else the mean over its views.
        """
        there = cells.at >= 0
        pixels = cells.pixels.index_select(0, cells.at.clamp_min(0))
        x = (pixels.float() - self.mean) * self.scale
        if self.training and self.halved and can_halve(self.grid):
            x = nn.functional.avg_pool2d(x, 2)
        if self.training and self.augment:
            x = self._augmented(x)
        if self.grid.views is None or self.training:
            found = self._regions(x)
        elif len(x) <= TOGETHER:
            found = self._regions(torch.cat([x, x.flip(3)])).view(self.grid.views, len(x), -1).mean(0)
        else:  # one after the other, in half the memory
            found = (self._regions(x) + self._regions(x.flip(3))) / self.grid.views
        return found * there.unsqueeze(1)

    def _regions(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B embedding"]:
        """Embeddings of the regions of standardised pictures."""
        x = x.contiguous(memory_format=torch.channels_last)
        for place, layer in enumerate(self.layers):
            assert isinstance(layer, _Convolution)
            y = self.cut(x, layer)
            x = x + y if place % 2 and place > 1 else y
            if place % 2 and place < len(self.layers) - 1:
                x = nn.functional.max_pool2d(x, 2)
        tall, wide = x.shape[2] // self.grid.rows, x.shape[3] // self.grid.cols
        means = nn.functional.avg_pool2d(x, (tall, wide)).flatten(2).transpose(1, 2)  # (B, regions, 4c)
        return means.reshape(len(x), -1).index_select(1, self.kept) / self.grid.regions

    def _augmented(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Shifted; mirrored where that changes nothing; of a spectrogram a band and a window left out."""
        batch, _, height, width = x.shape
        if self.grid.mirrored:
            turned = torch.rand(batch, device=x.device) < 0.5  # noqa: PLR2004 - every other one
            x = torch.where(turned.view(-1, 1, 1, 1), x.flip(3), x)
        sound = self.grid.medium == "audio"
        down, along = (1 if sound else height // SHIFT), width // SHIFT
        x = _shifted(x, down, along)
        if sound:
            x = x * ~(
                _stripe(batch, height, x.device)[:, None, :, None] | _stripe(batch, width, x.device)[:, None, None]
            )
        return x


def _shifted(x: Float[Tensor, "B C H W"], down: int, along: int) -> Float[Tensor, "B C H W"]:
    """Each picture moved by up to so many pixels in both directions, its border repeated."""
    batch, _, height, width = x.shape
    rows = torch.randint(-down, down + 1, (batch, 1), device=x.device) + torch.arange(height, device=x.device)
    cols = torch.randint(-along, along + 1, (batch, 1), device=x.device) + torch.arange(width, device=x.device)
    rows, cols = rows.clamp(0, height - 1), cols.clamp(0, width - 1)
    number = torch.arange(batch, device=x.device)
    return x.permute(0, 2, 3, 1)[number[:, None, None], rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)


def _stripe(batch: int, length: int, device: torch.device) -> Bool[Tensor, "batch length"]:
    """A stretch of random place and length, up to a fifth of it, for each row."""
    size = torch.randint(0, max(1, length // SILENCED) + 1, (batch, 1), device=device)
    start = (torch.rand(batch, 1, device=device) * (length - size)).long()
    place = torch.arange(length, device=device)
    return (place >= start) & (place < start + size)
