"""Sound: any file that libsndfile reads, as a log-mel spectrogram of one size and 8 bits per cell.

References:
    Davis and Mermelstein 1980 (mel filter banks); the mel scale is that of O'Shaughnessy 1987, 2595 log10(1 + f / 700).
"""

from __future__ import annotations

import functools
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from abi.media.broken import Broken, Found
from abi.media.length import is_mp3, told_bytes

LEAST_RATE, MOST_RATE = 1000, 1_000_000
MOST_STEPS: Final = 1000
SPARE_S: Final = 0.1
"""Read beyond what is used, for the filters."""
BLOCK: Final = 2**18
"""Samples that are looked at together."""
MOST_SECONDS: Final = 3600
MAGIC: Final = (b"fLaC", b"OggS", b"FORM", b"ID3")
_WAVE: Final = (b"RIFF", b"WAVE")
RANGE_DB: Final = 80.0
"""What is quieter than the loudest cell by more than this is silence."""
SPARE_BYTES: Final = 64
"""By so much a header may be wrong about its own size."""
UNKNOWN_BYTES: Final = 2**31 - 2**16
LEAST_WINDOW_S: Final = 0.025
LOWEST_HZ: Final = 40.0
LONG: Final = 0.95
"""Share of the sounds that fit into the spectrogram whole; longer ones are cut."""
SHORT_FRAMES, LONG_FRAMES = 64, 128
LONG_SECONDS: Final = 2.0
BANDS: Final = 32


def is_audio(data: bytes) -> bool:
    """Whether the first bytes are those of a sound file."""
    return data.startswith(MAGIC) or (data[:4] == _WAVE[0] and data[8:12] == _WAVE[1]) or is_mp3(data)


def examine(data: bytes) -> Found:
    """What the file holds, decoded whole.

    Raises:
        Broken: it cannot be read, or holds no sample.
    """
    with _opened(data) as file:
        samples = _expect_samples(sum(map(len, _blocks(file))))
        return Found(
            channels=file.channels, rate=file.samplerate, milliseconds=math.ceil(1000 * samples / file.samplerate)
        )


def decode(data: bytes, rate: int, seconds: float, bands: int, frames: int) -> UInt8[np.ndarray, "1 bands frames"]:
    """The spectrogram: channels averaged, brought to `rate`, so many seconds from the start, silence behind a short one.

    Cells are the energy of a band (high ones first) in a frame, from `RANGE_DB` below the sound's loudest cell (0) to it
    (255): how loud it was recorded does not matter.

    Raises:
        Broken: it cannot be read, or holds no sample.
    """
    with _opened(data) as file:
        own = int(file.samplerate)
        samples = _numbers(file.read(math.ceil((seconds + SPARE_S) * own), dtype="float32", always_2d=True))
        rest = sum(map(len, _blocks(file)))  # damage further on, as `examine` sees it
        _expect_samples(len(samples) + rest)
    mono = samples.mean(axis=1)
    if own != rate:
        from scipy.signal import resample_poly  # noqa: PLC0415 - a tenth of a second

        ratio = Fraction(rate, own).limit_denominator(MOST_STEPS)  # filters of odd rates would be as long as the sound
        mono = resample_poly(mono, ratio.numerator, ratio.denominator)
    return log_mel(np.asarray(mono, np.float32), rate, seconds, bands, frames)


def log_mel(
    samples: Float32[np.ndarray, " samples"], rate: int, seconds: float, bands: int, frames: int
) -> UInt8[np.ndarray, "1 bands frames"]:
    """The spectrogram of mono samples; see `decode`."""
    hop = seconds * rate / frames
    window = max(round(2 * hop), round(LEAST_WINDOW_S * rate), 2)
    size = 1 << (window - 1).bit_length()
    starts = np.round(np.arange(frames) * hop).astype(np.int64)
    padded = np.zeros(int(starts[-1]) + window, np.float32)
    taken = samples[: min(len(padded) - window // 2, round(seconds * rate))]
    padded[window // 2 : window // 2 + len(taken)] = taken  # frames are centred
    shape, step = np.hanning(window).astype(np.float32), max(1, BLOCK // window)
    power = np.empty((frames, size // 2 + 1), np.float32)
    for first in range(0, frames, step):
        pieces = padded[starts[first : first + step, None] + np.arange(window)] * shape
        power[first : first + step] = np.abs(np.fft.rfft(pieces, size)) ** 2
    energy = power @ mel_filters(bands, size, rate).T
    loudest = float(energy.max())
    if loudest <= 0:
        return np.zeros((1, bands, frames), np.uint8)
    decibels = 10 * np.log10(np.maximum(energy / loudest, 10 ** (-RANGE_DB / 10)))
    return np.ascontiguousarray(np.round((decibels / RANGE_DB + 1) * 255).astype(np.uint8).T[::-1])[None]


@functools.lru_cache(maxsize=8)
def mel_filters(bands: int, size: int, rate: int) -> Float64[np.ndarray, "bands bins"]:
    """Triangles of equal width on the mel scale, from `LOWEST_HZ` to half the rate, low ones first."""
    edges = band_edges(bands, rate)
    bins = np.arange(size // 2 + 1) * rate / size
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.clip(np.minimum(rising, falling), 0.0, None)
    nearest = np.abs(bins[None] - edges[1:-1, None]).argmin(axis=1)  # a narrow triangle may hold no bin
    empty = filters.sum(axis=1) == 0
    filters[empty, nearest[empty]] = 1.0
    return np.asarray(filters)


def band_edges(bands: int, rate: int) -> Float64[np.ndarray, " edges"]:
    """Hertz of the triangles' corners, `bands` + 2 of them; the i-th band has its peak at edge i + 1."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (LOWEST_HZ, rate / 2))
    return np.asarray(700 * (10 ** (np.linspace(low, high, bands + 2) / 2595) - 1))


def size_of(found: Mapping[Found, int]) -> tuple[int, float, int]:
    """(rate, seconds, frames) for all, of which there are so many: the most frequent rate, the length that 95% do not exceed."""
    rates: Counter[int] = Counter()
    lengths: Counter[int] = Counter()
    for one, times in found.items():
        rates[one.rate] += times
        lengths[one.milliseconds] += times
    rate = min(rates, key=lambda one: (-rates[one], one))
    ordered = sorted(lengths)
    reached = np.cumsum([lengths[one] for one in ordered])
    seconds = max(LEAST_WINDOW_S, ordered[int(np.searchsorted(reached, LONG * reached[-1]))] / 1000)
    return rate, seconds, LONG_FRAMES if seconds > LONG_SECONDS else SHORT_FRAMES


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    import soundfile  # noqa: PLC0415 - tables do not need it

    _expect_whole(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if not LEAST_RATE <= file.samplerate <= MOST_RATE:
                msg = f"has {file.samplerate:,} samples per second, not {LEAST_RATE:,} to {MOST_RATE:,}"
                raise Broken(msg)
            if file.frames > MOST_SECONDS * file.samplerate:
                msg = f"lasts {file.frames / file.samplerate:.0f} seconds, more than {MOST_SECONDS}"
                raise Broken(msg)
            yield file
    except Broken:
        raise
    except Exception as error:  # a damaged file may break a decoder anywhere
        reason = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
        msg = f"is no sound that can be read ({reason})"
        raise Broken(msg) from None


def _expect_whole(data: bytes) -> None:
    """See that a file has the bytes that its header tells of: libsndfile takes what there is for all.

    Who writes into a pipe does not know the length, and says none or about 2 or 4 GiB.
    """
    told, spare = told_bytes(data), 0 if data[:4] == b"OggS" else SPARE_BYTES
    if len(data) + spare < told < UNKNOWN_BYTES:
        msg = f"is cut off: its header tells of {told:,} bytes, there are {len(data):,}"
        raise Broken(msg)


def _blocks(file: Any) -> Iterator[Float32[np.ndarray, "samples channels"]]:
    """What can be decoded from here to the end, so many samples at a time: `file.blocks` would fill up what the header promised."""
    while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
        yield _numbers(block)


def _expect_samples(decoded: int) -> int:
    if not decoded:
        msg = "holds no sample"
        raise Broken(msg)
    return decoded


def _numbers(samples: Float32[np.ndarray, "samples channels"]) -> Float32[np.ndarray, "samples channels"]:
    if not np.isfinite(samples).all():
        msg = "holds samples that are no numbers"
        raise Broken(msg)
    return samples
