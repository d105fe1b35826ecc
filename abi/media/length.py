"""How many bytes a sound file should have, by its own header: decoders take what there is for all."""

from __future__ import annotations

from typing import Final

_PAGE: Final = 27
"""Bytes of an Ogg page before the table of its segments' sizes; the last of them says how many there are."""
_SYNC, _LAYER_3 = 0xFFE0, 0x0002
_KIND: Final = 0xFFE6
"""Bits of a frame's beginning that are the same in MPEG 1, 2 and 2.5: eleven of ones, and the layer."""
_VERSION, _MPEG_1, _RESERVED = 0x0018, 0x0018, 0x0008
_MODE, _MONO = 0xC0, 0xC0
_SIDE: Final = {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}
"""(MPEG 1, mono) -> bytes of side information, behind which the header of Xing stands."""
_VBRI_AT: Final = 36
_HAS_FRAMES, _HAS_BYTES = 1, 2


def told_bytes(data: bytes) -> int:
    """Bytes by the header of a WAV, AIFF, RF64, W64, AU or MP3, or by the last page of an Ogg; 0 of others."""
    if data[:4] == b"RIFF":
        return int.from_bytes(data[4:8], "little") + 8
    if data[:4] == b"FORM":
        return int.from_bytes(data[4:8], "big") + 8
    if data[:4] == b"RF64" and data[12:16] == b"ds64":
        return int.from_bytes(data[20:28], "little") + 8
    if data[:4] == b"riff":
        return int.from_bytes(data[16:24], "little")
    if data[:4] == b".snd":
        return int.from_bytes(data[4:8], "big") + int.from_bytes(data[8:12], "big")
    return _end_of_pages(data) if data[:4] == b"OggS" else told_by_mp3(data)


def is_mp3(data: bytes) -> bool:
    """Whether a frame of MPEG audio, layer III, begins here."""
    word = int.from_bytes(data[:2], "big")
    return word & _KIND == _SYNC | _LAYER_3 and word & _VERSION != _RESERVED


def told_by_mp3(data: bytes) -> int:
    """Bytes by what encoders write into the first frame ("Xing", "Info" or "VBRI"); 0 where there is nothing.

    References:
        The headers of Xing and of Fraunhofer, as LAME writes and mpg123 reads them.
    """
    start = 0
    if data[:3] == b"ID3":  # a size of four times seven bits
        start = 10 + sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(data[6:10]))
    frame = data[start : start + 64]
    if not is_mp3(frame):
        return 0
    first, mono = int.from_bytes(frame[:2], "big") & _VERSION == _MPEG_1, frame[3] & _MODE == _MONO
    at = 4 + _SIDE[first, mono]
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    if frame[at : at + 4] in (b"Xing", b"Info") and flags & _HAS_BYTES:
        at += 12 if flags & _HAS_FRAMES else 8
    elif frame[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        at = _VBRI_AT + 10
    else:
        return 0
    told = int.from_bytes(frame[at : at + 4], "big")
    return start + told if told else 0


def _end_of_pages(data: bytes) -> int:
    """Where the last page of an Ogg ends (RFC 3533)."""
    end = 0
    while data[end : end + 4] == b"OggS" and end + _PAGE <= len(data):
        segments = data[end + _PAGE : end + _PAGE + data[end + _PAGE - 1]]
        end += _PAGE + data[end + _PAGE - 1] + sum(segments)
    return end
