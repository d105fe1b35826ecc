"""An image encoder's last layers: what is trained, what stays, and the folder that they are written to."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from abi.data.encoder_folder import files_of
from abi.data.picture_encoder import describe_pictures
from abi.errors import PlanInfeasible, UsageError
from abi.inputs.tunable import TunablePictures, tuned_files
from abi.media.encoder import PictureModel
from abi.reading import EncoderConfig, TuneConfig
from abi.training.tune import TuneLimits, TuneProgress, TuneRows, tune

FREE = TuneLimits(seconds=None, memory_bytes=None)


def _picture(random: np.random.Generator, red_above: bool) -> bytes:
    """A red and a blue patch, one above the other: a mean over the picture does not tell which."""
    pixels = random.normal(128, 30, (32, 32, 3))
    left, top = random.integers(0, 20), random.integers(0, 6)
    sign = 1 if red_above else -1
    pixels[top : top + 10, left : left + 12] += np.array([90, 0, -90]) * sign
    pixels[top + 14 : top + 24, left : left + 12] -= np.array([90, 0, -90]) * sign
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def drawn() -> tuple[list[bytes], np.ndarray]:
    random = np.random.default_rng(0)
    label = random.integers(0, 2, 200)
    return [_picture(random, bool(one)) for one in label], label


@pytest.fixture
def learned(tiny_resnet: Path, drawn: tuple[list[bytes], np.ndarray]) -> Callable[..., TuneProgress]:
    """Tune on 150 pictures, judge by 50."""
    files, label = drawn
    torch.set_num_threads(1)
    vectors = torch.from_numpy(PictureModel(tiny_resnet).encode(files))
    rows = [
        TuneRows(np.arange(*part), torch.from_numpy(label[slice(*part)].astype(np.int64)))
        for part in ((0, 150), (150, 200))
    ]

    def run(limits: TuneLimits = FREE, **more: float) -> TuneProgress:
        model = TunablePictures(tiny_resnet, 2, files)
        return tune(model, vectors, rows[0], rows[1], "binary", 1, TuneConfig(**more), limits, seed=0)  # type: ignore[arg-type]

    return run


def test_only_the_last_layers_have_gradients_and_no_moments_change(
    tiny_resnet: Path, drawn: tuple[list[bytes], np.ndarray]
) -> None:
    model = TunablePictures(tiny_resnet, 2, drawn[0])
    before = {name: b.clone() for name, b in model._layers.named_buffers()}
    model.last.train(True)
    model.vectors(np.arange(6)).square().sum().backward()
    assert model.last.count == 1  # the widest stage of this one has one block
    assert {name[:9] for name in model.last.named()} == {"layer4.0."}
    assert all(p.grad is not None for p in model.last.named().values())
    assert sum(p.requires_grad for p in model._layers.parameters()) == len(model.last.named())
    norms = [m for m in model._layers.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    assert model._layers.layer4[0].training
    assert all(torch.equal(b, before[name]) for name, b in model._layers.named_buffers())


def test_vectors_are_those_of_the_encoder(tiny_resnet: Path, drawn: tuple[list[bytes], np.ndarray]) -> None:
    model, numbers = TunablePictures(tiny_resnet, 1, drawn[0]), np.array([5, 0, 7])
    expected = PictureModel(tiny_resnet).encode([drawn[0][i] for i in numbers])
    assert np.allclose(model.vectors(numbers).detach().numpy(), expected, atol=1e-5)
    assert np.array_equal(model.encoded(numbers), expected)


def test_every_row_is_in_one_batch(tiny_resnet: Path, drawn: tuple[list[bytes], np.ndarray]) -> None:
    model = TunablePictures(tiny_resnet, 1, drawn[0])
    first, again = (model.batches(np.arange(10), 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert [len(batch) for batch in first] == [4, 4, 2]
    assert sorted(np.concatenate(first).tolist()) == list(range(10))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_layers_learn_what_a_head_alone_cannot(learned: Callable[..., TuneProgress]) -> None:
    done = learned(epochs=8, learning_rate=0.003)
    assert done.best_epoch > 0
    assert done.loss_after < 0.5 * done.loss_before


def test_files_count_in_what_a_step_needs(
    learned: Callable[..., TuneProgress], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert learned(TuneLimits(seconds=None, memory_bytes=2**30), epochs=1).micro_batch == 16
    with pytest.raises(PlanInfeasible, match=r"envelope.memory=50 KiB, got a need of \d\.\d+ MiB"):
        learned(TuneLimits(seconds=None, memory_bytes=50 * 2**10))
    init = TunablePictures.__init__

    def larger(model: TunablePictures, *given: Any) -> None:
        init(model, *given)
        model.held_bytes += 200 * 2**20

    monkeypatch.setattr(TunablePictures, "__init__", larger)
    with pytest.raises(PlanInfeasible, match=r"got a need of 20\d(\.\d+)? MiB"):
        learned(TuneLimits(seconds=None, memory_bytes=50 * 2**10))


def test_the_folder_holds_the_new_weights_and_all_else_as_it_was(
    tiny_resnet: Path, drawn: tuple[list[bytes], np.ndarray], tmp_path: Path
) -> None:
    model = TunablePictures(tiny_resnet, 1, drawn[0])
    with torch.no_grad():
        for parameter in model.last.named().values():
            parameter.add_(0.05 * torch.sin(torch.arange(parameter.numel()).reshape(parameter.shape)))
    files = tuned_files(tiny_resnet, model.last.named())
    assert sorted(files) == list(files_of(tiny_resnet)) == ["config.json", "model.safetensors"]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    base, found = (describe_pictures(EncoderConfig(path=path), "photo") for path in (tiny_resnet, tmp_path))
    assert {**vars(found), "sha256": ""} == {**vars(base), "sha256": ""}
    assert found.sha256 != base.sha256
    assert np.array_equal(PictureModel(tmp_path).encode(drawn[0][:9]), model.encode(drawn[0][:9]))
    assert not np.allclose(PictureModel(tiny_resnet).encode(drawn[0][:9]), model.encode(drawn[0][:9]), atol=1e-3)


def test_an_encoder_without_layers_is_not_tuned(tiny_resnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abi.data.encoder_folder.blocks_of", lambda sizes: {})
    assert describe_pictures(EncoderConfig(path=tiny_resnet), "photo").dimensions == 96
    with pytest.raises(UsageError, match="Expected layers to tune in the encoder of the column 'photo', got none"):
        describe_pictures(EncoderConfig(path=tiny_resnet, tune=TuneConfig()), "photo")
