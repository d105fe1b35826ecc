"""Images: any file that Pillow reads, brought to one size and 8 bits per channel."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from abi.media.broken import Broken, Found

MOST_PIXELS: Final = 50_000_000
"""A larger picture is refused before it is decoded: a small file may unfold to gigabytes."""
FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
"""Nothing else is tried: some of what Pillow knows starts other programs."""
MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_WEBP: Final = (b"RIFF", b"WEBP")
_WIDE: Final = 257
"""16 bits over 8 bits."""
_MOST: Final = 2**16 - 1
_PAPER: Final = (255, 255, 255, 255)
"""What is seen through a transparent picture."""


def is_image(data: bytes) -> bool:
    """Whether the first bytes are those of an image."""
    return data.startswith(MAGIC) or (data[:4] == _WEBP[0] and data[8:12] == _WEBP[1])


def examine(data: bytes) -> Found:
    """What the picture is, seen upright; the whole file is decoded, since a cut-off one has a good header.

    Raises:
        Broken: it cannot be read.
    """
    picture = opened(data)
    return Found(height=picture.height, width=picture.width, channels=1 if picture.mode == "L" else 3)


def decode(data: bytes, channels: int, height: int, width: int) -> UInt8[np.ndarray, "channels height width"]:
    """The picture at that size; colours of a grey grid become grey, and the other way round.

    A picture of another shape is scaled to cover the size and cut around its centre. Of an animation it is the first
    picture; what is transparent is white.

    Raises:
        Broken: it cannot be read.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415 - tables do not need it

    picture = opened(data).convert("L" if channels == 1 else "RGB")
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.BOX)
    values = np.asarray(picture, dtype=np.uint8)
    return values[None] if channels == 1 else np.ascontiguousarray(values.transpose(2, 0, 1))


def size_of(found: Mapping[Found, int]) -> tuple[int, int, int]:
    """(channels, height, width) for all, of which there are so many: the most frequent size."""
    sizes: Counter[tuple[int, int]] = Counter()
    for one, times in found.items():
        sizes[one.height, one.width] += times
    height, width = min(sizes, key=lambda size: (-sizes[size], size))
    return 1 if all(one.channels == 1 for one in found) else 3, height, width


def opened(data: bytes) -> Any:
    """The whole picture, upright, grey ("L") or with colours ("RGB"), as Pillow has it.

    Raises:
        Broken: it cannot be read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415 - tables do not need it

    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
        if picture.width * picture.height > MOST_PIXELS:
            msg = f"has {picture.width} x {picture.height} pixels, more than {MOST_PIXELS:,}"
            raise Broken(msg)
        picture.load()
        return _plain(ImageOps.exif_transpose(picture))
    except Broken:
        raise
    except UnidentifiedImageError:
        msg = "is no image that can be read"
        raise Broken(msg) from None
    except Exception as error:  # a damaged file may break a decoder anywhere
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"cannot be decoded ({reason.rstrip('.')})"
        raise Broken(msg) from None


def _plain(picture: Any) -> Any:
    """Grey or colours, 8 bits; what is transparent is white."""
    from PIL import Image  # noqa: PLC0415 - tables do not need it

    clear = picture.info.get("transparency")
    if picture.mode[0] in "IF":
        values = np.asarray(picture)
        narrow = _narrow(values)
        return Image.fromarray(narrow if clear is None else np.where(values == clear, np.uint8(_PAPER[0]), narrow))
    if picture.mode in ("LA", "La", "RGBA", "RGBa", "PA") or clear is not None:
        grey = picture.mode in ("1", "L", "LA", "La")
        seen = Image.alpha_composite(Image.new("RGBA", picture.size, _PAPER), picture.convert("RGBA"))
        return seen.convert("L" if grey else "RGB")
    if picture.mode in ("L", "RGB"):
        return picture
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _narrow(values: np.ndarray) -> np.ndarray:
    """Numbers of 16 bits as 8 bits."""
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > _MOST:
        msg = f"holds numbers of {8 * values.dtype.itemsize} bits, more than 16"
        raise Broken(msg)
    return np.asarray(np.round(values / _WIDE), np.uint8)
