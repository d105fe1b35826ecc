"""What training left each feature and each part of a network that drops weights, and what of it leads nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int64

from abi.families.sparse import masks_of
from abi.types import LayerSplit

if TYPE_CHECKING:
    from torch import Tensor

    from abi.families.network import Network


def kept_parameters(network: Network) -> tuple[Int64[np.ndarray, " features"], LayerSplit]:
    """Parameters left per feature (its encoder's and those above it in the first layer), and per part of the network."""
    masks = masks_of(network)
    weights = {n: masks[n] if n in masks else torch.ones_like(p) for n, p in network.named_parameters()}
    by_unit = torch.zeros(len(network.feature_of), dtype=torch.int64)
    for name, kept in weights.items():
        if name in ("adapter.weight", "layers.0.weight"):
            by_unit += kept.count_nonzero(dim=0)
    features = torch.zeros(len(network.attention.offset), dtype=torch.int64)
    features.index_add_(0, network.feature_of, by_unit)
    for name, rows in table_rows(network).items():
        features.index_add_(0, rows, weights[name].unsqueeze(-1).flatten(1).count_nonzero(dim=1))
    parts = {"feature_extraction": 0, "middle": 0, "output": 0}
    for name, kept in weights.items():
        part = "output" if name.startswith("head") else "middle" if name.startswith(("adapter", "layers")) else "feature_extraction"  # fmt: skip
        parts[part] += int(kept.count_nonzero())
    return features.numpy(), LayerSplit(**parts)


def live_weights(network: Network, masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Masks of the weights that can still change the output by what is in a row.

    A hidden unit that nothing reads, or that reads nothing, has no use for its weights; nor has a dimension of an
    embedding that the first layer does not read.
    """
    live = {name: mask.clone() for name, mask in masks.items()}
    layers = [live[f"layers.{i}.weight"] for i in range(len(network.layers))]
    head = live["head.weight"]
    for i in range(1, len(layers)):
        layers[i] &= layers[i - 1].any(dim=1)
    head &= layers[-1].any(dim=1)[None, :, None]
    read = head.any(dim=2).any(dim=0)
    for i in range(len(layers) - 1, -1, -1):
        layers[i] &= read[:, None]
        live[f"layers.{i}.bias"] &= layers[i].any(dim=1)
        read = layers[i].any(dim=0)
    live["adapter.weight"] &= read
    widths = torch.unique_consecutive(network.feature_of, return_counts=True)[1]
    first = torch.cumsum(widths, 0) - widths
    for name, places in _places(network).items():
        if name in live:
            units = first[places][:, None] + torch.arange(live[name].shape[1], device=first.device)
            live[name] &= read[units]
    return live


def table_rows(network: Network) -> dict[str, Tensor]:
    """Of each table of the encoders, the feature that each row belongs to."""
    order = torch.unique_consecutive(network.feature_of)
    found = {name: order[places] for name, places in _places(network).items()}
    last = len(order) - len(network.texts)
    own = [(f"vectors.{i}", e) for i, e in enumerate(network.vectors)]
    own += [(f"sequences.{i}", e) for i, e in enumerate(network.sequences)]
    for i, (prefix, encoder) in enumerate(own, last - len(own)):
        for name, parameter in encoder.named_parameters():
            found[f"{prefix}.{name}"] = order[i].expand(len(parameter))
    for i in range(len(network.texts)):
        values = network.get_parameter(f"texts.{i}.values")
        found[f"texts.{i}.values"] = order[last + i].expand(len(values))
    return found


def _places(network: Network) -> dict[str, Tensor]:
    """Of each table of numbers and categories, the place of each row's feature among those that are laid side by side."""
    first = 0
    found: dict[str, Tensor] = {}
    for part in ("numeric", "category", "shared"):
        encoder = getattr(network, part)
        if encoder is not None:
            found |= {f"{part}.{name}": first + places for name, places in encoder.owners().items()}
            first += len(encoder.order)
    return found
