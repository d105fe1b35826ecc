"""The sizes that a network's backbone may have, in order of preference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from abi.inputs.kind import EVEN_WIDTH, WIDTHS
from abi.planning.ladder import EVEN_TEXT_WIDTH
from abi.planning.recipe import Recipe

if TYPE_CHECKING:
    from abi.config import Config

BLOCK_WIDTHS: Final = (768, 512, 384, 256, 192, 128, 96, 64, 48, 32, 16)
GOOD_WIDTH: Final = 4
"""An even width below this is taken only after the backbone was made smaller,"""
GOOD_BLOCK: Final = 64
"""down to this block width."""
LEAST_BLOCK: Final = 16
"""Least width of one block; of several, so many times that."""
FEWER_MEMBERS: Final = (0.5, 0.25, 0.125)
FEW_MEMBERS: Final = 4
"""Under a tight limit few members with more weights each do better than many, but for categories of many values."""
MOST_SLICES: Final = 4
SLICE_WIDTH: Final = 32


@dataclass(frozen=True)
class Backbone:
    """`members` ensemble views of `blocks` layers of `width`; no blocks where the head reads the embeddings."""

    members: int
    blocks: int
    width: int


def sizes_of(start: Recipe) -> Iterator[tuple[Backbone, int]]:
    """Backbones with an even width each, in order of preference.

    Width before a broad backbone: from the recipe's size down to a backbone of 64 with widths of at least 4, then
    narrower ones, then single narrow layers with few members.
    """
    if not start.blocks:
        yield from ((Backbone(start.members, 0, 0), w) for w in sorted(WIDTHS, reverse=True) if w <= EVEN_TEXT_WIDTH)
        return
    widths = [w for w in sorted(WIDTHS, reverse=True) if w <= EVEN_WIDTH]
    wide, narrow = [w for w in widths if w >= GOOD_WIDTH], [w for w in widths if w < GOOD_WIDTH]
    backbones = backbones_of(start)
    full, last = backbones[: -len(FEWER_MEMBERS) - 1], backbones[-len(FEWER_MEMBERS) - 1 :]
    broad = [b for b in full if b.width >= GOOD_BLOCK and b.blocks == start.blocks] or full[:1]
    for group, choices in ((broad, wide), (full, narrow), (last, widths)):
        yield from ((backbone, width) for backbone in group for width in choices)


def few_members(config: Config) -> Config:
    """The same settings with few ensemble members, which attention's splits have where a limit binds."""
    members = min(config.training.members or FEW_MEMBERS, FEW_MEMBERS)
    return config.model_copy(update={"training": config.training.model_copy(update={"members": members})})


def per_width_of(backbone: Backbone, out: int) -> int:
    """Parameters that one unit of width costs above the encoder: a column of the first layer and K adapters."""
    return backbone.width + backbone.members if backbone.blocks else backbone.members * out


def macs_per_width_of(backbone: Backbone) -> int:
    """Multiply-accumulates that one unit of width costs in the first layer; 0 where the head reads the embeddings."""
    return backbone.members * backbone.width if backbone.blocks else 0


def slices_of(width: int, backbone: Backbone, out: int) -> int:
    """Heads that a text's embeddings are dealt out to: an ensemble at no more weights, where there are several outputs.

    On banking77 four slices of 32 were right about 90% of validation rows, one of 128 about 88% and one of 32 about 87%.
    """
    return min(MOST_SLICES, width // SLICE_WIDTH) if not backbone.blocks and backbone.members == 1 and out > 1 else 1


def single_texts(out: int) -> bool:
    """Whether a text is one number (`abi.inputs.linear_text`): where there is one output to tell anything to."""
    return out == 1


def backbones_of(start: Recipe) -> list[Backbone]:
    """All sizes down from the recipe's; narrow ones have fewer blocks."""
    if not start.blocks:
        return [Backbone(start.members, 0, 0)]
    hidden = [start.block_width, *(w for w in BLOCK_WIDTHS if w < start.block_width)]
    sizes = [
        Backbone(start.members, start.blocks, w)
        for i, w in enumerate(hidden)
        if not i or w >= _least_width(start.blocks)
    ]
    for blocks in range(start.blocks - 1, 0, -1):
        widths = [w for w in hidden if _least_width(blocks) <= w <= 2 * _least_width(blocks + 1)]
        sizes += [Backbone(start.members, blocks, w) for w in widths]
    least = hidden[-1]
    sizes.append(Backbone(start.members, 1, least))
    return sizes + [Backbone(max(1, round(start.members * share)), 1, least) for share in FEWER_MEMBERS]


def _least_width(blocks: int) -> int:
    """Narrower backbones of so many blocks did worse on validation rows than broader ones of fewer."""
    return LEAST_BLOCK * blocks
