"""What a network consists of and costs, by its sizes; without torch, which counting needs not."""

from __future__ import annotations

from typing import Final

from abi.problem import Schema
from abi.types import LayerSplit

CHUNK_ROWS: Final = 2048
PICTURE_CHUNK: Final = 256
"""Rows that are predicted at a time, and those where pictures are among them."""
COMMON: Final = 32
"""Dimensions in which two modalities are held against each other (`abi.families.alignment`)."""


def outputs(schema: Schema) -> int:
    """C: one logit (binary), one per class (multiclass) or label (multilabel), one value (regression)."""
    return len(schema.classes) if schema.task in {"multiclass", "multilabel"} else 1


def layer_split(
    encoders: int, features: int, width: int, members: int, blocks: int, hidden: int, out: int, slices: int = 1
) -> LayerSplit:
    """Parameters of a network of that size.

    Args:
        encoders: parameters of all encoders.
        features: how many features there are (one attention offset each).
        width: D, the sum of all widths.
        members: K.
        blocks: linear layers of the backbone; with none, the head reads the embeddings.
        hidden: H.
        out: C.
        slices: heads that share the embeddings' dimensions, where there are no blocks and more than one of them.
    """
    if slices > 1:
        output = slices * (-(-width // slices) + 1) * out
        return LayerSplit(feature_extraction=encoders + features, middle=0, output=output)
    if not blocks:
        return LayerSplit(feature_extraction=encoders + features, middle=0, output=members * (width + 1) * out)
    return LayerSplit(
        feature_extraction=encoders + features,
        middle=members * width + (width + 1) * hidden + (blocks - 1) * (hidden + 1) * hidden,
        output=members * (hidden + 1) * out,
    )


def multiply_accumulates(width: int, members: int, blocks: int, hidden: int, out: int) -> int:
    """Multiply-accumulates of one row's forward pass through the backbone."""
    if not blocks:
        return members * width * out
    return members * hidden * (width + (blocks - 1) * hidden + out)
