"""Images: what every kind of file becomes, and what is said of one that cannot be read."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from abi.media.broken import Broken, Found
from abi.media.image import decode, examine, is_image, size_of


def encoded(values: object, form: str = "PNG", **options: object) -> bytes:
    picture = values if isinstance(values, Image.Image) else Image.fromarray(np.asarray(values))
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


COLOURS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10
GREY = np.array([[0, 100, 200], [50, 150, 250]], np.uint8)


def test_a_picture_of_that_size_is_itself() -> None:
    data = encoded(COLOURS)
    assert is_image(data)
    assert examine(data) == Found(height=2, width=3, channels=3)
    assert (decode(data, 3, 2, 3) == COLOURS.transpose(2, 0, 1)).all()


def test_grey_and_colours_turn_into_each_other() -> None:
    assert examine(encoded(GREY)) == Found(height=2, width=3, channels=1)
    assert (decode(encoded(GREY), 3, 2, 3) == GREY[None]).all()
    # by hand: the luma of ITU-R 601, 0.299 R + 0.587 G + 0.114 B
    green = np.zeros((1, 1, 3), np.uint8)
    green[..., 1] = 200
    assert decode(encoded(green), 1, 1, 1).item() == round(0.587 * 200)


def test_another_shape_is_scaled_to_cover_and_cut_around_its_centre() -> None:
    wide = np.zeros((2, 6), np.uint8)
    wide[:, 2:4] = 120  # the middle square is what stays
    assert (decode(encoded(wide), 1, 2, 2) == 120).all()
    # by hand: each cell is the mean of a block of 2 x 2
    blocks = np.array([[0, 4, 100, 104], [8, 12, 108, 112]], np.uint8)
    tall = np.concatenate([blocks, blocks + 20])
    assert decode(encoded(tall), 1, 2, 2)[0].tolist() == [[6, 106], [26, 126]]


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_become_8(form: str) -> None:
    deep = np.array([[0, 257, 65535], [128 * 257, 300, 64]], np.uint16)
    data = encoded(deep, form)
    assert examine(data).channels == 1
    assert decode(data, 1, 2, 3)[0].tolist() == [[0, 1, 255], [128, 1, 0]]


def test_a_picture_of_32_bits_is_told() -> None:
    with pytest.raises(Broken, match="holds numbers of 32 bits, more than 16"):
        examine(encoded(np.ones((2, 2), np.float32), "TIFF"))


def test_what_is_transparent_is_white() -> None:
    clear = np.zeros((1, 2, 4), np.uint8)
    clear[0, 1] = (10, 20, 30, 255)
    assert decode(encoded(clear), 3, 1, 2)[:, 0].T.tolist() == [[255, 255, 255], [10, 20, 30]]
    grey = Image.fromarray(np.array([[[0, 0], [40, 255]]], np.uint8), "LA")
    assert examine(encoded(grey)).channels == 1
    assert decode(encoded(grey), 1, 1, 2).tolist() == [[[255, 40]]]


@pytest.mark.parametrize(
    ("mode", "pixels", "clear"),
    [("L", [7, 40], 7), ("RGB", [(1, 2, 3), (40, 40, 40)], (1, 2, 3)), ("1", [0, 255], 0), ("I;16", [7, 40 * 257], 7)],
)
def test_a_colour_that_is_named_as_transparent_is_white(mode: str, pixels: list[object], clear: object) -> None:
    picture = Image.new(mode, (2, 1))
    for x, pixel in enumerate(pixels):
        picture.putpixel((x, 0), pixel)  # type: ignore[arg-type]
    data = encoded(picture, transparency=clear)
    assert examine(data).channels == (3 if mode == "RGB" else 1)
    assert decode(data, 1, 1, 2).tolist() == [[[255, 255 if mode == "1" else 40]]]


def test_palettes_masks_and_inks_are_read() -> None:
    picture = Image.fromarray(COLOURS)
    palette = encoded(picture.convert("P", palette=Image.Palette.ADAPTIVE))
    assert np.abs(decode(palette, 3, 2, 3).astype(int) - COLOURS.transpose(2, 0, 1)).max() <= 1
    assert decode(encoded(picture.convert("P"), transparency=b"\0\1\2"), 3, 2, 3).shape == (3, 2, 3)
    mask = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert examine(encoded(mask)).channels == 1
    assert decode(encoded(mask), 1, 1, 2).tolist() == [[[0, 255]]]
    assert decode(encoded(picture.convert("CMYK"), "JPEG"), 3, 2, 3).shape == (3, 2, 3)


def test_of_an_animation_it_is_the_first_picture() -> None:
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (30, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=10)
    assert (decode(data, 1, 4, 4) == 30).all()


def test_a_camera_that_was_turned_is_seen_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    data = encoded(GREY, "PNG", exif=exif)
    assert examine(data) == Found(height=3, width=2, channels=1)
    assert decode(data, 1, 3, 2)[0].tolist() == np.rot90(GREY, -1).tolist()


def _bomb(side: int) -> bytes:
    """A PNG of a few bytes whose header names that many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


JPEG = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "JPEG")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (JPEG[: len(JPEG) // 2], r"cannot be decoded \(image file is truncated"),
        (JPEG[:20], "be (decoded|read)"),
        (b"just a few words", "is no image that can be read"),
        (b"", "is no image that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image that can be read"),
        (_bomb(8000), "has 8000 x 8000 pixels, more than 50,000,000"),
        (_bomb(100_000), "decompression bomb"),
        (_bomb(32), "cannot be decoded"),
    ],
)
def test_a_file_that_is_no_picture_is_told(data: bytes, said: str) -> None:
    with pytest.raises(Broken, match=said):
        examine(data)
    with pytest.raises(Broken, match=said):
        decode(data, 3, 8, 8)


def test_no_damage_breaks_more_than_the_file() -> None:
    random = np.random.default_rng(1)
    whole = {
        form: encoded(COLOURS.repeat(8, 0).repeat(8, 1), form) for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
    }
    for data in whole.values():
        for _ in range(40):
            hurt = bytearray(data)
            for place in random.integers(0, len(data), 4):
                hurt[place] = random.integers(0, 256)
            with contextlib.suppress(Broken):  # and nothing else
                assert decode(bytes(hurt), 3, 8, 8).shape == (3, 8, 8)


def test_the_most_frequent_size_is_everybodys() -> None:
    small, large = Found(height=8, width=9), Found(height=80, width=90, channels=3)
    assert size_of({small: 3, large: 2}) == (3, 8, 9)
    assert size_of({small: 3}) == (1, 8, 9)
    assert size_of({small: 2, large: 2}) == (3, 8, 9)  # the smaller one of two
