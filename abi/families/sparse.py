"""Weights that training dropped: masks beside the tensors they belong to, and a packed form without the zeros on disk.

A dropped weight is zero, never moves again, and counts neither as a parameter nor as a multiply-accumulate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

PREFIX: Final = "kept:"
"""Of a mask's name among the buffers; then the tensor's name, with `/` for its dots."""
PARTS: Final = ("numeric", "category", "shared", "adapter", "layers", "head.weight")
"""What may lose weights."""
BESIDE: Final = "projections"
"""What is there in training alone (`abi.families.alignment`), and is no part of a model."""


def add_masks(network: nn.Module) -> None:
    """Give every tensor that may lose weights a mask, with all weights kept."""
    for name, tensor in list(network.named_parameters()):
        if name.startswith(PARTS):
            network.register_buffer(mask_name(name), torch.ones_like(tensor, dtype=torch.bool))


def mask_name(name: str) -> str:
    """The buffer that masks the parameter of that name."""
    return PREFIX + name.replace(".", "/")


def masks_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameter name -> mask; empty where nothing is ever dropped."""
    return {
        name.removeprefix(PREFIX).replace("/", "."): mask
        for name, mask in network.named_buffers(recurse=False)
        if name.startswith(PREFIX)
    }


def parameters(network: nn.Module) -> int:
    """Trainable parameters of the model, without those that were dropped."""
    masks = masks_of(network)
    own = [(n, p) for n, p in network.named_parameters() if not n.startswith(BESIDE)]
    return sum(int(masks[n].sum()) if n in masks else p.numel() for n, p in own)


def pack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state without zeros: of a masked tensor its kept values in order, and the mask as bits with its shape."""
    packed = dict(state)
    for name in [name for name in state if name.startswith(PREFIX)]:
        mask, tensor = state[name], name.removeprefix(PREFIX).replace("/", ".")
        packed[name] = torch.from_numpy(np.packbits(mask.numpy().ravel()))
        packed[tensor] = state[tensor][mask]
    return packed


def unpack(packed: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The state again, with the shapes of `network`, which is built of the same blueprint.

    Raises:
        ValueError: the bits and the values do not belong together.
    """
    state = dict(packed)
    for name, like in masks_of(network).items():
        bits, values = packed[mask_name(name)].numpy(), packed[name]
        mask = torch.from_numpy(np.unpackbits(bits, count=like.numel()).astype(bool)).view(like.shape)
        if int(mask.sum()) != len(values):
            msg = f"{name} has {len(values)} values where its mask keeps {int(mask.sum())}"
            raise ValueError(msg)
        state[mask_name(name)] = mask
        state[name] = torch.zeros(like.shape, dtype=values.dtype).masked_scatter_(mask, values)
    return state
