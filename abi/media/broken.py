"""What is known of a media file before it is used, and what is said of one that cannot be."""

from __future__ import annotations

from dataclasses import dataclass


class Broken(Exception):
    """A media file that cannot be used; the message goes on from its name, as "is empty"."""


@dataclass(frozen=True, order=True, kw_only=True)
class Found:
    """What a whole media file holds.

    Attributes:
        height: pixels, 0 of sound.
        width: pixels, 0 of sound.
        channels: colours (1 or 3), or channels of sound.
        rate: samples per second, 0 of images.
        milliseconds: of sound.
    """

    height: int = 0
    width: int = 0
    channels: int = 1
    rate: int = 0
    milliseconds: int = 0
