"""Pictures through a frozen, pretrained network of timm: its own resizing and normalisation, its layers, one vector each.

The folder is what timm's `save_for_hf` leaves: config.json names an architecture of timm and how pictures are shown to it,
model.safetensors holds the weights. Nothing is downloaded, and no code but timm's is run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors.torch import load_file
from torch import Tensor

from abi.errors import UsageError, clip
from abi.media.broken import Broken
from abi.media.image import opened
from abi.media.torchvision import load_torchvision
from abi.problem import Sight

BATCH_PIXELS: Final = 32 * 224 * 224
"""Pixels that go through the layers together."""
LONGEST: Final = 16
"""A picture's longer side over the shorter one; of a longer picture the middle is seen. Scaled whole it could take gigabytes."""
MOST_SIDE: Final = 2048
"""Pixels along a side that an encoder sees."""
THREADS: Final = 2
QUIET: Final = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
_SETTLED: Final = ("pretrained", "pretrained_cfg", "checkpoint_path", "num_classes", "cache_dir", "features_only")
"""Arguments of a model that its folder does not decide."""


class PictureModel:
    """One encoder, loaded: its layers without a classifier, in evaluation mode and single precision.

    Attributes:
        sight: how it sees a picture, and what that takes.
        dimensions: numbers that a picture becomes.
        sizes: numbers of each of its weights, by their names.

    Raises:
        UsageError: timm is not installed, knows no such architecture, or the weights do not fit it.
    """

    def __init__(self, folder: Path) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        layers, self._prepare, (channels, height, width) = _load(folder)
        self._mode = "L" if channels == 1 else "RGB"
        self._layers = layers.to(self.device)
        self._size = (channels, height, width)
        self.sizes = {name: p.numel() for name, p in layers.named_parameters()}
        self.dimensions, macs = self._measured(folder)
        self.sight = Sight(channels=channels, height=height, width=width, macs=macs)

    def encode(self, files: Sequence[bytes]) -> Float32[np.ndarray, "pictures dimensions"]:
        """Vectors of the pictures in the files, NaN of one that cannot be read."""
        result = np.full((len(files), self.dimensions), np.nan, dtype=np.float32)
        step = max(1, BATCH_PIXELS // (self._size[1] * self._size[2]))
        with torch.inference_mode(), ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(files), step):
                shown = list(pool.map(self._shown, files[start : start + step]))
                there = [start + i for i, one in enumerate(shown) if one is not None]
                if there:
                    pixels = torch.stack([one for one in shown if one is not None])
                    result[there] = self._forward(pixels).cpu().numpy()
        return result

    def _shown(self, data: bytes) -> Float[Tensor, "channels height width"] | None:
        try:
            picture = opened(data).convert(self._mode)
        except Broken:
            return None
        found: Tensor = self._prepare(_cut(picture))
        return found

    def _forward(self, pixels: Float[Tensor, "pictures channels height width"]) -> Any:
        # full single precision on a GPU too, so that vectors are the same wherever they are made
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            return self._layers(pixels.to(self.device))

    def _measured(self, folder: Path) -> tuple[int, int]:
        """(dimensions, multiply-accumulates), by what an empty picture becomes."""
        from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - it takes a moment

        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            try:
                found = self._forward(torch.zeros((1, *self._size)))
            except Exception as error:  # layers that a size or an argument does not fit raise what they like
                raise _unfit(folder, f"one that fails on a picture ({_first_line(error)})") from None
        if not isinstance(found, Tensor) or found.ndim != 2:  # noqa: PLR2004 - rows and columns
            raise _unfit(folder, "one that gives no single vector")
        if not found.half().isfinite().all():
            raise _unfit(folder, "one whose numbers half precision does not hold")
        return found.shape[1], counter.get_total_flops() // 2


def _cut(picture: Any) -> Any:
    """The middle of a picture that is too long."""
    width, height = picture.size
    most = LONGEST * min(width, height)
    if max(width, height) <= most:
        return picture
    left, top = max(0, width - most) // 2, max(0, height - most) // 2
    return picture.crop((left, top, left + min(width, most), top + min(height, most)))


def _load(folder: Path) -> tuple[Any, Any, tuple[int, int, int]]:
    """(layers, what makes a picture their input, its size), from the files of that folder alone."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    load_torchvision()
    try:
        import timm  # noqa: PLC0415 - an extra, and it takes seconds
        from timm.data import create_transform, resolve_data_config  # noqa: PLC0415
    except ImportError:
        msg = "Expected the package timm for image encoders in data.encoders, found none: install abi-instrument[pretrained-images]."
        raise UsageError(msg) from None
    plain = json.loads((folder / "config.json").read_bytes())
    name = str(plain.get("architecture")) if isinstance(plain, dict) else "none"
    if not timm.is_model(name):  # it knows no name that leads to a hub or folder
        msg = f"Expected an architecture that timm {timm.__version__} knows in {folder / 'config.json'}, got {clip(name)!r}: choose another encoder, or another timm."
        raise UsageError(msg)
    try:
        shown = resolve_data_config({}, pretrained_cfg=plain.get("pretrained_cfg") or plain)
        channels, height, width = map(int, shown["input_size"])
        if channels not in (1, 3) or not 0 < min(height, width) <= max(height, width) <= MOST_SIDE:
            raise _unfit(folder, f"one for {channels} channels of {height} x {width} pixels")
        given = {k: v for k, v in plain.get("model_args", {}).items() if k not in _SETTLED}
        layers = timm.create_model(
            name,
            pretrained=False,
            pretrained_cfg=plain.get("pretrained_cfg"),
            num_classes=0,
            **{"in_chans": channels, **given},
        )
        tensors = load_file(folder / "model.safetensors")
        lacking = sorted(layers.load_state_dict(tensors, strict=False).missing_keys)
        prepare = create_transform(**shown, is_training=False)
    except UsageError:
        raise
    except Exception as error:  # the libraries raise what they like
        raise _unfit(folder, _first_line(error)) from None
    if lacking:
        msg = f"Expected weights for every layer of {name} in {folder}, got none for {len(lacking)} tensors such as {lacking[0]!r}: save the encoder again."
        raise UsageError(msg)
    return layers.eval().requires_grad_(False), prepare, (channels, height, width)


def _unfit(folder: Path, got: str) -> UsageError:
    return UsageError(f"Expected an image encoder that timm can load in {folder}, got {got}: save the encoder again.")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".:") if lines else type(error).__name__
