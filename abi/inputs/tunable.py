"""Pretrained encoders whose last layers can be trained, and the folder that one becomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from abi.data.encoder_folder import WEIGHTS, blocks_of, files_of
from abi.inputs.pretrained import TextModel
from abi.media.encoder import THREADS, PictureModel

if TYPE_CHECKING:
    from abi.problem import Pretrained

_WINDOW: Final = 16
"""Batches whose rows are sorted by length among themselves, so that little of a batch is padding."""


class Tunable(Protocol):
    """An encoder with the texts or pictures that it is trained on, each known by its number.

    Attributes:
        device: where its layers are.
        last: the layers that are trained.
        held_bytes: of what it is trained on, in memory.
    """

    device: torch.device
    last: LastLayers
    held_bytes: int

    def vectors(self, numbers: Int64[np.ndarray, " rows"]) -> Float[Tensor, "rows dimensions"]:
        """Vectors of those numbers, with their gradient."""
        ...

    def encoded(self, numbers: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows dimensions"]:
        """The same without gradient, in batches of their own."""
        ...

    def longest(self) -> int:
        """The number of the one that takes most."""
        ...

    def batches(
        self, numbers: Int64[np.ndarray, " rows"], size: int, random: torch.Generator
    ) -> list[Int64[np.ndarray, " batch"]]:
        """Places in `numbers`, shuffled, `size` at a time."""
        ...


class LastLayers:
    """The last of a network's layers that stand in a list, made trainable.

    Args:
        network: frozen, in evaluation mode.
        count: how many; all that there are where there are no more.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        own = dict(network.named_parameters())
        blocks = blocks_of({name: p.numel() for name, p in own.items()})
        last = list(blocks)[-count:]
        self.count, self._network = len(last), network
        self._parts = [network.get_submodule(block) for block in last]
        self._trained = {name: own[name] for block in last for name in blocks[block]}
        for parameter in self._trained.values():
            parameter.requires_grad_(True)

    def named(self) -> Mapping[str, nn.Parameter]:
        """The weights that are trained."""
        return self._trained

    def weights(self) -> Iterator[Tensor]:
        """All weights of the network."""
        yield from self._network.parameters()
        yield from self._network.buffers()

    def train(self, mode: bool) -> None:
        """Whether the layers that are trained drop out; the others never do, and no moments of a batch are taken.

        Moments of batches as small as these would be worse than those that the network came with.
        """
        for module in (one for part in self._parts for one in part.modules()):
            module.training = mode and not isinstance(module, nn.modules.batchnorm._BatchNorm)


class TunableText(TextModel):
    """A text encoder with `layers` trainable ones, and texts."""

    def __init__(self, encoder: Pretrained, folder: Path, layers: int, texts: Sequence[str]) -> None:
        super().__init__(encoder, folder)
        self.last = LastLayers(self._layers, layers)
        self._texts = self.tokens(texts)
        self._lengths = np.array([len(ids) for ids in self._texts], dtype=np.int64)
        self.held_bytes = 0  # tokens are small beside their vectors

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


class TunablePictures(PictureModel):
    """An image encoder with `layers` trainable ones, and the files of pictures that can be read; they are decoded for each step."""

    def __init__(self, folder: Path, layers: int, files: Sequence[bytes]) -> None:
        super().__init__(folder)
        self.last = LastLayers(self._layers, layers)
        self._files = files
        self.held_bytes = sum(map(len, files))

    def vectors(self, numbers: Int64[np.ndarray, " rows"]) -> Float[Tensor, "rows dimensions"]:
        """Vectors of the pictures of these numbers, with their gradient."""
        with ThreadPoolExecutor(THREADS) as pool:
            shown = list(pool.map(self._shown, [self._files[i] for i in numbers]))
        found: Tensor = self._forward(torch.stack([one for one in shown if one is not None]))
        return found.float()

    def encoded(self, numbers: Int64[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows dimensions"]:
        """The same without gradient, in batches of their own."""
        return self.encode([self._files[i] for i in numbers])

    def longest(self) -> int:
        """All take the same."""
        return 0

    def batches(
        self, numbers: Int64[np.ndarray, " rows"], size: int, random: torch.Generator
    ) -> list[Int64[np.ndarray, " batch"]]:
        """Places in `numbers`, shuffled."""
        order = torch.randperm(len(numbers), generator=random).numpy()
        return np.split(order, range(size, len(order), size))


def tuned_files(folder: Path, trained: Mapping[str, Tensor]) -> dict[str, bytes]:
    """The files of the encoder in that folder with these weights in place of its own."""
    tensors = load_file(folder / WEIGHTS)
    for name, tensor in trained.items():
        (own,) = [name] if name in tensors else [key for key in tensors if key.endswith(f".{name}")]
        tensors[own] = tensor.detach().cpu().contiguous()
    files = {name: (folder / name).read_bytes() for name in files_of(folder) if name != WEIGHTS}
    return {**files, WEIGHTS: bytes(save_tensors(tensors, metadata={"format": "pt"}))}
