"""Quantities with units, as written in ``abi.yaml`` and on the command line: ``8GiB``, ``10min``, ``200k``."""

from __future__ import annotations

import math
import re

from abi.errors import UsageError

COUNT = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
BYTES = {
    "b": 1,
    **{f"{p}b": 1000**i for i, p in enumerate("kmgt", 1)},
    **{f"{p}ib": 1024**i for i, p in enumerate("kmgt", 1)},
}
JOULES = {"j": 1.0, "kj": 1e3, "mj": 1e6, "gj": 1e9, "wh": 3600.0, "kwh": 3.6e6, "mwh": 3.6e9}
RATES = {"flops": 1.0, "mflops": 1e6, "gflops": 1e9, "tflops": 1e12, "pflops": 1e15}
WATTS = {"w": 1.0, "kw": 1e3}
SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

MICRO, GREEK_MU = "\u00b5", "\u03bc"
"""The sign for a millionth, and the letter that many keyboards have for it; both look alike."""

ROUNDS_UP = 0.9995
"""From this share of a unit on, three digits show a whole one."""

MOST_BYTES = 2**48
"""256 TiB: no machine has more, and sums of sizes stay whole numbers in JSON."""

MOST_COUNT = 10**15
"""More than any network or table has; products of counts stay whole numbers."""

ROUNDING = 1e-9
"""Share of a number by which 1.1k, say, may differ from 1100 as it is read."""

_QUANTITY = re.compile(r"\s*([0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?)\s*([a-zµ]*)\s*", re.IGNORECASE)


def _parse(text: object, units: dict[str, float] | dict[str, int], what: str, example: str) -> float:
    match = _QUANTITY.fullmatch(str(text).replace(GREEK_MU, MICRO))
    if match is None or match[2].lower() not in units:
        written = _QUANTITY.fullmatch(str(text).strip().removeprefix("-"))
        below = written is not None and (str(text).strip().startswith("-") or float(written[1]) == 0)
        remedy = (
            "it has to be above zero" if below else f"use one of the units {', '.join(u or '(none)' for u in units)}"
        )
        msg = f"Expected {what} such as {example}, got {text!r}: {remedy}."
        raise UsageError(msg)
    value = float(match[1]) * units[match[2].lower()]
    if not 0 < value < math.inf:
        msg = f"Expected {what} above zero and finite, got {text!r}."
        raise UsageError(msg)
    return value


def _whole(value: float, text: object, what: str) -> int:
    if round(value) < 1:
        msg = f"Expected {what} of at least 1, got {text!r}."
        raise UsageError(msg)
    return round(value)


def parse_count(text: object) -> int:
    """``'200k'`` -> 200000; a part of one, as in ``'2.6'``, is refused."""
    value = _parse(text, COUNT, "a count", "200k")
    if abs(value - round(value)) > ROUNDING * value:
        msg = f"Expected a whole number such as 200k, got {text!r}: leave the fraction out."
        raise UsageError(msg)
    if value > MOST_COUNT:
        msg = f"Expected a count of at most {MOST_COUNT:,}, got {text!r}: take less."
        raise UsageError(msg)
    return _whole(value, text, "a count")


def parse_bytes(text: object) -> int:
    """``'8GiB'`` -> 8589934592."""
    size = _whole(_parse(text, BYTES, "a size", "8GiB"), text, "a size in bytes")
    if size > MOST_BYTES:
        msg = f"Expected a size of at most 256TiB, got {text!r}: see its unit."
        raise UsageError(msg)
    return size


def parse_seconds(text: object) -> float:
    """``'10min'`` -> 600.0."""
    return _parse(text, SECONDS, "a time", "10min")


def parse_energy(text: object) -> float:
    """``'2kWh'`` -> 7200000.0 joules; MJ and MWh are mega.

    Raises:
        UsageError: it is none; mJ and mWh are thousandths, which nobody means.
    """
    if re.search(r"\dm(J|Wh)$", str(text).replace(" ", "")):
        msg = f"Expected an energy such as 2kWh, got {text!r}, thousandths: write MJ or MWh for millions."
        raise UsageError(msg)
    return _parse(text, JOULES, "an energy", "2kWh")


def parse_bandwidth(text: object) -> float:
    """``'3.35TB/s'`` -> 3.35e12 bytes per second."""
    example, written = "300GB/s", str(text).strip()
    if not written.endswith("/s"):
        msg = f"Expected a bandwidth such as {example}, got {text!r}: say bytes per second, as GB/s."
        raise UsageError(msg)
    return float(round(_parse(written.removesuffix("/s"), BYTES, "a bandwidth", example)))


def parse_rate(text: object) -> float:
    """``'312TFLOPS'`` -> 3.12e14 operations per second."""
    return float(round(_parse(text, RATES, "a rate", "312TFLOPS")))


def parse_power(text: object) -> float:
    """``'700W'`` -> 700.0."""
    return _parse(text, WATTS, "a power", "700W")


def _digits(value: float | int) -> str:
    """Three significant digits, never with an exponent."""
    return f"{value:.3g}" if value < 999.5 else f"{value:.0f}"  # noqa: PLR2004 - what rounds to 1000 and more


def show_count(value: float | int) -> str:
    """200000 -> ``'200k'``."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= ROUNDS_UP * size:
            return f"{_digits(value / size)}{unit}"
    return f"{value:.0f}"


def show_bytes(value: float | int) -> str:
    """8589934592 -> ``'8 GiB'``."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value >= ROUNDS_UP * size:
            return f"{_digits(value / size)} {unit}"
    return f"{value:.0f} B"


def show_bandwidth(value: float | int) -> str:
    """3.35e12 -> ``'3.35 TB/s'``."""
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if value >= ROUNDS_UP * size:
            return f"{_digits(value / size)} {unit}/s"
    return f"{_digits(value / 1e6)} MB/s"


def show_rate(value: float | int) -> str:
    """3.12e14 -> ``'312 TFLOPS'``."""
    for unit, size in (("P", 1e15), ("T", 1e12)):
        if value >= ROUNDS_UP * size:
            return f"{_digits(value / size)} {unit}FLOPS"
    return f"{_digits(value / 1e9)} GFLOPS"


def show_duration(value: float | int) -> str:
    """604800 -> ``'7 d'``; what lasts less than two days as `show_seconds` has it."""
    return f"{_digits(value / SECONDS['d'])} d" if value >= 2 * SECONDS["d"] else show_seconds(value)


def show_seconds(value: float | int) -> str:
    """0.002 -> ``'2 ms'``; below two minutes seconds read better, below two hours minutes."""
    for unit in ("h", "min"):
        if value >= 2 * SECONDS[unit]:
            return f"{_digits(value / SECONDS[unit])} {unit}"
    if value >= ROUNDS_UP:
        return f"{_digits(value)} s"
    return f"{_digits(value * 1e3)} ms" if value >= ROUNDS_UP * 1e-3 else f"{_digits(value * 1e6)} µs"


def show_energy(value: float | int) -> str:
    """7200000 -> ``'2 kWh'``; what is less than a tenth of it in joules."""
    for unit, size in (("MWh", 3.6e9), ("kWh", 3.6e6)):
        if value >= 0.1 * size:
            return f"{_digits(value / size)} {unit}"
    return f"{_digits(value / 1e3)} kJ" if value >= ROUNDS_UP * 1e3 else f"{_digits(value)} J"


def six_digits(value: float) -> float:
    """As figures of cost are kept: enough, and the same text on every machine."""
    return float(f"{value:.6g}")
