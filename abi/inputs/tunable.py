"""A text encoder whose last layers can be trained, and the folder that it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from abi.data.encoder_folder import WEIGHTS, blocks_of, files_of
from abi.inputs.pretrained import TextModel

if TYPE_CHECKING:
    from abi.problem import Pretrained

_WINDOW: Final = 16
"""Batches whose rows are sorted by length among themselves, so that little of a batch is padding."""


class TunableText(TextModel):
    """The encoder with its last layers trainable, and the texts that it is trained on.

    Attributes:
        layers: how many of its layers are trained.
    """

    def __init__(self, encoder: Pretrained, folder: Path, layers: int, texts: Sequence[str]) -> None:
        super().__init__(encoder, folder)
        blocks = blocks_of({name: p.numel() for name, p in self._layers.named_parameters()})
        last = list(blocks)[-layers:]
        self.layers, self._parts = len(last), [self._layers.get_submodule(block) for block in last]
        own = dict(self._layers.named_parameters())
        self._trained = {name: own[name].requires_grad_(True) for block in last for name in blocks[block]}
        self._texts = self.tokens(texts)
        self._lengths = np.array([len(ids) for ids in self._texts], dtype=np.int64)

    def named(self) -> Mapping[str, nn.Parameter]:
        """The weights that are trained."""
        return self._trained

    def weights(self) -> list[Tensor]:
        """All weights."""
        return [*self._layers.parameters(), *self._layers.buffers()]

    def train(self, mode: bool) -> None:
        """Whether the layers that are trained drop out; the others never do."""
        for part in self._parts:
            part.train(mode)

    def vectors(self, numbers: Int64[np.ndarray, " rows"]) -> Float[Tensor, "rows dimensions"]:
        """Vectors of the texts of these numbers, with their gradient."""
        return self._forward([self._texts[i] for i in numbers])

    def encoded(self, numbers: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows dimensions"]:
        """The same without gradient, in batches of their own."""
        return self.encode_tokens([self._texts[i] for i in numbers])

    def longest(self) -> int:
        """The number of the text with the most tokens."""
        return int(self._lengths.argmax())

    def batches(
        self, numbers: Int64[np.ndarray, " rows"], size: int, random: torch.Generator
    ) -> list[Int64[np.ndarray, " batch"]]:
        """Places in `numbers`, shuffled, those of about equal length together."""
        order = torch.randperm(len(numbers), generator=random).numpy()
        found: list[Int64[np.ndarray, " batch"]] = []
        for start in range(0, len(order), size * _WINDOW):
            window = order[start : start + size * _WINDOW]
            window = window[np.argsort(self._lengths[numbers[window]], kind="stable")]
            found += np.split(window, range(size, len(window), size))
        return [found[i] for i in torch.randperm(len(found), generator=random)]


def tuned_files(folder: Path, trained: Mapping[str, Tensor]) -> dict[str, bytes]:
    """The files of the encoder in that folder with these weights in place of its own."""
    tensors = load_file(folder / WEIGHTS)
    for name, tensor in trained.items():
        (own,) = [key for key in tensors if key == name or key.endswith(f".{name}")]
        tensors[own] = tensor.detach().cpu().contiguous()
    files = {name: (folder / name).read_bytes() for name in files_of(folder) if name != WEIGHTS}
    return {**files, WEIGHTS: bytes(save_tensors(tensors, metadata={"format": "pt"}))}
