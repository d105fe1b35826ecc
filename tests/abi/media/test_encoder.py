"""Pictures through a pretrained encoder: timm's own numbers, and one sentence for what does not fit."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from abi.errors import UsageError
from abi.media import encoder as module
from abi.media.encoder import PictureModel


def png(height: int, width: int, seed: int = 0, mode: str = "RGB") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


FILES = [png(32, 32), png(50, 80, 1), png(200, 30, 2, "L"), png(9, 7, 3, "RGBA")]


@pytest.fixture
def folder(tiny_resnet: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_resnet, tmp_path / "copy"))


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit"])
def test_vectors_are_those_of_timm_on_the_same_pixels(architecture: str, tiny_resnet: Path, tmp_path: Path) -> None:
    import timm
    from timm.data import create_transform, resolve_data_config

    given = {} if architecture == "test_resnet" else {"img_size": 48}
    torch.manual_seed(0)
    whole = timm.create_model(architecture, num_classes=5, **given).eval()
    asked = {
        "input_size": (3, 48, 48),
        "crop_pct": 0.9,
        "interpolation": "bilinear",
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
    }
    timm.models.save_for_hf(whole, tmp_path, safe_serialization=True, data_config=asked)
    found = PictureModel(tmp_path).encode(FILES)
    show = create_transform(**resolve_data_config({}, pretrained_cfg=asked))
    pixels = torch.stack([show(Image.open(io.BytesIO(data)).convert("RGB")) for data in FILES])
    with torch.no_grad():  # what its classifier is given
        expected = whole.forward_head(whole.forward_features(pixels), pre_logits=True)
    assert pixels.shape[1:] == (3, 48, 48)
    assert np.allclose(found, expected.numpy(), atol=1e-5)


def test_a_vector_does_not_depend_on_the_pictures_beside_it(tiny_resnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = PictureModel(tiny_resnet)
    together = model.encode(FILES)
    monkeypatch.setattr(module, "BATCH_PIXELS", 32 * 32)
    assert np.allclose(model.encode(FILES), together, atol=1e-5)


def test_what_it_takes_by_hand(tmp_path: Path, tiny_resnet: Path) -> None:
    model = PictureModel(tiny_resnet)
    weights = load_file(tiny_resnet / "model.safetensors")
    trained = {k: v for k, v in weights.items() if "running" not in k and "num_batches" not in k}
    assert model.dimensions == weights["fc.weight"].shape[1] == 96
    assert sum(model.sizes.values()) == sum(v.numel() for k, v in trained.items() if not k.startswith("fc."))
    first = weights["conv1.0.weight"]  # at every other pixel of 32 x 32
    assert (model.sight.channels, model.sight.height, model.sight.width) == (3, 32, 32)
    assert model.sight.macs > first.numel() * 16 * 16


def test_pictures_that_cannot_be_read_have_no_vector(tiny_resnet: Path) -> None:
    cut_off = FILES[1][: len(FILES[1]) // 2]
    found = PictureModel(tiny_resnet).encode([b"", FILES[0], cut_off, b"just words"])
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True, True]
    assert np.isnan(PictureModel(tiny_resnet).encode([b"x"])).all()


def test_of_a_picture_that_is_too_long_the_middle_is_seen(tiny_resnet: Path) -> None:
    pixels = np.zeros((2, 4000, 3), np.uint8)
    pixels[:, 1500:2500] = 200  # more than is seen of it
    buffer, middle = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    Image.fromarray(pixels[:, 1984:2016]).save(middle, "PNG")
    whole, part = PictureModel(tiny_resnet).encode([buffer.getvalue(), middle.getvalue()])
    assert np.array_equal(whole, part)


def test_grey_encoders_see_grey(tmp_path: Path, tiny_resnet: Path) -> None:
    import timm

    grey = timm.create_model("test_resnet", num_classes=5, in_chans=1)
    asked = {"input_size": (1, 32, 32), "mean": (0.5,), "std": (0.5,)}
    timm.models.save_for_hf(grey, tmp_path, safe_serialization=True, data_config=asked)
    model = PictureModel(tmp_path)
    assert model.sight.channels == 1
    assert np.isfinite(model.encode(FILES)).all()


def _change(folder: Path, **fields: Any) -> None:
    plain = json.loads((folder / "config.json").read_text())
    for name, value in fields.items():
        inner = plain.get(name)
        plain[name] = {**inner, **value} if isinstance(value, dict) and isinstance(inner, dict) else value
    (folder / "config.json").write_text(json.dumps(plain))


def _lacking(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if k != "conv1.0.weight"}, folder / "model.safetensors")


def _endless(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "conv1.0.weight": tensors["conv1.0.weight"] * torch.inf}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: _change(folder, architecture="resnet_of_mine"), r"timm .* knows .* got 'resnet_of_mine'"),
        (lambda folder: _change(folder, architecture="hf-hub:timm/resnet18"), r"timm .* knows .* got 'hf-hub:timm"),
        (lambda folder: _change(folder, architecture="test_vit"), r"got none for \d+ tensors such as"),
        (lambda folder: _change(folder, model_args={"in_chans": 1}), "size mismatch|Error.* loading"),
        (lambda folder: _change(folder, model_args={"speed": 1}), "unexpected keyword argument 'speed'"),
        (lambda folder: _change(folder, pretrained_cfg={"input_size": [4, 32, 32]}), "4 channels of 32 x 32"),
        (lambda folder: _change(folder, pretrained_cfg={"input_size": [3, 90000, 9]}), "90000 x 9 pixels"),
        (lambda folder: _change(folder, model_args={"global_pool": ""}), "no single vector"),
        (_lacking, r"got none for 1 tensors such as 'conv1\.0\.weight': save the encoder again\.$"),
        (_endless, "half precision"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04K\x01."), "timm can load"),
    ],
)
def test_what_is_refused(folder: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(folder)
    with pytest.raises(UsageError, match=said) as error:
        PictureModel(folder)
    assert str(error.value).startswith("Expected ")
    assert "\n" not in str(error.value)


def test_no_pickle_is_read_whatever_the_folder_asks_for(folder: Path, tmp_path: Path) -> None:
    torch.save({"model": 1}, tmp_path / "other.pth")
    _change(folder, model_args={"checkpoint_path": str(tmp_path / "other.pth"), "pretrained": True, "num_classes": 3})
    assert PictureModel(folder).dimensions == 96


def test_without_timm_there_is_a_remedy(tiny_resnet: Path, without_package: Any) -> None:
    without_package("timm")
    with pytest.raises(UsageError, match=r"abi-instrument\[pretrained-images\]"):
        PictureModel(tiny_resnet)
