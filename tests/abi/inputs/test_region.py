"""Regions of pictures: what a level computes, what it costs, and that what is not computed is zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from abi.inputs.kind import Sizes
from abi.inputs.region import RegionEncoder, step
from abi.inputs.trunk import LEVELS, region_macs, trunk_parameters
from abi.media.grid import Pictures
from abi.problem import Feature, Grid


def _grid(medium: str = "image", *, channels: int = 3, mirrored: bool = False, views: int | None = None) -> Grid:
    sound = {"rate": 8000, "seconds": 1.0} if medium == "audio" else {}
    return Grid(
        column="p",
        medium=medium,  # type: ignore[arg-type]
        channels=channels,
        height=16,
        width=16,
        rows=2,
        cols=2,
        mean=(100.0,) * channels,
        deviation=(50.0,) * channels,
        mirrored=mirrored,
        views=views,
        **sound,  # type: ignore[arg-type]
    )


def _pictures(rows: int, channels: int = 3, *, lacking: tuple[int, ...] = ()) -> Pictures:
    pixels = np.random.default_rng(0).integers(0, 256, (rows, channels, 16, 16), dtype=np.uint8)
    there = np.ones(rows, bool)
    there[list(lacking)] = False
    return Pictures(pixels, there)


def test_parameters_are_what_the_trunk_has() -> None:
    encoder = RegionEncoder(_grid(), 8, [4, 4, 4, 4])
    assert sum(p.numel() for p in encoder.parameters()) == trunk_parameters(3, 8)
    # by hand: 9 (3 8 + 8 8 + 8 16 + 16 16 + 16 32 + 32 32) + 2 (8 + 8 + 16 + 16 + 32 + 32)
    assert trunk_parameters(3, 8) == 9 * 2008 + 2 * 112


def test_so_has_one_whose_regions_differ() -> None:
    encoder = RegionEncoder(_grid(), 8, [4, 1, 2, 0])
    assert sum(p.numel() for p in encoder.parameters()) == trunk_parameters(3, 8, [4, 1, 2, 0])
    # two more levels are normalised for themselves: 1/4 and 2/4 of 112 channels
    assert trunk_parameters(3, 8, [4, 1, 2, 0]) == trunk_parameters(3, 8) + 2 * (28 + 56)


def test_multiply_accumulates_by_hand() -> None:
    # a region of 8 x 8 pixels: the first stage at 64, the second at 16, the third at 4 places
    expected = 9 * ((3 * 8 + 8 * 8) * 64 + (8 * 16 + 16 * 16) * 16 + (16 * 32 + 32 * 32) * 4)
    assert region_macs(_grid(), 8) == expected
    half = 9 * ((3 * 4 + 4 * 4) * 64 + (4 * 8 + 8 * 8) * 16 + (8 * 16 + 16 * 16) * 4)
    assert region_macs(_grid(), 8, 2) == half
    assert region_macs(_grid(), 8, 0) == 0


@pytest.mark.parametrize("levels", [(4, 4, 4, 4), (3, 3, 3, 3), (4, 2, 1, 0), (0, 0, 0, 1)])
def test_a_region_is_what_the_trunk_of_its_level_gives_there(levels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    encoder = RegionEncoder(_grid(), 8, levels).eval()
    cells = encoder.encode(_pictures(3))
    found = encoder(cells)
    assert found.shape == (3, sum(levels) * 8)
    torch.testing.assert_close(found, _masked(encoder, cells.pixels, levels), rtol=1e-4, atol=1e-5)


def _masked(encoder: RegionEncoder, pixels: torch.Tensor, levels: tuple[int, ...]) -> torch.Tensor:
    """The same by dense convolutions of each level over the whole picture, of which each region takes its own."""
    x = (pixels.float() - 100.0) / 50.0
    for place, layer in enumerate(encoder.layers):
        assert isinstance(layer, nn.Module)
        side, outputs = x.shape[2], layer.outputs
        whole = torch.zeros(len(x), outputs, side, side)
        for region, level in enumerate(levels):
            if not level:
                continue
            r, c = divmod(region, 2)
            rows, cols = slice(r * side // 2, (r + 1) * side // 2), slice(c * side // 2, (c + 1) * side // 2)
            read = 3 if place == 0 else layer.inputs * level // LEVELS
            made = outputs * level // LEVELS
            y = nn.functional.conv2d(x[:, :read], layer.weight[:made, :read], padding=1)
            y = torch.relu(y / (1 + 1e-5) ** 0.5)  # normalised by a mean of 0 and a variance of 1
            whole[:, :made, rows, cols] = y[:, :, rows, cols]
        x = x + whole if place in (3, 5) else whole
        if place in (1, 3):
            x = nn.functional.max_pool2d(x, 2)
    means = nn.functional.avg_pool2d(x, x.shape[2] // 2).flatten(2).transpose(1, 2) / 4
    return torch.cat([means[:, i, : level * 8] for i, level in enumerate(levels)], 1)


def test_every_number_of_a_regions_embedding_is_added_to_its_own_channel() -> None:
    encoder = RegionEncoder(_grid(), 4, [2, 0, 1, 4])
    assert encoder.width == 16
    assert encoder.pooled().tolist() == [*range(8), *range(4), *range(16)]


def test_a_row_without_a_picture_has_a_zero_embedding() -> None:
    encoder = RegionEncoder(_grid(), 4, [4, 2, 4, 4]).eval()
    found = encoder(encoder.encode(_pictures(3, lacking=(1,))))
    assert (found[1] == 0).all()
    assert (found[[0, 2]] != 0).any(dim=1).all()


def test_gradients_reach_every_weight() -> None:
    encoder = RegionEncoder(_grid("audio", channels=1), 4, [3, 1, 1, 1])
    encoder(encoder.encode(_pictures(8, 1))).square().sum().backward()
    for layer in encoder.layers:
        assert layer.weight.shape[0] == layer.outputs * 3 // 4  # type: ignore[union-attr,operator]
        assert (layer.weight.grad != 0).any(dim=(2, 3)).any(dim=1).all()  # type: ignore[union-attr]


def test_training_shifts_pictures_and_predicting_does_not() -> None:
    encoder = RegionEncoder(_grid(mirrored=True), 4, [4] * 4)
    cells = encoder.encode(_pictures(4))
    encoder.eval()
    assert torch.equal(encoder(cells), encoder(cells))
    encoder.train()
    torch.manual_seed(0)
    first = encoder(cells)
    assert not torch.equal(first, encoder(cells))


@pytest.mark.parametrize("levels", [[4] * 4, [4, 1, 2, 0]])
def test_a_prediction_is_the_mean_over_a_picture_and_its_mirror_image(levels: list[int]) -> None:
    both, one = RegionEncoder(_grid(mirrored=True, views=2), 4, levels), RegionEncoder(_grid(mirrored=True), 4, levels)
    one.load_state_dict(both.state_dict())
    pictures = _pictures(5, lacking=(2,))
    turned = Pictures(pictures.pixels[..., ::-1].copy(), pictures.there)
    both.eval(), one.eval()
    seen, mirrored = both(both.encode(pictures)), both(both.encode(turned))
    assert torch.allclose(seen, (one(one.encode(pictures)) + one(one.encode(turned))) / 2, atol=1e-6)
    assert torch.allclose(seen, mirrored, atol=1e-6)
    assert (seen[2] == 0).all()
    both.train(), one.train()
    both.augment = one.augment = False
    assert torch.equal(both(both.encode(pictures)), one(one.encode(pictures)))  # a step looks once


def test_a_region_has_every_channel_in_the_even_split_and_no_parameters_of_its_own() -> None:
    feature = Feature(name="p[1,1]", column="p", kind="region", distinct=32, missing_share=0.0, place=0)
    rung = step(feature, 1, Sizes(bins=32, base=16))
    assert (rung.width, rung.encoder_parameters, rung.laid) == (64, 0, 0)
