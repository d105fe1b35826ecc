"""Sound: the spectrogram of tones by hand, and what is said of files that cannot be read."""

from __future__ import annotations

import io
import math
import tracemalloc

import numpy as np
import pytest
import soundfile

from abi.media import audio as module
from abi.media.audio import band_edges, decode, examine, is_audio, log_mel, mel_filters, size_of
from abi.media.broken import Broken, Found


def wav(samples: object, rate: int = 8000, form: str = "WAV", subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.asarray(samples, np.float32), rate, format=form, subtype=subtype)
    return buffer.getvalue()


def tone(hertz: float, seconds: float = 1.0, rate: int = 8000, loud: float = 0.5) -> np.ndarray:
    return (loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_band_edges_by_hand() -> None:
    # half way in mel is the geometric mean of 1 + f / 700: 700 (sqrt(740 / 700 * 4700 / 700) - 1)
    middle = 700 * (math.sqrt(740 * 4700) / 700 - 1)
    assert band_edges(1, 8000).tolist() == pytest.approx([40.0, middle, 4000.0])
    assert middle == pytest.approx(1164.94, abs=0.01)
    assert len(band_edges(32, 8000)) == 34


def test_filters_are_triangles() -> None:
    filters = mel_filters(1, 400, 8000)[0]  # a bin each 20 Hz
    low, peak, high = band_edges(1, 8000)
    assert filters[round(peak / 20)] == pytest.approx(1.0, abs=0.02)
    assert filters[30] == pytest.approx((600 - low) / (peak - low))
    assert filters[100] == pytest.approx((high - 2000) / (high - peak))
    assert filters[:2].tolist() == [0.0, 0.0]
    # a triangle between two bins takes the nearest one
    assert (mel_filters(32, 64, 8000).sum(axis=1) > 0).all()


def test_a_tone_is_one_line_at_its_band() -> None:
    picture = decode(wav(tone(1000)), 8000, 1.0, 32, 64)[0]
    assert picture.shape == (32, 64)
    edges = band_edges(32, 8000)
    nearest = int(np.abs(edges[1:-1] - 1000).argmin())
    inner = picture[:, 4:-4]
    assert (inner.argmax(axis=0) == 31 - nearest).all()  # high bands come first
    assert inner[31 - nearest].min() >= 254  # the loudest cell is 255, and a tone does not change
    assert inner[0].max() < 128  # far from it, 40 dB below and more


def test_8_bits_are_80_decibels() -> None:
    # two tones in bands of their own, 20 dB apart in power: a quarter of the scale, 255 / 4 = 64
    edges = band_edges(8, 8000)
    low, high = edges[2], edges[7]
    both = tone(low, loud=0.5) + tone(high, loud=0.05)
    first, second = (
        log_mel(one.astype(np.float32), 8000, 1.0, 8, 16)[0][:, 8]
        for one in (both, tone(low, loud=0.5) + tone(high, loud=0.5))
    )
    row = 8 - 1 - 6  # band 6 counted from the top
    gap = int(second[row]) - int(first[row])
    assert gap == pytest.approx(64, abs=2)


def test_how_loud_it_was_recorded_does_not_matter() -> None:
    loud, soft = (decode(wav(tone(700, loud=level), subtype="FLOAT"), 8000, 1.0, 32, 64) for level in (0.8, 0.01))
    assert np.abs(loud.astype(int) - soft).max() <= 1


def test_silence_is_zero() -> None:
    assert not decode(wav(np.zeros(8000)), 8000, 1.0, 32, 64).any()
    half = decode(wav(tone(500, seconds=0.5)), 8000, 1.0, 32, 64)[0]
    assert not half[:, 36:].any()
    assert half[:, 4:28].any(axis=0).all()


def test_channels_are_averaged_and_rates_brought_together() -> None:
    one = tone(1000)
    both = np.stack([one, one], axis=1)
    assert examine(wav(both)) == Found(channels=2, rate=8000, milliseconds=1000)
    assert (decode(wav(both), 8000, 1.0, 32, 64) == decode(wav(one), 8000, 1.0, 32, 64)).all()
    other = decode(wav(tone(1000, rate=11_025), rate=11_025), 8000, 1.0, 32, 64)[0].astype(int)
    inner = slice(4, -4)
    assert (other[:, inner].argmax(0) == decode(wav(one), 8000, 1.0, 32, 64)[0][:, inner].argmax(0)).all()
    odd = decode(wav(tone(1000, rate=44_101), rate=44_101), 8000, 1.0, 32, 64)[0]  # no common divisor
    assert (odd[:, inner].argmax(0) == other[:, inner].argmax(0)).all()


def test_only_the_beginning_is_used() -> None:
    long = np.concatenate([tone(1000), tone(3000, seconds=5)])
    assert (
        np.abs(
            decode(wav(long), 8000, 1.0, 32, 64)[0, :, :60].astype(int)
            - decode(wav(tone(1000)), 8000, 1.0, 32, 64)[0, :, :60]
        ).max()
        <= 1
    )


@pytest.mark.parametrize(
    ("form", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("AIFF", "PCM_24")]
)
def test_every_usual_format_is_read(form: str, subtype: str) -> None:
    data = wav(tone(500), form=form, subtype=subtype)
    assert is_audio(data)
    assert examine(data).rate == 8000
    assert decode(data, 8000, 1.0, 32, 64).any()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (wav(np.zeros(0)), "holds no sample"),
        (b"RIFF\0\0\0\0WAVE", "is no sound that can be read"),
        (b"few words", "is no sound that can be read"),
        (b"", "is no sound that can be read"),
        (wav(tone(500))[:5000], r"is cut off: its header tells of 16,044 bytes, there are 5,000"),
        (wav([np.nan, 1.0], subtype="FLOAT"), "holds samples that are no numbers"),
        (wav(np.zeros(90), rate=100), "has 100 samples per second, not 1,000 to 1,000,000"),
        (wav(np.zeros(3_700_000), rate=1000), "lasts 3700 seconds, more than 3600"),
    ],
    ids=[
        "empty",
        "no format",
        "text",
        "nothing",
        "cut off",
        "no numbers",
        "too slow",
        "too long",
    ],  # not the bytes, which hold the time
)
def test_a_file_that_is_no_sound_is_told(data: bytes, said: str) -> None:
    with pytest.raises(Broken, match=said):
        examine(data)
    with pytest.raises(Broken, match=said):
        decode(data, 8000, 1.0, 32, 64)


@pytest.mark.parametrize("form", ["AIFF", "RF64", "AU", "W64"])
def test_what_is_cut_off_is_told_of_other_headers_too(form: str) -> None:
    whole = wav(tone(500), form=form)
    assert examine(whole).milliseconds == 1000
    for read in (examine, lambda data: decode(data, 8000, 1.0, 32, 64)):
        with pytest.raises(Broken, match=r"is cut off: its header tells of 16,\d+ bytes, there are 5,000"):
            read(whole[:5000])


def mp3(samples: object, rate: int = 8000, mode: str = "CONSTANT") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.asarray(samples, np.float32), rate, format="MP3", bitrate_mode=mode)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)])
def test_an_mp3_that_is_cut_off_is_told(rate: int, channels: int, mode: str, tag: bytes) -> None:
    samples = np.repeat(tone(500, rate=rate)[:, None], channels, axis=1)
    whole = tag + mp3(samples, rate, mode)
    assert is_audio(whole)
    assert examine(whole) == Found(channels=channels, rate=rate, milliseconds=1000)
    assert examine(whole + b"TAG" + bytes(125)) == examine(whole)
    for share in (0.3, 0.9):
        for read in (examine, lambda data: decode(data, 8000, 1.0, 32, 64)):
            with pytest.raises(Broken, match=rf"is cut off: its header tells of {len(whole):,} bytes, there are "):
                read(whole[: int(share * len(whole))])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_whose_last_page_is_not_whole_is_told(subtype: str) -> None:
    noise = np.random.default_rng(0).normal(size=80_000) * 0.1
    whole = wav(noise, form="OGG", subtype=subtype)
    assert examine(whole).milliseconds == 10_000
    for share in (0.3, 0.9):
        with pytest.raises(Broken, match=r"is cut off: its header tells of [\d,]+ bytes, there are "):
            examine(whole[: int(share * len(whole))])


def test_of_an_mp3_that_says_nothing_of_its_length_what_can_be_read_is_counted() -> None:
    """What the decoder has guessed is more; the rest was whatever stood in memory."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).normal(size=110_250) * 0.3
    soundfile.write(buffer, noise, 22_050, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    whole = buffer.getvalue()
    bare = whole[whole.find(whole[:2], 4) :]
    with soundfile.SoundFile(io.BytesIO(bare)) as file:
        guessed, read = file.frames, len(file.read())
    assert read < guessed
    assert examine(bare).milliseconds == math.ceil(1000 * read / 22_050)


def test_a_hole_in_an_mp3_is_told() -> None:
    whole = bytearray(mp3(tone(500, seconds=5, rate=44_100), 44_100))
    third, half = len(whole) // 3, len(whole) // 2
    whole[third:half] = bytes(half - third)
    with pytest.raises(Broken, match="is no sound that can be read"):
        examine(bytes(whole))


def test_damage_behind_what_is_used_breaks_a_sound_at_prediction_as_in_training() -> None:
    far = tone(500, seconds=3)
    far[-1] = np.nan
    data = wav(far, subtype="FLOAT")
    for read in (examine, lambda data: decode(data, 8000, 1.0, 32, 64)):
        with pytest.raises(Broken, match="holds samples that are no numbers"):
            read(data)


def test_spectrograms_are_the_same_frame_by_frame_and_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).normal(size=30 * 8000).astype(np.float32)
    at_once = log_mel(samples, 8000, 30.0, 32, 128)
    monkeypatch.setattr(module, "BLOCK", 2**13)
    tracemalloc.start()
    by_frames = log_mel(samples, 8000, 30.0, 32, 128)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (by_frames == at_once).all()
    # 128 x 2,049 bins in both precisions are 3 MB, the samples 1 MB; the windows' places alone were 4 MB
    assert peak < 6_000_000


def test_who_writes_into_a_pipe_does_not_know_the_length() -> None:
    whole = wav(tone(500))
    for told in (0, 2**31 - 1, 2**32 - 1):
        data = whole[:4] + told.to_bytes(4, "little") + whole[8:]
        assert examine(data) == examine(whole)


def test_one_sample_is_a_sound() -> None:
    assert examine(wav([0.5])) == Found(rate=8000, milliseconds=1)
    assert decode(wav([0.5]), 8000, 0.025, 32, 64).shape == (1, 32, 64)


def test_size_by_hand() -> None:
    def found(rate: int, milliseconds: int) -> Found:
        return Found(rate=rate, milliseconds=milliseconds)

    # 95 of 100 last a second, so that is what all get; the most frequent rate is 8 kHz
    assert size_of({found(8000, 1000): 95, found(16_000, 9000): 5}) == (8000, 1.0, 64)
    assert size_of({found(8000, 1000): 94, found(16_000, 9000): 6}) == (8000, 9.0, 128)
    assert size_of({found(8000, 1): 3}) == (8000, 0.025, 64)  # never less than a window
